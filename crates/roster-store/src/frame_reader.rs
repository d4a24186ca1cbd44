//! Reads the frames of one file in order, and judges the place where that stops.
//!
//! # Torn or damaged
//! A write that a crash cut short leaves a frame that ends early, or one in which sectors that were never
//! written are zeros, or, over room made in advance, one with zeros in place of its end. All are seen without the sums:
//! by the length of the file, by L2, and by the end mark. Such a
//! frame is *torn*, provided that no frame follows it, and was never acknowledged. A frame that is all
//! there, with no empty sector, and yet has a wrong sum was written whole and changed later: it is
//! *damaged*, wherever it stands, and may have been acknowledged. One flipped bit makes no torn frame of a
//! whole one: it changes neither the length of the file, nor (by the sum of the head) the length that the
//! frame announces, nor leaves a sector without any other bit.
//!
//! # Room
//! Nothing but zeros from the end of a frame to the end of the file is room made in advance
//! (`local/ahead.rs`): the frames end there.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use roster_core::Position;

use crate::disk::{DiskFile, read_full_at};
use crate::error::{Damage, IoFailure, ReadError};
use crate::file_header::FILE_HEADER_BYTES;
use crate::frame::{
    BadHead, END_BYTES, END_MARK, FORMAT_VERSION, HEAD_BYTES, Head, MARK, SECTOR_BYTES, has_zero_piece,
};
use crate::limits::READ_BYTES;

/// One whole frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) head: Head,
    pub(crate) body: Bytes,
}

/// What stands at the reader's place.
#[derive(Debug)]
pub(crate) enum NextFrame {
    Frame(Frame),
    /// The file ends here, or has only zeros from here on.
    End,
    /// From here to the end of the file there is only a torn write.
    Torn(Damage),
    /// Something else than what was written. `next_frame` is where a whole head stands
    /// after it, and `last` the last position of the bad frame, if its head can be read.
    Damaged {
        damage: Damage,
        next_frame: Option<u64>,
        last: Option<Position>,
    },
}

pub(crate) struct FrameReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    log: u64,
    len: u64,
    offset: u64,
    window: BytesMut,
    window_at: u64,
}

impl FrameReader {
    /// From the first frame of a file whose header was read.
    pub(crate) fn new(file: Box<dyn DiskFile>, path: &Path, log: u64) -> Result<Self, IoFailure> {
        let len = file.size().map_err(|source| IoFailure::new("read the length of", path, source))?;
        let offset = FILE_HEADER_BYTES as u64;
        Ok(Self { file, path: path.to_owned(), log, len, offset, window: BytesMut::new(), window_at: offset })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Of the file, when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Goes on at a place where [`NextFrame::Damaged`] said that a frame begins.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.window.clear();
        self.window_at = offset;
    }

    pub(crate) fn damage(&self, offset: u64, what: impl Into<String>) -> Damage {
        Damage::new(&self.path, offset, what)
    }

    /// The frame at this place; moves on only when there is one.
    pub(crate) fn next(&mut self) -> Result<NextFrame, ReadError> {
        match self.look()? {
            // In a log in use, what was read early may have been written since.
            NextFrame::Torn(_) | NextFrame::Damaged { .. } => {
                self.seek(self.offset);
                self.look()
            }
            next @ (NextFrame::Frame(_) | NextFrame::End) => Ok(next),
        }
    }

    fn look(&mut self) -> Result<NextFrame, ReadError> {
        if self.offset >= self.len || self.is_at_room()? {
            return Ok(NextFrame::End);
        }
        let offset = self.offset;
        let left = self.len - offset;
        if left < HEAD_BYTES as u64 {
            return Ok(NextFrame::Torn(self.damage(offset, "the file ends inside the head of a frame")));
        }
        let mut head_bytes = [0; HEAD_BYTES];
        head_bytes.copy_from_slice(self.bytes(HEAD_BYTES)?);
        let head = match Head::decode(&head_bytes, self.log) {
            Ok(head) => head,
            Err(BadHead::Version(found)) => {
                let (found, readable) = (found.into(), FORMAT_VERSION.into());
                return Err(ReadError::Version { file: self.path.clone(), found, readable });
            }
            Err(BadHead::Sum(what)) => return self.judge_head(what),
        };
        if head.frame_bytes() > left {
            let missing = head.frame_bytes() - left;
            return self.judge(true, Some(&head), format!("the file ends inside a frame, {missing} bytes early"));
        }
        let frame_bytes = head.frame_bytes() as usize;
        let mut rest = BytesMut::from(&self.bytes(frame_bytes)?[HEAD_BYTES..]);
        if let Err(what) = head.open_body(self.log, &mut rest) {
            let frame = self.bytes(frame_bytes)?;
            // A write over the room that stopped early left the zeros from there on: a part of the end mark at least.
            let torn = has_zero_piece(offset, frame) || has_unfinished_end(frame);
            return self.judge(torn, Some(&head), what.to_owned());
        }
        rest.truncate(head.body_bytes as usize);
        self.offset += head.frame_bytes();
        Ok(NextFrame::Frame(Frame { offset, head, body: rest.freeze() }))
    }

    /// Whether there are only zeros from here on.
    fn is_at_room(&mut self) -> Result<bool, ReadError> {
        let head_bytes = (self.len - self.offset).min(HEAD_BYTES as u64) as usize;
        if !is_zero(self.at_most(head_bytes)?) {
            return Ok(false);
        }
        let is_room = self.is_zero_from(self.offset)?;
        if !is_room {
            // Perhaps written just now: then the head is to be read again.
            self.seek(self.offset);
        }
        Ok(is_room)
    }

