//! The logs of a node: how each is called and where it is.
//!
//! What a log holds is a type, so whoever reads one matches over this, an arm for each log.

use std::path::{Path, PathBuf};

/// A log of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NodeLog {
    /// Services, instances and sessions
    Directory,
    /// Queues and their messages
    Queues,
}

impl NodeLog {
    /// The log without which there is no node comes first.
    pub(crate) const ALL: [Self; 2] = [Self::Directory, Self::Queues];

    /// As it is called on the command line and over the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Queues => "queues",
        }
    }

    /// Where it is below the data-dir, the switch-dir or the directory of a backup.
    pub(crate) fn folder(self, dir: &Path) -> PathBuf {
        match self {
            Self::Directory => dir.to_owned(),
            Self::Queues => dir.join("queues"),
        }
    }
}
