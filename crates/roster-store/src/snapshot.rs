//! A snapshot file: the state as a list of items, with an end that proves that it is complete.
//!
//! # Always true
//! * **L5, complete or not at all**: a snapshot counts only with its trailer, which holds the number of
//!   its items and a sum over the sums of its frames; it is read back before it is offered.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use roster_core::Position;

use crate::codec::Codec;
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::error::{IoFailure, ReadError, SnapshotError};
use crate::file_header::{FILE_HEADER_BYTES, FileHeader, FileKind};
use crate::frame::{FrameKind, put_frame};
use crate::frame_reader::{FrameReader, NextFrame};
use crate::limits::{FRAME_RECORDS_MAX, RECORD_BYTES_MAX, SNAPSHOT_FRAME_BYTES};
use crate::records::{put_record, take_record};
use crate::stored::Directory;

const TRAILER_BYTES: usize = 20;

/// Writes a snapshot; meant for a thread of its own, while appends go on.
pub struct SnapshotWriter<C: Codec = Directory> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    header: FileHeader,
    offset: u64,
    gathered: BytesMut,
    gathered_count: usize,
    scratch: BytesMut,
    out: BytesMut,
    sums: Sums,
    codec: PhantomData<C>,
}

/// A snapshot that is complete, synced and read back, but not yet in force.
pub struct FinishedSnapshot<C: Codec = Directory> {
    pub(crate) header: FileHeader,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    codec: PhantomData<C>,
}

/// What the trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    items: u64,
    frames: u64,
    crc: u32,
}

impl Sums {
    pub(crate) fn add(&mut self, items: usize, body_crc: u32) {
        self.items += items as u64;
        self.frames += 1;
        self.crc = crc32c::crc32c_append(self.crc, &body_crc.to_le_bytes());
    }

    fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(TRAILER_BYTES);
        bytes.put_u64_le(self.items);
        bytes.put_u64_le(self.frames);
        bytes.put_u32_le(self.crc);
        bytes
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        (bytes.len() == TRAILER_BYTES).then(|| Self {
            items: bytes.get_u64_le(),
            frames: bytes.get_u64_le(),
            crc: bytes.get_u32_le(),
        })
    }
}

impl<C: Codec> SnapshotWriter<C> {
    pub(crate) fn create(disk: Arc<dyn Disk>, path: PathBuf, header: FileHeader) -> Result<Self, IoFailure> {
        let file = disk.create(&path).map_err(|source| IoFailure::new("create", &path, source))?;
        write_all_at(&*file, 0, &header.encode(C::CONTENT)).map_err(|source| IoFailure::new("write", &path, source))?;
        Ok(Self {
            disk,
            path,
            file,
            header,
            offset: FILE_HEADER_BYTES as u64,
            gathered: BytesMut::new(),
            gathered_count: 0,
            scratch: BytesMut::new(),
            out: BytesMut::new(),
            sums: Sums::default(),
            codec: PhantomData,
        })
    }

