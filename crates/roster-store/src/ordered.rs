//! The seam: a log that gives every command its place, and keeps it.
//!
//! One writer appends; what it appends is durable, as the setting says, when `append` returns.

use std::path::PathBuf;

use roster_core::{Position, Timestamp};

use crate::codec::Codec;
use crate::error::{AppendError, ReadError, SnapshotError, SweepError};
use crate::local::RecoveryNote;
use crate::records::Records;
use crate::settings::Durability;
use crate::snapshot::{FinishedSnapshot, SnapshotWriter};
use crate::stored::Directory;

/// Commands that were appended together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<C: Codec = Directory> {
    /// Of the first command.
    pub position: Position,
    /// When its sender wrote it; never before that of the batch before.
    pub at: Timestamp,
    pub commands: Vec<C::Command>,
}

/// Batches, oldest first.
pub type Batches<C = Directory> = Box<dyn Iterator<Item = Result<Batch<C>, ReadError>> + Send>;

/// An ordered log of commands.
pub trait OrderedLog<C: Codec = Directory>: Send {
    /// Appends one batch made of several callers' records; durable (as the setting says) when it
    /// returns. Returns the position of the first record. No records: nothing is written.
    ///
    /// The time of a batch never runs backwards: an `at` before that of the last batch is raised to
    /// it, and [`last_at`](Self::last_at) is then what was written.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the batch is in the log, except perhaps after `Failed`.
    fn append(&mut self, at: Timestamp, records: &[Records<C>]) -> Result<Position, AppendError>;

    /// Where the next command will stand.
    fn next_position(&self) -> Position;

    /// The time of the last batch, as it was written.
    fn last_at(&self) -> Timestamp;

    /// The batches from a position on up to now, oldest first. A batch that begins before the position is cut to begin there.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the position is no longer kept.
    fn tail(&self, from: Position) -> Result<Batches<C>, ReadError>;

    /// Whether the log has grown enough since the last snapshot, and no rebuild is under way.
    fn wants_snapshot(&self) -> bool;

    /// Starts a snapshot of everything before [`next_position`](Self::next_position): later batches go to
    /// a new segment. `at` is now.
    ///
    /// # Errors
    /// [`SnapshotError`]; unless it says that the log failed, the log goes on as before.
    fn begin_snapshot(&mut self, at: Timestamp) -> Result<SnapshotWriter<C>, SnapshotError>;

    /// Switches to a finished snapshot atomically; what it supersedes becomes history at `at`.
    ///
    /// # Errors
    /// [`SnapshotError`]; unless it says that the log failed, the rebuild is given up and the log goes on as before.
    fn commit_snapshot(&mut self, finished: FinishedSnapshot<C>, at: Timestamp) -> Result<SnapshotInfo, SnapshotError>;

    /// Gives up the rebuild under way, if there is one, and removes what it wrote.
    fn abandon_snapshot(&mut self);

    /// Removes history older than `history` or beyond `history-max`; called each minute.
    ///
    /// # Errors
    /// [`SweepError`]; what could not be removed is tried again by the next sweep.
    fn sweep(&mut self, now: Timestamp) -> Result<Sweep, SweepError>;

    /// After a full disk: whether there is room again. Tries a real write.
    fn has_room(&mut self) -> bool;

    /// What there is to show.
    fn status(&self) -> LogStatus;

    /// Of that, what every batch changes; without the cost of the rest.
    fn pace(&self) -> Pace;
}

/// Takes in what a log holds when it opens: the items of the snapshot, its end, then the commands.
pub trait Recover<C: Codec = Directory> {
    /// One item of the snapshot, in the order in which they were pushed.
    ///
    /// # Errors
    /// Why the item cannot be; the log then does not open.
    fn snapshot_item(&mut self, item: C::Item) -> Result<(), String>;

    /// The snapshot is complete, and includes everything up to `position`. Not called without a snapshot.
    ///
    /// # Errors
    /// Why the items together cannot be; the log then does not open.
    fn snapshot_end(&mut self, position: Position) -> Result<(), String>;

    /// One command after the snapshot.
    ///
    /// # Errors
    /// Why the command cannot stand here; the log then does not open. A refusal by rule is no error.
    fn command(&mut self, position: Position, at: Timestamp, command: C::Command) -> Result<(), String>;
}

/// A snapshot that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    pub generation: u64,
    /// The last position that it includes.
    pub position: Position,
    pub items: u64,
    /// Of its file.
    pub bytes: u64,
}

/// What a sweep removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweep {
    pub files: Vec<PathBuf>,
    pub bytes: u64,
}

/// What was done since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Syncs of batches.
    pub syncs: u64,
    pub batches: u64,
    pub commands: u64,
    /// Bytes of batches.
    pub bytes: u64,
    /// Snapshots put in force.
    pub rebuilds: u64,
    /// Rebuilds given up.
    pub rebuilds_abandoned: u64,
    /// Appends refused by a full disk.
    pub full: u64,
}

/// What every batch changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub next_position: Position,
    /// Bytes of batches since the snapshot.
    pub log_bytes: u64,
    pub segments: usize,
    pub counters: Counters,
}

/// A log as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct LogStatus {
    pub directory: PathBuf,
    pub switch_directory: Option<PathBuf>,
    pub durability: Durability,
    pub next_position: Position,
    /// Of the snapshot in force, 0 before the first.
    pub generation: u64,
    /// The last position that the snapshot includes.
    pub snapshot_position: Position,
    pub snapshot_bytes: u64,
    /// Bytes of batches since the snapshot.
    pub log_bytes: u64,
    pub segments: usize,
    pub history_files: usize,
    pub history_bytes: u64,
    /// Whether a rebuild is under way.
    pub rebuilding: bool,
    /// Why it takes no more, if it failed.
    pub failed: Option<String>,
    pub counters: Counters,
    /// What the start had to report.
    pub notes: Vec<RecoveryNote>,
}
