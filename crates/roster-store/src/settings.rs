//! What an operator chooses about a log.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What must have happened to a batch when `append` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Written and synced: it survives a power cut.
    #[default]
    Synced,
    /// Handed to the operating system: it survives the end of the process, not a power cut.
    Os,
    /// Kept nowhere: no file is written but the lock, and a directory that holds a log is refused,
    /// since positions that it has given out would be given out again.
    None,
}

/// How a log is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// Holds the manifest, the lock, and every other generation.
    pub directory: PathBuf,
    /// Holds the generations between; ideally on another disk. `None`, or the same directory: all in one.
    pub switch_directory: Option<PathBuf>,
    pub durability: Durability,
    /// No snapshot while the log since the last one is smaller, in bytes.
    pub rebuild_min: u64,
    /// No snapshot while the log since the last one is smaller than this many times that snapshot.
    pub rebuild_growth: f64,
    /// How long superseded files are kept; zero removes them at once.
    pub history: Duration,
    /// How many bytes of superseded files are kept.
    pub history_max: u64,
    /// A segment that has grown to this many bytes is followed by a new one.
    pub segment_max: u64,
    /// How many bytes of zeros are written at most behind the last batch, for the next ones to be written over; 0 is none.
    pub ahead_max: u64,
}

impl LogSettings {
    /// The defaults, in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            directory: directory.into(),
            switch_directory: None,
            durability: Durability::Synced,
            rebuild_min: 16 * MIB,
            rebuild_growth: 2.0,
            history: Duration::from_secs(7 * 24 * 60 * 60),
            history_max: 1024 * MIB,
            segment_max: 64 * MIB,
            ahead_max: MIB,
        }
    }

    /// Where its files are.
    #[must_use]
    pub fn directories(&self) -> Directories {
        Directories::new(self.directory.clone(), self.switch_directory.clone())
    }
}

/// Which of the two directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Data,
    Switch,
}

/// The one or two directories of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    data: PathBuf,
    switch: Option<PathBuf>,
}

impl Directories {
    /// A switch directory that is the data directory counts as none.
    #[must_use]
    pub fn new(data: PathBuf, switch: Option<PathBuf>) -> Self {
        let switch = switch.filter(|switch| *switch != data);
        Self { data, switch }
    }

    /// The directory with the manifest.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The other one.
    #[must_use]
    pub fn switch(&self) -> Option<&Path> {
        self.switch.as_deref()
    }

    pub(crate) fn path(&self, side: Side) -> Option<&Path> {
        match side {
            Side::Data => Some(&self.data),
            Side::Switch => self.switch.as_deref(),
        }
    }

    /// Both, as far as they are set.
    pub(crate) fn sides(&self) -> impl Iterator<Item = (Side, &Path)> {
        [Side::Data, Side::Switch].into_iter().filter_map(|side| self.path(side).map(|path| (side, path)))
    }

    /// Where the generation after one in `current` lives.
    pub(crate) fn other(&self, current: Side) -> Side {
        match current {
            Side::Data if self.switch.is_some() => Side::Switch,
            Side::Data | Side::Switch => Side::Data,
        }
    }
}
