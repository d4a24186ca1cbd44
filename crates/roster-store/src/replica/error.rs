//! Why a copy does not go on, and why one is not restored.

use std::path::PathBuf;

use crate::error::{Damage, IoFailure, OpenError, ReadError};
use crate::manifest::ReplaceError;

/// Why a copy does not go on. What it holds stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error("{dir} is in use by another process", dir = dir.display())]
    Locked { dir: PathBuf },
    #[error("{dir} has files, but not those of a backup; choose a directory that is empty or not there", dir = dir.display())]
    NotABackup { dir: PathBuf },
    #[error(
        "{dir} is a backup of the log {held:016x}, the node has the log {offered:016x}; choose another directory",
        dir = dir.display()
    )]
    OtherLog { dir: PathBuf, held: u64, offered: u64 },
    #[error("a log of {offered} was offered where one of {expected} is copied")]
    OtherContent { offered: String, expected: &'static str },
    /// What is held is not a part of what the source has: it was repaired, restored, or has lost its end.
    #[error(
        "the log has changed behind what {dir} holds ({file}: {why}); the backup is kept as it is, start another \
         one in a new directory",
        dir = dir.display()
    )]
    Diverged { dir: PathBuf, file: String, why: String },
    /// What is held is not what was written.
    #[error("the backup is damaged: {0}; start another one in a new directory")]
    Damaged(Damage),
    /// What came is not whole, or does not follow. Worth another try from what is held.
    #[error("what came is not what the log has: {why}")]
    Refused { why: String },
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Io(#[from] IoFailure),
}

impl ReplicaError {
    /// Whether the same may succeed when it is sent again.
    #[must_use]
    pub fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    /// Of what came.
    pub(super) fn of_incoming(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::refused(damage.to_string()),
            ReadError::Gone { .. } | ReadError::Version { .. } | ReadError::OtherContent { .. } => Self::Read(error),
            ReadError::Io(failure) => Self::Io(failure),
        }
    }

    /// Of what is held.
    pub(super) fn of_held(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::Gone { .. } | ReadError::Version { .. } | ReadError::OtherContent { .. } => Self::Read(error),
            ReadError::Io(failure) => Self::Io(failure),
        }
    }

    /// Of what is held, by the code that opens a log.
    pub(super) fn of_open(error: OpenError, dir: &std::path::Path) -> Self {
        match error {
            OpenError::Locked { dir } => Self::Locked { dir },
            OpenError::Damaged { damage, .. } => Self::Damaged(damage),
            OpenError::Version { file, found, readable } => Self::Read(ReadError::Version { file, found, readable }),
            OpenError::OtherContent { file, found, expected } => {
                Self::Read(ReadError::OtherContent { file, found, expected })
            }
            OpenError::Rejected { file, offset, reason } => Self::Damaged(Damage::new(&file, offset, reason)),
            OpenError::Io(failure) => Self::Io(failure),
            OpenError::NoManifest { .. } | OpenError::NoSwitchDirectory { .. } | OpenError::HoldsLog { .. } => {
                Self::NotABackup { dir: dir.to_owned() }
            }
        }
    }
}

impl From<ReplaceError> for ReplicaError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::NotReplaced(failure) | ReplaceError::Unknown(failure) => Self::Io(failure),
        }
    }
}

/// Why a backup is not restored. The target then has no manifest, and no node starts from it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("there is no backup in {dir}", dir = dir.display())]
    NoBackup { dir: PathBuf },
    #[error("the backup in {dir} has not come as far as the first snapshot", dir = dir.display())]
    NothingYet { dir: PathBuf },
    #[error("{found} is there; a backup is restored into an empty directory", found = found.display())]
    NotEmpty { found: PathBuf },
    #[error(transparent)]
    Backup(#[from] ReplicaError),
    #[error(transparent)]
    Io(#[from] IoFailure),
}
