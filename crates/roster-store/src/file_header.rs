//! The first 64 bytes of a segment or a snapshot.
//!
//! Mark, format version and sum keep their places in every format version, so that a program can always
//! tell a version that it does not know from a damaged file.

use std::path::Path;

use roster_core::{Position, Timestamp};

use crate::codec::Codec;
use crate::disk::{DiskFile, read_full_at};
use crate::error::{Damage, IoFailure, ReadError};
use crate::frame::{FORMAT_VERSION, le_u32, le_u64};

pub(crate) const FILE_HEADER_BYTES: usize = 64;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Segment,
    Snapshot,
}

impl FileKind {
    fn mark(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"RosterSg",
            Self::Snapshot => *b"RosterSn",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: FileKind,
    pub(crate) log: u64,
    pub(crate) generation: u64,
    /// Of a segment: the first position in it. Of a snapshot: the last one that it includes.
    pub(crate) position: Position,
    /// Of a segment: when it was begun. Of a snapshot: the time of the last batch that it includes.
    pub(crate) at: Timestamp,
}

impl FileHeader {
    pub(crate) fn encode(&self, content: u8) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.kind.mark());
        bytes[8..12].copy_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
        bytes[12] = content;
        bytes[16..24].copy_from_slice(&self.log.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.generation.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.position.get().to_le_bytes());
        bytes[40..48].copy_from_slice(&self.at.get().to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads and checks it.
    pub(crate) fn read<C: Codec>(kind: FileKind, file: &dyn DiskFile, path: &Path) -> Result<Self, ReadError> {
        let mut bytes = [0; FILE_HEADER_BYTES];
        let read = read_full_at(file, 0, &mut bytes).map_err(|source| IoFailure::new("read", path, source))?;
        if read < FILE_HEADER_BYTES {
            return Err(Damage::new(path, read as u64, "the file ends inside its header").into());
        }
        Self::decode::<C>(kind, &bytes, path)
    }

    pub(crate) fn decode<C: Codec>(
        kind: FileKind,
        bytes: &[u8; FILE_HEADER_BYTES],
        path: &Path,
    ) -> Result<Self, ReadError> {
        let damaged = |offset, what: &str| Err(ReadError::Damaged(Damage::new(path, offset, what)));
        if crc32c::crc32c(&bytes[..60]) != le_u32(&bytes[60..64]) {
            return damaged(0, "the sum of the file's header is wrong");
        }
        if bytes[0..8] != kind.mark() {
            return damaged(0, "the file is not of the kind that its name says");
        }
        let version = le_u32(&bytes[8..12]);
        if version != u32::from(FORMAT_VERSION) {
            return Err(ReadError::Version { file: path.into(), found: version, readable: FORMAT_VERSION.into() });
        }
        if bytes[12] != C::CONTENT {
            let found = format!("content {}", bytes[12]);
            return Err(ReadError::OtherContent { file: path.into(), found, expected: C::CONTENT_NAME });
        }
        Ok(Self {
            kind,
            log: le_u64(&bytes[16..24]),
            generation: le_u64(&bytes[24..32]),
            position: Position::new(le_u64(&bytes[32..40])),
            at: Timestamp::new(le_u64(&bytes[40..48])),
        })
    }
}
