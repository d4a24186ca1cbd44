//! What goes from a log to its copy, and what the copy says first.

use bytes::Bytes;
use roster_core::{Position, Timestamp};

use crate::disk::{DiskFile, read_full_at};

/// The most that one [`Piece::Chunk`] carries.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// How much of the end of a held file is compared with the source.
const TAIL_BYTES: u64 = 64 * 1024;

/// One step of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Which files make up the log; what comes later is of these.
    Files(FileSet),
    /// Bytes of one of them, each file from its begin to its end, and one file after the other.
    Chunk { file: String, offset: u64, bytes: Bytes },
    /// Everything up to this position has been sent; `at` is the time at the source.
    CaughtUp { position: Position, at: Timestamp },
    /// The source does not have what the copy holds. Nothing follows.
    Diverged { file: String, why: String },
}

/// The files of a log in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSet {
    /// What the log holds, such as `directory`.
    pub content: String,
    /// The id of the log.
    pub log: u64,
    pub last_generation: u64,
    pub snapshot: Option<String>,
    /// In the order of their positions.
    pub segments: Vec<String>,
    /// Of all of them together.
    pub bytes: u64,
}

/// A file that a copy has, as far as it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    pub name: String,
    pub bytes: u64,
    /// CRC32C of the last 64 KiB of these bytes, or of all when they are fewer.
    pub tail_crc: u32,
}

/// CRC32C of the end of the first `bytes` bytes of a file; `None` when it has fewer.
///
/// The end is enough to tell two histories of one log apart: what follows a fork is written after it, and
/// each frame has its position, its time and the sum of its body under a sum of its own.
pub(crate) fn tail_crc(file: &dyn DiskFile, bytes: u64) -> std::io::Result<Option<u32>> {
    let from = bytes.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; (bytes - from) as usize];
    let read = read_full_at(file, from, &mut tail)?;
    Ok((read == tail.len()).then(|| crc32c::crc32c(&tail)))
}