    /// The last position that the snapshot includes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.header.position
    }

    /// Adds one item; they come back in the same order.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot is then to be abandoned.
    pub fn push(&mut self, item: &C::Item) -> Result<(), SnapshotError> {
        self.scratch.clear();
        C::encode_item(item, &mut self.scratch);
        debug_assert_eq!(C::decode_item(&self.scratch).as_ref(), Ok(item), "an item decodes to itself");
        if self.scratch.len() > RECORD_BYTES_MAX {
            return Err(SnapshotError::TooLarge { size: self.scratch.len() });
        }
        put_record(&mut self.gathered, &self.scratch);
        self.gathered_count += 1;
        if self.gathered.len() >= SNAPSHOT_FRAME_BYTES || self.gathered_count >= FRAME_RECORDS_MAX {
            self.write_gathered()?;
        }
        Ok(())
    }

    /// Writes the end, syncs the file and its name, and reads all of it back.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot is then to be abandoned.
    pub fn finish(mut self) -> Result<FinishedSnapshot<C>, SnapshotError> {
        self.write_gathered()?;
        let trailer = self.sums.encode();
        self.write_frame(FrameKind::Trailer, 1, &trailer)?;
        self.file.sync().map_err(|source| IoFailure::new("sync", &self.path, source))?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        self.disk.sync_dir(dir).map_err(|source| IoFailure::new("sync", dir, source))?;
        let read = read_snapshot::<C>(&*self.disk, &self.path, |_, _| Ok(())).map_err(SnapshotError::ReadBack)?;
        debug_assert_eq!(read.items, self.sums.items, "L5");
        Ok(FinishedSnapshot { header: self.header, items: read.items, bytes: read.bytes, codec: PhantomData })
    }

    fn write_gathered(&mut self) -> Result<(), IoFailure> {
        if self.gathered_count == 0 {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        let count = std::mem::take(&mut self.gathered_count);
        let body_crc = self.write_frame(FrameKind::Items, count, &gathered)?;
        self.sums.add(count, body_crc);
        self.gathered = gathered;
        self.gathered.clear();
        Ok(())
    }

    fn write_frame(&mut self, kind: FrameKind, count: usize, body: &[u8]) -> Result<u32, IoFailure> {
        self.out.clear();
        let about = (kind, self.header.position, self.header.at);
        let head = put_frame(&mut self.out, self.header.log, about, count, std::iter::once(body));
        write_all_at(&*self.file, self.offset, &self.out)
            .map_err(|source| IoFailure::new("write", &self.path, source))?;
        self.offset += self.out.len() as u64;
        Ok(head.body_crc())
    }
}

impl<C: Codec> fmt::Debug for SnapshotWriter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter").field("path", &self.path).field("sums", &self.sums).finish_non_exhaustive()
    }
}

impl<C: Codec> fmt::Debug for FinishedSnapshot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinishedSnapshot").field("header", &self.header).field("items", &self.items).finish()
    }
}

/// What reading a snapshot to its end has shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotRead {
    pub(crate) header: FileHeader,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// Reads a snapshot to its end and checks all of it. `take` gets each item and the offset of its frame,
/// before it is known that the snapshot is complete.
pub(crate) fn read_snapshot<C: Codec>(
    disk: &dyn Disk,
    path: &Path,
    mut take: impl FnMut(u64, C::Item) -> Result<(), ReadError>,
) -> Result<SnapshotRead, ReadError> {
    let file = disk.open_to_read(path).map_err(|source| IoFailure::new("open", path, source))?;
    let header = FileHeader::read::<C>(FileKind::Snapshot, &*file, path)?;
    let mut reader = FrameReader::new(file, path, header.log)?;
    let mut sums = Sums::default();
    loop {
        let frame = match reader.next()? {
            NextFrame::Frame(frame) => frame,
            NextFrame::End => return Err(reader.damage(reader.len(), "the snapshot ends without its trailer").into()),
            NextFrame::Torn(damage) | NextFrame::Damaged { damage, .. } => return Err(damage.into()),
        };
        let damage = |what: String| Err(ReadError::Damaged(reader.damage(frame.offset, what)));
        if frame.head.first != header.position || frame.head.at != header.at {
            return damage("the frame belongs to another snapshot".into());
        }
        match frame.head.kind {
            FrameKind::Items => {
                let mut body = frame.body.clone();
                let mut count = 0;
                while let Some(record) = take_record(&mut body) {
                    let item = record.and_then(|record| C::decode_item(&record));
                    match item {
                        Ok(item) => take(frame.offset, item)?,
                        Err(invalid) => return damage(format!("item {count} of the frame is not valid: {invalid}")),
                    }
                    count += 1;
                }
                if count != frame.head.count as usize {
                    return damage(format!("the frame has {count} items and announces {}", frame.head.count));
                }
                sums.add(count, frame.head.body_crc());
            }
            FrameKind::Trailer => {
                if Sums::decode(frame.body.clone()) != Some(sums) {
                    return damage("the trailer does not fit what stands before it".into());
                }
                if reader.offset() != reader.len() {
                    return damage("something follows the trailer".into());
                }
                return Ok(SnapshotRead { header, items: sums.items, bytes: reader.len() });
            }
            FrameKind::Batch => return damage("a batch in a snapshot".into()),
        }
    }
}
