//! The bytes of one file as they come: what is whole and in its place is let through, the rest waits.
//!
//! # Always true
//! * **Y3, checked first**: no byte goes on before the sum of its frame, and its place among the frames,
//!   were checked.

use std::path::PathBuf;

use bytes::{Buf, Bytes, BytesMut};
use roster_core::{Position, Timestamp};

use crate::codec::Codec;
use crate::error::{Damage, ReadError};
use crate::file_header::{FILE_HEADER_BYTES, FileHeader, FileKind};
use crate::file_name::FileName;
use crate::frame::{BadHead, FORMAT_VERSION, FrameKind, HEAD_BYTES, Head};
use crate::snapshot::Sums;

/// Checks one file as it comes. Holds one frame at most, and what came with it.
#[derive(Debug)]
pub(super) struct Intake {
    name: FileName,
    path: PathBuf,
    /// Bytes let through.
    passed: u64,
    waiting: BytesMut,
    known: Known,
}

/// What the bytes that were let through have shown.
#[derive(Debug, Clone, Copy)]
struct Known {
    header: Option<FileHeader>,
    /// Of a segment: where the next batch stands, and when the last one was.
    next: Position,
    last_at: Timestamp,
    /// Of a snapshot.
    sums: Sums,
    complete: bool,
}

impl Intake {
    /// For a file from its begin. `last_at` is the time of the last batch before it.
    pub(super) fn new(name: FileName, path: PathBuf, last_at: Timestamp) -> Self {
        let next = match name {
            FileName::Segment { first, .. } => first,
            FileName::Snapshot { position, .. } => position,
        };
        let known = Known { header: None, next, last_at, sums: Sums::default(), complete: false };
        Self { name, path, passed: 0, waiting: BytesMut::new(), known }
    }

    /// For a segment of which everything up to `passed` was checked before.
    pub(super) fn resumed(
        name: FileName,
        path: PathBuf,
        header: FileHeader,
        passed: u64,
        (next, last_at): (Position, Timestamp),
    ) -> Self {
        let known = Known { header: Some(header), next, last_at, sums: Sums::default(), complete: false };
        Self { name, path, passed, waiting: BytesMut::new(), known }
    }

    pub(super) fn header(&self) -> Option<&FileHeader> {
        self.known.header.as_ref()
    }

    /// Bytes let through.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Bytes let through, and those that wait for the rest of their frame.
    pub(super) fn taken(&self) -> u64 {
        self.passed + self.waiting.len() as u64
    }

    /// Of a segment: where the batch after those that were let through stands.
    pub(super) fn next(&self) -> Position {
        self.known.next
    }

    pub(super) fn last_at(&self) -> Timestamp {
        self.known.last_at
    }

    /// Of a snapshot: whether its trailer has come.
    pub(super) fn is_complete(&self) -> bool {
        self.known.complete
    }

    /// Forgets what waits; it will be sent again.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Takes the next bytes of the file in, and lets through what is whole. After an error it is as it
    /// was before, with nothing waiting.
    pub(super) fn take<C: Codec>(&mut self, bytes: &[u8]) -> Result<Bytes, ReadError> {
        self.waiting.extend_from_slice(bytes);
        let before = self.known;
        match self.check::<C>() {
            Ok(whole) => {
                self.passed += whole as u64;
                Ok(self.waiting.copy_to_bytes(whole))
            }
            Err(error) => {
                self.known = before;
                self.waiting.clear();
                Err(error)
            }
        }
    }

