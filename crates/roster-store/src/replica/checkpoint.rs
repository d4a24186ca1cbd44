//! The checkpoint: how far a copy is durable. It also marks a directory as one that a backup writes.
//!
//! A copy syncs many frames at once, so after a power cut a whole frame may stand behind a broken one,
//! which in the log of a node would be damage. Up to the checkpoint that is what it is here too; after
//! it, it is an unfinished write.

use std::path::Path;

use roster_core::{Position, Timestamp};

use super::error::ReplicaError;
use crate::disk::{Disk, read_full_at, write_all_at};
use crate::error::{Damage, IoFailure};
use crate::file_header::FILE_HEADER_BYTES;

const CHECKPOINT: &str = "BACKUP";
pub(super) const CHECKPOINT_ASIDE: &str = "BACKUP.new";
const TITLE: &str = "roster-backup 1";
const BYTES_MAX: u64 = 4096;

/// How far a copy is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Checkpoint {
    /// The last segment, and how much of it; empty when there was none.
    pub(super) segment: String,
    pub(super) bytes: u64,
    pub(super) position: Position,
    /// When that was all there was, by the clock of the source; zero when it never was.
    pub(super) at: Timestamp,
}

impl Checkpoint {
    /// How much of a segment, the last one that the manifest names, is durable at least.
    pub(super) fn durable_bytes(&self, segment: &str) -> u64 {
        // Of one that was begun after the checkpoint, that is the header.
        if self.segment == segment { self.bytes } else { FILE_HEADER_BYTES as u64 }
    }

    fn encode(&self) -> String {
        let mut text = format!("{TITLE}\n");
        if !self.segment.is_empty() {
            text.push_str(&format!("segment {} {}\n", self.segment, self.bytes));
        }
        text.push_str(&format!("position {}\ntime {}\n", self.position, self.at));
        let sum = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("crc32c {sum:08x}\n"));
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let summed = text.strip_suffix('\n')?.rfind('\n')? + 1;
        let (body, last) = text.split_at(summed);
        if last != format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut checkpoint = Self::default();
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["segment", name, bytes] => {
                    name.clone_into(&mut checkpoint.segment);
                    checkpoint.bytes = bytes.parse().ok()?;
                }
                ["position", position] => checkpoint.position = Position::new(position.parse().ok()?),
                ["time", at] => checkpoint.at = Timestamp::new(at.parse().ok()?),
                _ => return None,
            }
        }
        Some(checkpoint)
    }

    /// That of a directory; `None` when no backup was begun there.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, ReplicaError> {
        let path = dir.join(CHECKPOINT);
        let file = match disk.open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IoFailure::new("open", &path, source).into()),
        };
        let failed = |source| IoFailure::new("read", &path, source);
        let mut bytes = vec![0; file.size().map_err(failed)?.min(BYTES_MAX) as usize];
        let read = read_full_at(&*file, 0, &mut bytes).map_err(failed)?;
        let text = std::str::from_utf8(&bytes[..read]).ok();
        let damage = || ReplicaError::Damaged(Damage::new(&path, 0, "it is not the checkpoint of a backup"));
        text.and_then(Self::decode).map(Some).ok_or_else(damage)
    }

    /// Puts this one in force: a crash leaves the old one or the new one.
    pub(super) fn replace(&self, disk: &dyn Disk, dir: &Path) -> Result<(), IoFailure> {
        let (aside, path) = (dir.join(CHECKPOINT_ASIDE), dir.join(CHECKPOINT));
        let file = disk.create(&aside).map_err(|source| IoFailure::new("create", &aside, source))?;
        write_all_at(&*file, 0, self.encode().as_bytes()).map_err(|source| IoFailure::new("write", &aside, source))?;
        file.sync().map_err(|source| IoFailure::new("sync", &aside, source))?;
        disk.rename(&aside, &path).map_err(|source| IoFailure::new("rename to", &path, source))?;
        disk.sync_dir(dir).map_err(|source| IoFailure::new("sync", dir, source))
    }
}
