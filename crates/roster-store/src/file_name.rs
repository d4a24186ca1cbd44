//! The names of the files in the directories of a log.

use std::fmt;

use roster_core::Position;

pub(crate) const MANIFEST: &str = "MANIFEST";
pub(crate) const MANIFEST_ASIDE: &str = "MANIFEST.new";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const ROOM_PROBE: &str = "room.probe";

/// `g<generation>-p<position>.segment` or `.snapshot`, in decimals that sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// By its first position.
    Segment { generation: u64, first: Position },
    /// By the last position that it includes.
    Snapshot { generation: u64, position: Position },
}

impl FileName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.split_once('.')?;
        let (generation, position) = stem.strip_prefix('g')?.split_once("-p")?;
        let number = |digits: &str, width| {
            let plain = digits.len() == width && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let generation = number(generation, 10)?;
        let position = Position::new(number(position, 20)?);
        match extension {
            "segment" => Some(Self::Segment { generation, first: position }),
            "snapshot" => Some(Self::Snapshot { generation, position }),
            _ => None,
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (generation, position, extension) = match self {
            Self::Segment { generation, first } => (generation, first, "segment"),
            Self::Snapshot { generation, position } => (generation, position, "snapshot"),
        };
        write!(f, "g{generation:010}-p{:020}.{extension}", position.get())
    }
}

/// Whether a file was put aside: the end that was cut off a torn segment, or what a repair took away.
pub(crate) fn is_aside(name: &str) -> bool {
    name.ends_with(".torn") || name.ends_with(".damaged")
}