    /// How much of what waits is whole and in its place.
    fn check<C: Codec>(&mut self) -> Result<usize, ReadError> {
        let mut whole = 0;
        if self.known.header.is_none() {
            let Some(header) = self.waiting.first_chunk::<FILE_HEADER_BYTES>() else { return Ok(0) };
            self.known.header = Some(self.read_header::<C>(header)?);
            whole = FILE_HEADER_BYTES;
        }
        let log = self.known.header.map_or(0, |header| header.log);
        while let Some(head) = self.waiting[whole..].first_chunk::<HEAD_BYTES>() {
            let at = self.passed + whole as u64;
            let head = Head::decode(head, log).map_err(|bad| self.bad_head(at, bad))?;
            self.check_place(&head, at)?;
            let frame_bytes = head.frame_bytes() as usize;
            let Some(frame) = self.waiting.get(whole..whole + frame_bytes) else { break };
            head.check_body(log, &frame[HEAD_BYTES..]).map_err(|what| self.damage(at, what))?;
            if head.kind == FrameKind::Trailer {
                let mut body = BytesMut::from(&frame[HEAD_BYTES..]);
                head.open_body(log, &mut body).map_err(|what| self.damage(at, what))?;
                body.truncate(head.body_bytes as usize);
                if Sums::decode(body.freeze()) != Some(self.known.sums) {
                    return Err(self.damage(at, "the trailer does not fit what stands before it"));
                }
            }
            self.count(&head);
            whole += frame_bytes;
        }
        if self.known.complete && self.waiting.len() > whole {
            return Err(self.damage(self.passed + whole as u64, "something follows the trailer"));
        }
        Ok(whole)
    }

    fn read_header<C: Codec>(&self, bytes: &[u8; FILE_HEADER_BYTES]) -> Result<FileHeader, ReadError> {
        let (kind, generation, position) = match self.name {
            FileName::Segment { generation, first } => (FileKind::Segment, generation, first),
            FileName::Snapshot { generation, position } => (FileKind::Snapshot, generation, position),
        };
        let header = FileHeader::decode::<C>(kind, bytes, &self.path)?;
        if (header.generation, header.position) != (generation, position) {
            return Err(self.damage(24, "its header and its name differ"));
        }
        Ok(header)
    }

    fn check_place(&self, head: &Head, at: u64) -> Result<(), ReadError> {
        if self.known.complete {
            return Err(self.damage(at, "something follows the trailer"));
        }
        match (self.name, head.kind) {
            (FileName::Segment { .. }, FrameKind::Batch) => {
                if head.count == 0 || head.first != self.known.next {
                    let what = format!("position {} stands where {} belongs", head.first, self.known.next);
                    return Err(self.damage(at, &what));
                }
                if head.at < self.known.last_at {
                    let what = format!("the batch is dated {} and the one before it {}", head.at, self.known.last_at);
                    return Err(self.damage(at, &what));
                }
                Ok(())
            }
            (FileName::Snapshot { position, .. }, FrameKind::Items | FrameKind::Trailer) => {
                if head.first != position || self.known.header.is_some_and(|header| header.at != head.at) {
                    return Err(self.damage(at, "the frame belongs to another snapshot"));
                }
                Ok(())
            }
            (FileName::Segment { .. }, FrameKind::Items | FrameKind::Trailer)
            | (FileName::Snapshot { .. }, FrameKind::Batch) => {
                Err(self.damage(at, "the frame is of a kind that does not stand in such a file"))
            }
        }
    }

    fn count(&mut self, head: &Head) {
        match head.kind {
            FrameKind::Batch => {
                self.known.next = head.last().next();
                self.known.last_at = head.at;
            }
            FrameKind::Items => self.known.sums.add(head.count as usize, head.body_crc()),
            FrameKind::Trailer => self.known.complete = true,
        }
    }

    fn bad_head(&self, at: u64, bad: BadHead) -> ReadError {
        match bad {
            BadHead::Sum(what) => self.damage(at, what),
            BadHead::Version(found) => {
                let (found, readable) = (found.into(), FORMAT_VERSION.into());
                ReadError::Version { file: self.path.clone(), found, readable }
            }
        }
    }

    fn damage(&self, offset: u64, what: &str) -> ReadError {
        Damage::new(&self.path, offset, what).into()
    }
}