    /// Whether the file has nothing but zeros from a place on.
    fn is_zero_from(&self, mut at: u64) -> Result<bool, ReadError> {
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let filled = read_full_at(&*self.file, at, &mut chunk)
                .map_err(|source| IoFailure::new("read", &self.path, source))?;
            if !is_zero(&chunk[..filled]) {
                return Ok(false);
            }
            if filled < chunk.len() {
                return Ok(true);
            }
            at += filled as u64;
        }
    }

    /// Without a head the frame has no length; only the sectors under the head itself can tell, or that nothing
    /// follows it but room.
    fn judge_head(&mut self, what: &str) -> Result<NextFrame, ReadError> {
        let head_end = self.offset + HEAD_BYTES as u64;
        let span = (head_end.next_multiple_of(SECTOR_BYTES).min(self.len) - self.offset) as usize;
        let torn = has_zero_piece(self.offset, self.bytes(span)?) || self.is_zero_from(head_end)?;
        self.judge(torn, None, what.to_owned())
    }

    fn judge(&mut self, torn: bool, head: Option<&Head>, what: String) -> Result<NextFrame, ReadError> {
        let next_frame = self.find_head(self.offset + 1)?;
        let damage = self.damage(self.offset, what);
        Ok(match next_frame {
            None if torn => NextFrame::Torn(damage),
            Some(_) | None => {
                let last = head.map(Head::last);
                NextFrame::Damaged { damage, next_frame, last }
            }
        })
    }

    /// Where the next whole head stands, from a place on.
    fn find_head(&self, from: u64) -> Result<Option<u64>, ReadError> {
        let read = |offset, into: &mut [u8]| {
            read_full_at(&*self.file, offset, into).map_err(|source| IoFailure::new("read", &self.path, source))
        };
        let mut chunk = vec![0; READ_BYTES];
        let mut at = from;
        while at + (HEAD_BYTES as u64) <= self.len {
            let filled = read(at, &mut chunk)?;
            let chunk = &chunk[..filled];
            if filled < HEAD_BYTES {
                break;
            }
            for (index, bytes) in chunk.windows(HEAD_BYTES).enumerate() {
                if bytes.starts_with(&MARK) {
                    let mut head = [0; HEAD_BYTES];
                    head.copy_from_slice(bytes);
                    if Head::decode(&head, self.log).is_ok() {
                        return Ok(Some(at + index as u64));
                    }
                }
            }
            at += (filled - HEAD_BYTES + 1) as u64;
        }
        Ok(None)
    }

    /// The next bytes of the file; the caller knows that it has so many.
    fn bytes(&mut self, count: usize) -> Result<&[u8], ReadError> {
        if self.at_most(count)?.len() < count {
            return Err(self.damage(self.offset, "the file became shorter while it was read").into());
        }
        self.at_most(count)
    }

    /// The next bytes of the file, fewer when it became shorter.
    fn at_most(&mut self, count: usize) -> Result<&[u8], ReadError> {
        let skip = (self.offset - self.window_at) as usize;
        if self.window.len() < skip + count {
            let kept = self.window.split_off(skip.min(self.window.len()));
            self.window = kept;
            self.window_at = self.offset;
            let had = self.window.len();
            self.window.resize(count.max(READ_BYTES), 0);
            let at = self.offset + had as u64;
            let filled = read_full_at(&*self.file, at, &mut self.window[had..])
                .map_err(|source| IoFailure::new("read", &self.path, source))?;
            self.window.truncate(had + filled);
        }
        let skip = (self.offset - self.window_at) as usize;
        Ok(&self.window[skip..(skip + count).min(self.window.len())])
    }
}

/// Whether the end mark is missing, or stops in the middle: then the write over the room did.
fn has_unfinished_end(frame: &[u8]) -> bool {
    let end = &frame[frame.len() - END_BYTES..];
    let written = end.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    written < END_BYTES && end[..written] == END_MARK[..written]
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use roster_core::Timestamp;

    use super::*;
    use crate::disk::{Disk, FaultyDisk};
    use crate::frame::{FrameKind, put_frame};

    #[test]
    fn what_is_written_over_the_room_while_it_is_read_is_seen_whole_and_is_no_damage() {
        let (disk, path) = (FaultyDisk::new(1), Path::new("/log/segment"));
        disk.create_dir_all(Path::new("/log")).unwrap();
        let frame = |first| {
            let mut bytes = BytesMut::new();
            let about = (FrameKind::Batch, Position::new(first), Timestamp::new(1));
            put_frame(&mut bytes, 7, about, 1, std::iter::once(&b"record"[..]));
            bytes
        };
        let begin = FILE_HEADER_BYTES as u64;
        let length = frame(1).len() as u64;
        let file = disk.create(path).unwrap();
        file.write_at(begin, &frame(1)).unwrap();
        file.write_at(begin + length, &[0; 4096]).unwrap();
        let mut reader = FrameReader::new(disk.open_to_read(path).unwrap(), path, 7).unwrap();
        assert!(matches!(reader.next().unwrap(), NextFrame::Frame(_)));
        for number in 1..3 {
            file.write_at(begin + number * length, &frame(1 + number)).unwrap();
        }
        for number in 2..4 {
            let NextFrame::Frame(frame) = reader.next().unwrap() else { panic!("L11: frame {number} is there") };
            assert_eq!(frame.head.first, Position::new(number));
        }
        assert!(matches!(reader.next().unwrap(), NextFrame::End), "L11");
        // And what was room when it was looked at may be cut off.
        file.truncate(begin + 3 * length).unwrap();
        assert!(matches!(reader.next().unwrap(), NextFrame::End));
    }
}
