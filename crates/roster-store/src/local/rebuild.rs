//! Rebuild: a snapshot is written while appends go on, and put in force by one manifest.
//!
//! Steps, each safe to be the last before a crash:
//! 1. A new segment begins at the next position, in the directory of the new generation. In force: the old
//!    snapshot and all segments.
//! 2. The snapshot is written, synced and read back, beside it. In force: the same; a start removes it.
//! 3. One manifest names the new snapshot and the segments from step 1 on, and the rest as history.

use std::path::PathBuf;
use std::sync::Arc;

use roster_core::{Position, Timestamp};

use super::append::RotateError;
use super::{Files, LocalLog};
use crate::codec::Codec;
use crate::error::SnapshotError;
use crate::file_header::{FileHeader, FileKind};
use crate::manifest::{LiveFile, Manifest, PastFile, ReplaceError};
use crate::ordered::SnapshotInfo;
use crate::settings::{Directories, Side};
use crate::snapshot::{FinishedSnapshot, SnapshotWriter};

/// A rebuild under way.
pub(super) struct Rebuild {
    snapshot: LiveFile,
    path: PathBuf,
    /// How many of the segments the snapshot replaces.
    segments: usize,
    /// How many of the bytes since the last snapshot it replaces.
    log_bytes: u64,
}

impl<C: Codec> LocalLog<C> {
    pub(super) fn begin_rebuild(&mut self, at: Timestamp) -> Result<SnapshotWriter<C>, SnapshotError> {
        if let Some(reason) = &self.failed {
            return Err(SnapshotError::Poisoned { reason: reason.clone() });
        }
        let files = self.files.as_ref().ok_or(SnapshotError::NoFiles)?;
        if files.rebuild.is_some() {
            return Err(SnapshotError::UnderWay);
        }
        let side = self.directories.other(files.manifest.side());
        let generation = files.manifest.last_generation + 1;
        let in_place = files.active_is_empty() && files.manifest.segments.last().is_some_and(|last| last.side == side);
        if !in_place {
            self.rotate(side, generation, at).map_err(|error| match error {
                RotateError::NotRotated(failure) => SnapshotError::from(failure),
                RotateError::Failed(failure) => SnapshotError::Failed(failure),
            })?;
        }
        let position = Position::new(self.next.get() - 1);
        let snapshot = LiveFile { side, generation, position };
        let Some(files) = &mut self.files else { return Err(SnapshotError::NoFiles) };
        let name = snapshot.snapshot_name().to_string();
        let Some(path) = Manifest::path(&self.directories, side, &name) else { return Err(SnapshotError::NoFiles) };
        files.manifest.last_generation = generation;
        let header =
            FileHeader { kind: FileKind::Snapshot, log: files.manifest.log, generation, position, at: self.last_at };
        files.rebuild = Some(Rebuild {
            snapshot,
            path: path.clone(),
            segments: files.manifest.segments.len() - 1,
            log_bytes: files.log_bytes,
        });
        SnapshotWriter::create(Arc::clone(&self.disk), path, header).map_err(|failure| {
            self.abandon_rebuild();
            failure.into()
        })
    }

    pub(super) fn commit_rebuild(
        &mut self,
        finished: &FinishedSnapshot<C>,
        at: Timestamp,
    ) -> Result<SnapshotInfo, SnapshotError> {
        if let Some(reason) = &self.failed {
            return Err(SnapshotError::Poisoned { reason: reason.clone() });
        }
        let Some(files) = &mut self.files else { return Err(SnapshotError::NoFiles) };
        let generation = finished.header.generation;
        let Some(rebuild) = files.rebuild.take_if(|rebuild| rebuild.snapshot.generation == generation) else {
            return Err(SnapshotError::Superseded);
        };
        let mut manifest = files.manifest.clone();
        let superseded = manifest.segments.drain(..rebuild.segments).map(|file| (file.side, file.segment_name()));
        let old_snapshot = manifest.snapshot.replace(rebuild.snapshot).map(|file| (file.side, file.snapshot_name()));
        for (side, name) in old_snapshot.into_iter().chain(superseded) {
            let name = name.to_string();
            let bytes = file_bytes(&*self.disk, &self.directories, side, &name);
            manifest.history.push(PastFile { side, name, bytes, superseded: at });
        }
        match manifest.replace::<C>(&*self.disk, &self.directories) {
            Ok(()) => {}
            Err(ReplaceError::NotReplaced(failure)) => {
                files.rebuild = Some(rebuild);
                self.abandon_rebuild();
                return Err(failure.into());
            }
            Err(ReplaceError::Unknown(failure)) => {
                self.fail(&failure);
                return Err(SnapshotError::Failed(failure));
            }
        }
        files.manifest = manifest;
        files.log_bytes -= rebuild.log_bytes;
        files.snapshot_bytes = finished.bytes;
        files.rebuild_not_before = 0;
        self.counters.rebuilds += 1;
        if self.settings.history.is_zero() {
            // What cannot be removed now is removed by a later sweep.
            let _ = self.sweep_history(at);
        }
        let position = finished.header.position;
        Ok(SnapshotInfo { generation, position, items: finished.items, bytes: finished.bytes })
    }

    pub(super) fn abandon_rebuild(&mut self) {
        let Some(Files { rebuild, log_bytes, rebuild_not_before, .. }) = &mut self.files else { return };
        if let Some(rebuild) = rebuild.take() {
            // If this fails, the next start removes it.
            let _ = self.disk.remove(&rebuild.path);
            // Not again at once: what stopped it is likely to be there still.
            *rebuild_not_before = *log_bytes + self.settings.rebuild_min.max(1);
            self.counters.rebuilds_abandoned += 1;
        }
    }
}

/// Of a file of the log, 0 when that cannot be read.
pub(super) fn file_bytes(disk: &dyn crate::Disk, directories: &Directories, side: Side, name: &str) -> u64 {
    let path = Manifest::path(directories, side, name);
    path.and_then(|path| disk.open_to_read(&path).ok()?.size().ok()).unwrap_or(0)
}
