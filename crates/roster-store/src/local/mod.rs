//! The ordered log on the node's own disk: segments, snapshots and a manifest.
//!
//! # Always true
//! * **L6, durable before told**: `append` returns a position only after the batch is synced (with
//!   durability `synced`); and what a start reads is synced before it is told again.
//! * **L7, a failed sync is final**: what the disk has kept is then unknown, so the log takes no more.
//! * **L8, no gap, nothing twice**: positions of batches follow each other, in a segment and from one
//!   segment to the next.
//! * **L9, time stands or goes on**: no batch is dated before the one before it.
//! * **L10, nothing cut without a copy**: what recovery cuts off is kept aside first.

mod ahead;
mod append;
mod history;
mod open;
mod rebuild;
mod recover;
mod report;
mod stray;
mod tail;

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use roster_core::{Position, Timestamp};

use crate::codec::Codec;
use crate::disk::{Disk, DiskFile, DiskLock};
use crate::error::{AppendError, IoFailure, OpenError, ReadError, SnapshotError, SweepError};
use crate::feed::LogFeed;
use crate::manifest::Manifest;
use crate::ordered::{Batches, Counters, LogStatus, OrderedLog, Pace, Recover, SnapshotInfo, Sweep};
use crate::records::Records;
use crate::settings::{Directories, LogSettings};
use crate::snapshot::{FinishedSnapshot, SnapshotWriter};
use crate::stored::Directory;
pub(crate) use open::lock_directories;
use rebuild::Rebuild;
pub(crate) use recover::recover;
pub use report::{OpenReport, RecoveryNote};
pub(crate) use tail::{TailIter, decode_batch, segment_ranges};

/// The ordered log on the node's own disk.
pub struct LocalLog<C: Codec = Directory> {
    disk: Arc<dyn Disk>,
    directories: Directories,
    settings: LogSettings,
    /// `None` with durability `none`.
    files: Option<Files>,
    next: Position,
    last_at: Timestamp,
    failed: Option<String>,
    counters: Counters,
    report: OpenReport,
    feed: LogFeed,
    /// The frame that is written; kept for its memory.
    out: BytesMut,
    /// The size of the batch that last found the disk full.
    room_needed: usize,
    _locks: Vec<Box<dyn DiskLock>>,
    codec: PhantomData<C>,
}

/// The files of a log and what is known of them.
struct Files {
    manifest: Manifest,
    /// The last segment, which is written to.
    active: Box<dyn DiskFile>,
    active_path: PathBuf,
    /// Up to the end of its last whole frame.
    active_len: u64,
    /// More room is made when a batch ends here or later.
    room_end: u64,
    /// Of the frames since the snapshot.
    log_bytes: u64,
    snapshot_bytes: u64,
    rebuild: Option<Rebuild>,
    /// No rebuild before the log has grown to this; set when one was given up.
    rebuild_not_before: u64,
}

impl<C: Codec> LocalLog<C> {
    /// Opens the log of a directory, or begins one, and hands what it holds to `into`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing on the disk is then changed, unless the failure was of the disk itself.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: LogSettings,
        now: Timestamp,
        into: &mut dyn Recover<C>,
    ) -> Result<Self, OpenError> {
        open::open(disk, settings, now, into)
    }

    /// What opening it has found.
    #[must_use]
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Its files as they grow, for whoever copies them.
    #[must_use]
    pub fn feed(&self) -> LogFeed {
        self.feed.clone()
    }

    /// Shows the feed what is durable.
    fn publish(&self) {
        if let Some(files) = &self.files {
            let position = Position::new(self.next.get() - 1);
            self.feed.publish(&files.manifest, files.snapshot_bytes, files.active_len, position);
        }
    }

    /// Takes no more from here on (**L7**).
    fn fail(&mut self, failure: &IoFailure) {
        self.failed.get_or_insert_with(|| format!("{failure}: {}", failure.source));
    }
}

impl<C: Codec> OrderedLog<C> for LocalLog<C> {
    fn append(&mut self, at: Timestamp, records: &[Records<C>]) -> Result<Position, AppendError> {
        let appended = self.append_batch(at, records);
        self.publish();
        appended
    }

    fn next_position(&self) -> Position {
        self.next
    }

    fn last_at(&self) -> Timestamp {
        self.last_at
    }

    fn tail(&self, from: Position) -> Result<Batches<C>, ReadError> {
        self.tail_from(from)
    }

    fn wants_snapshot(&self) -> bool {
        self.files.as_ref().is_some_and(|files| {
            let grown = files.log_bytes as f64 >= self.settings.rebuild_growth * files.snapshot_bytes as f64;
            let least = self.settings.rebuild_min.max(files.rebuild_not_before);
            self.failed.is_none() && files.rebuild.is_none() && files.log_bytes >= least && grown
        })
    }

    fn begin_snapshot(&mut self, at: Timestamp) -> Result<SnapshotWriter<C>, SnapshotError> {
        let begun = self.begin_rebuild(at);
        self.publish();
        begun
    }

    fn commit_snapshot(&mut self, finished: FinishedSnapshot<C>, at: Timestamp) -> Result<SnapshotInfo, SnapshotError> {
        let committed = self.commit_rebuild(&finished, at);
        self.publish();
        committed
    }

    fn abandon_snapshot(&mut self) {
        self.abandon_rebuild();
    }

    fn sweep(&mut self, now: Timestamp) -> Result<Sweep, SweepError> {
        self.sweep_history(now)
    }

    fn has_room(&mut self) -> bool {
        self.probe_room()
    }

    fn status(&self) -> LogStatus {
        let files = self.files.as_ref();
        let manifest = files.map(|files| &files.manifest);
        let snapshot = manifest.and_then(|manifest| manifest.snapshot);
        let history = manifest.map(|manifest| &manifest.history[..]).unwrap_or_default();
        LogStatus {
            directory: self.directories.data().to_owned(),
            switch_directory: self.directories.switch().map(ToOwned::to_owned),
            durability: self.settings.durability,
            next_position: self.next,
            generation: snapshot.map_or(0, |snapshot| snapshot.generation),
            snapshot_position: snapshot.map(|snapshot| snapshot.position).unwrap_or_default(),
            snapshot_bytes: files.map_or(0, |files| files.snapshot_bytes),
            log_bytes: files.map_or(0, |files| files.log_bytes),
            segments: manifest.map_or(0, |manifest| manifest.segments.len()),
            history_files: history.len(),
            history_bytes: history.iter().map(|file| file.bytes).sum(),
            rebuilding: files.is_some_and(|files| files.rebuild.is_some()),
            failed: self.failed.clone(),
            counters: self.counters,
            notes: self.report.notes.clone(),
        }
    }

    fn pace(&self) -> Pace {
        let files = self.files.as_ref();
        Pace {
            next_position: self.next,
            log_bytes: files.map_or(0, |files| files.log_bytes),
            segments: files.map_or(0, |files| files.manifest.segments.len()),
            counters: self.counters,
        }
    }
}

impl<C: Codec> fmt::Debug for LocalLog<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog").field("directories", &self.directories).field("next", &self.next).finish()
    }
}
