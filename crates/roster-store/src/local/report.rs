//! What a start has found, for the operator.

use std::fmt;
use std::path::PathBuf;

use roster_core::Position;

/// What opening a log has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Whether the log was begun by this start.
    pub fresh: bool,
    /// Of the snapshot, 0 without one.
    pub generation: u64,
    pub snapshot_items: u64,
    /// The last position that the snapshot includes.
    pub snapshot_position: Position,
    /// After the snapshot.
    pub batches: u64,
    pub commands: u64,
    pub next_position: Position,
    pub notes: Vec<RecoveryNote>,
}

/// Something that a start did, and that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryNote {
    /// The last write had not been finished. Nobody was told that it succeeded.
    TornTail { file: PathBuf, offset: u64, bytes: u64, kept: PathBuf, what: String },
    /// What an interrupted rebuild, rotation or probe had written was removed.
    LeftoverRemoved { file: PathBuf },
    /// A file that the manifest did not name, and that holds nothing newer than the snapshot, was taken into the history.
    HistoryAdopted { file: PathBuf },
    /// A file of the history is no longer there.
    HistoryMissing { file: PathBuf },
}

impl fmt::Display for RecoveryNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { file, offset, bytes, kept, what } => write!(
                f,
                "the last write to {} was not finished ({what}): {bytes} bytes from byte {offset} on were cut off and are kept in {}",
                file.display(),
                kept.display()
            ),
            Self::LeftoverRemoved { file } => write!(f, "removed the unfinished {}", file.display()),
            Self::HistoryAdopted { file } => write!(f, "took {} into the history", file.display()),
            Self::HistoryMissing { file } => write!(f, "{} of the history is no longer there", file.display()),
        }
    }
}
