//! What can go wrong, with the file, the offset and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use roster_core::Position;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}", path = path.display())]
pub struct IoFailure {
    pub operation: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl IoFailure {
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// Whether the disk, or the quota, is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        crate::disk::is_full(&self.source)
    }
}

/// A place in a file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Damage {
    pub file: PathBuf,
    /// In bytes from the begin of the file.
    pub offset: u64,
    pub what: String,
}

impl Damage {
    pub(crate) fn new(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), offset, what: what.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{dir} is in use by another process; a log has one writer", dir = dir.display())]
    Locked { dir: PathBuf },
    #[error(
        "{damage}; nothing was changed. `roster log verify --data-dir {dir}` shows all of it, \
         `roster log repair --data-dir {dir}` repairs it and says what is lost",
        dir = data_dir.display()
    )]
    Damaged { damage: Damage, data_dir: PathBuf },
    #[error(
        "{dir} has no manifest, but {found} is there; an empty start would hide it. Restore the manifest, or let \
         `roster log repair --data-dir {dir}` rebuild it, or move the files away to start empty",
        dir = data_dir.display(),
        found = found.display()
    )]
    NoManifest { data_dir: PathBuf, found: PathBuf },
    #[error("{file} has format version {found}; this program reads version {readable}", file = file.display())]
    Version { file: PathBuf, found: u32, readable: u32 },
    #[error("{file} is part of a log of {found}, not of {expected}", file = file.display())]
    OtherContent { file: PathBuf, found: String, expected: &'static str },
    #[error("the log in {data_dir} has live files in a second directory; set switch-dir to it", data_dir = data_dir.display())]
    NoSwitchDirectory { data_dir: PathBuf },
    #[error("{dir} holds a log; with durability \"none\" its positions would be given out again: choose another directory", dir = dir.display())]
    HoldsLog { dir: PathBuf },
    #[error("what stands at byte {offset} of {file} does not restore: {reason}", file = file.display())]
    Rejected { file: PathBuf, offset: u64, reason: String },
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Recoverable: nothing was written, and the next append may succeed.
    #[error("no room on the disk for {path}; free some space", path = path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Nothing was written, and the same batch will never be accepted.
    #[error("{what} of {size}; {max} at most")]
    TooLarge { what: &'static str, size: usize, max: usize },
    /// Whether the batch is in the log is not known, and the log takes no more: only a restart tells.
    #[error("the log failed; restart the node, whose start shows what the disk has kept")]
    Failed(#[source] IoFailure),
    /// An earlier append failed.
    #[error("the log takes no more since it failed: {reason}")]
    Poisoned { reason: String },
}

/// Why there is no snapshot. The log goes on without it, unless it says that it failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("no room on the disk for {path}; free some space", path = path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a rebuild is already under way")]
    UnderWay,
    #[error("the rebuild that this snapshot belongs to was given up")]
    Superseded,
    #[error("there are no files to rebuild with durability \"none\"")]
    NoFiles,
    #[error("an item of {size} bytes; {max} at most", max = crate::limits::RECORD_BYTES_MAX)]
    TooLarge { size: usize },
    #[error("the snapshot does not read back as it was written")]
    ReadBack(#[source] ReadError),
    #[error(transparent)]
    Io(IoFailure),
    /// The log takes no more.
    #[error("the log failed; restart the node, whose start shows what the disk has kept")]
    Failed(#[source] IoFailure),
    #[error("the log takes no more since it failed: {reason}")]
    Poisoned { reason: String },
}

impl From<IoFailure> for SnapshotError {
    fn from(failure: IoFailure) -> Self {
        if failure.is_full() { Self::Full { path: failure.path, source: failure.source } } else { Self::Io(failure) }
    }
}

/// Why history was not removed, or not all of it. The log goes on, unless it says that it failed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Io(IoFailure),
    #[error("the log failed; restart the node, whose start shows what the disk has kept")]
    Failed(#[source] IoFailure),
}

/// Why a part of the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("position {from} is no longer kept; the oldest is {oldest}")]
    Gone { from: Position, oldest: Position },
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error("{file} has format version {found}; this program reads version {readable}", file = file.display())]
    Version { file: PathBuf, found: u32, readable: u32 },
    #[error("{file} is part of a log of {found}, not of {expected}", file = file.display())]
    OtherContent { file: PathBuf, found: String, expected: &'static str },
    #[error(transparent)]
    Io(#[from] IoFailure),
}

impl ReadError {
    /// The same as a refusal to start.
    pub(crate) fn at_open(self, data_dir: &Path) -> OpenError {
        match self {
            Self::Gone { .. } => {
                OpenError::Damaged { damage: Damage::new(data_dir, 0, self.to_string()), data_dir: data_dir.to_owned() }
            }
            Self::Damaged(damage) => OpenError::Damaged { damage, data_dir: data_dir.to_owned() },
            Self::Version { file, found, readable } => OpenError::Version { file, found, readable },
            Self::OtherContent { file, found, expected } => OpenError::OtherContent { file, found, expected },
            Self::Io(failure) => OpenError::Io(failure),
        }
    }
}
