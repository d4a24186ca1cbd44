//! The frame: what one write puts into a file, and what tells whether it came back whole.
//!
//! # Always true
//! * **L1, sums**: every byte of a frame is under a CRC32C or is a fixed mark; both sums are salted with
//!   the id of the log, so that a copy of another log is never taken for a part of this one.
//! * **L2, no silence**: no aligned sector of a written frame is all zeros, wherever the frame begins.
//!   So a sector of zeros in a frame is one that never reached the disk: the mark of a torn write.
//!   A body that would have a long run of zeros is masked.

use bytes::{BufMut, BytesMut};
use roster_core::{Position, Timestamp};

use crate::limits::{FRAME_BODY_BYTES_MAX, FRAME_RECORDS_MAX};

/// The version that this program writes and reads.
pub(crate) const FORMAT_VERSION: u8 = 1;
pub(crate) const HEAD_BYTES: usize = 40;
pub(crate) const END_BYTES: usize = 4;
/// The smallest unit that a disk writes whole.
pub(crate) const SECTOR_BYTES: u64 = 512;

// Every byte of a mark has several bits set, so that one flipped bit makes none of them zero.
pub(crate) const MARK: [u8; 4] = *b"RFrm";
pub(crate) const END_MARK: [u8; 4] = *b"mrFR";
/// A body in which no chunk of this size is all zeros has no run of twice the size, and cannot fill a
/// sector, whatever part of the head shares it: 512 − 40 > 2 × 128.
const ZERO_CHUNK_BYTES: usize = 128;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Commands, in a segment.
    Batch,
    /// Items, in a snapshot.
    Items,
    /// The end of a snapshot.
    Trailer,
}

impl FrameKind {
    fn number(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Items => 2,
            Self::Trailer => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Batch),
            2 => Some(Self::Items),
            3 => Some(Self::Trailer),
            0 | 4.. => None,
        }
    }
}

/// The first 40 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: FrameKind,
    mask: u8,
    pub(crate) body_bytes: u32,
    pub(crate) count: u32,
    pub(crate) first: Position,
    pub(crate) at: Timestamp,
    body_crc: u32,
}

/// Why bytes are no head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// Not what was written.
    Sum(&'static str),
    /// What was written, but not by a program that this one understands.
    Version(u8),
}

impl Head {
    fn encode(&self, log: u64) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..4].copy_from_slice(&MARK);
        bytes[4] = FORMAT_VERSION;
        bytes[5] = self.kind.number();
        bytes[6] = self.mask;
        bytes[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.at.get().to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = salted_crc(log, &bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES], log: u64) -> Result<Self, BadHead> {
        if bytes[0..4] != MARK {
            return Err(BadHead::Sum("no frame begins here"));
        }
        if salted_crc(log, &bytes[..36]) != le_u32(&bytes[36..40]) {
            return Err(BadHead::Sum("the sum of the frame's head is wrong"));
        }
        if bytes[4] != FORMAT_VERSION {
            return Err(BadHead::Version(bytes[4]));
        }
        let Some(kind) = FrameKind::from_number(bytes[5]) else {
            return Err(BadHead::Sum("the frame is of no known kind"));
        };
        let head = Self {
            kind,
            mask: bytes[6],
            body_bytes: le_u32(&bytes[8..12]),
            count: le_u32(&bytes[12..16]),
            first: Position::new(le_u64(&bytes[16..24])),
            at: Timestamp::new(le_u64(&bytes[24..32])),
            body_crc: le_u32(&bytes[32..36]),
        };
        if bytes[7] != 0 || head.body_bytes as usize > FRAME_BODY_BYTES_MAX || head.count as usize > FRAME_RECORDS_MAX {
            return Err(BadHead::Sum("the frame is beyond the limits"));
        }
        Ok(head)
    }

    /// The position of its last record.
    pub(crate) fn last(&self) -> Position {
        Position::new(self.first.get() + u64::from(self.count.max(1)) - 1)
    }

    /// Of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (HEAD_BYTES + END_BYTES) as u64 + u64::from(self.body_bytes)
    }

    /// The sum of the body as it is stored.
    pub(crate) fn body_crc(&self) -> u32 {
        self.body_crc
    }

    /// Checks body and end mark, and takes the mask off. `rest` is what follows the head.
    pub(crate) fn open_body(&self, log: u64, rest: &mut [u8]) -> Result<(), &'static str> {
        self.check_body(log, rest)?;
        apply_mask(self.mask, log, self.first, &mut rest[..self.body_bytes as usize]);
        Ok(())
    }

    /// Checks body and end mark. `rest` is what follows the head.
    pub(crate) fn check_body(&self, log: u64, rest: &[u8]) -> Result<(), &'static str> {
        let (body, end) = rest.split_at(self.body_bytes as usize);
        if salted_crc(log, body) != self.body_crc {
            return Err("the sum of the frame's body is wrong");
        }
        if end != END_MARK {
            return Err("the frame has no end mark");
        }
        Ok(())
    }
}

/// Appends one frame, made of several buffers, to `out`.
pub(crate) fn put_frame<'a>(
    out: &mut BytesMut,
    log: u64,
    (kind, first, at): (FrameKind, Position, Timestamp),
    count: usize,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Head {
    let begin = out.len();
    out.put_bytes(0, HEAD_BYTES);
    for part in parts {
        out.put_slice(part);
    }
    let body = &mut out[begin + HEAD_BYTES..];
    debug_assert!(body.len() <= FRAME_BODY_BYTES_MAX && count <= FRAME_RECORDS_MAX, "the caller keeps the limits");
    let mut mask = 0;
    while has_zero_chunk(body) && mask < u8::MAX {
        apply_mask(mask, log, first, body);
        mask += 1;
        apply_mask(mask, log, first, body);
    }
    debug_assert!(!has_zero_chunk(body), "L2");
    let head = Head {
        kind,
        mask,
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
        count: u32::try_from(count).unwrap_or(u32::MAX),
        first,
        at,
        body_crc: salted_crc(log, body),
    };
    out[begin..begin + HEAD_BYTES].copy_from_slice(&head.encode(log));
    out.put_slice(&END_MARK);
    head
}

/// CRC32C of the log's id and then the bytes.
pub(crate) fn salted_crc(log: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&log.to_le_bytes()), bytes)
}

/// Whether some piece of `bytes`, which begin at `offset` of a file, is nothing but zeros; the pieces
/// are what the sectors of the file cut out of the bytes.
pub(crate) fn has_zero_piece(offset: u64, bytes: &[u8]) -> bool {
    let to_boundary = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
    let (first, rest) = bytes.split_at(to_boundary.min(bytes.len()));
    let zero = |piece: &[u8]| !piece.is_empty() && piece.iter().all(|&byte| byte == 0);
    zero(first) || rest.chunks(SECTOR_BYTES as usize).any(zero)
}

fn has_zero_chunk(body: &[u8]) -> bool {
    body.chunks_exact(ZERO_CHUNK_BYTES).any(|chunk| chunk[0] == 0 && chunk.iter().all(|&byte| byte == 0))
}

/// Xor with a stream of SplitMix64 (Steele, Lea, Flood 2014), so that applying it twice changes nothing. Mask 0 is none.
fn apply_mask(mask: u8, log: u64, first: Position, body: &mut [u8]) {
    if mask == 0 {
        return;
    }
    let mut state = log ^ first.get().rotate_left(32) ^ u64::from(mask);
    for chunk in body.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        for (byte, key) in chunk.iter_mut().zip(word.to_le_bytes()) {
            *byte ^= key;
        }
    }
}

pub(crate) fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

pub(crate) fn le_u64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
