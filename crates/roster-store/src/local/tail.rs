//! Reading batches back, from the live segments and from the history as far as it is kept.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roster_core::Position;

use super::LocalLog;
use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, IoFailure, ReadError};
use crate::file_header::{FileHeader, FileKind};
use crate::file_name::FileName;
use crate::frame::FrameKind;
use crate::frame_reader::{Frame, FrameReader, NextFrame};
use crate::manifest::Manifest;
use crate::ordered::{Batch, Batches};
use crate::records::take_record;
use crate::settings::Directories;

/// A segment, and which positions it begins and ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRange {
    pub(crate) path: PathBuf,
    pub(crate) first: Position,
    /// Where the next segment begins; of the last one `None`.
    pub(crate) end: Option<Position>,
}

impl<C: Codec> LocalLog<C> {
    pub(super) fn tail_from(&self, from: Position) -> Result<Batches<C>, ReadError> {
        let Some(files) = &self.files else {
            return if from >= self.next {
                Ok(Box::new(std::iter::empty()))
            } else {
                Err(ReadError::Gone { from, oldest: self.next })
            };
        };
        let ranges = segment_ranges(&*self.disk, &self.directories, &files.manifest);
        let oldest = ranges.first().map_or(self.next, |range| range.first);
        if from < oldest {
            return Err(ReadError::Gone { from, oldest });
        }
        Ok(Box::new(TailIter::<C>::new(Arc::clone(&self.disk), files.manifest.log, ranges, from, Some(self.next))))
    }
}

/// The segments without a gap that end with the live ones, oldest first.
pub(crate) fn segment_ranges(disk: &dyn Disk, directories: &Directories, manifest: &Manifest) -> Vec<FileRange> {
    let past = manifest.history.iter().filter_map(|file| match FileName::parse(&file.name)? {
        FileName::Segment { first, generation } => Some((first, generation, file.side, file.name.clone())),
        FileName::Snapshot { .. } => None,
    });
    let mut past: Vec<_> = past.collect();
    past.sort_unstable();
    let live = manifest
        .segments
        .iter()
        .map(|segment| (segment.position, segment.generation, segment.side, segment.segment_name().to_string()));
    let live_begin = past.len();
    let all: Vec<_> = past.into_iter().chain(live).collect();
    let mut ranges: VecDeque<FileRange> = VecDeque::new();
    for (index, (first, _, side, name)) in all.into_iter().enumerate().rev() {
        let Some(path) = Manifest::path(directories, side, &name) else { break };
        let end = ranges.front().map(|next| next.first);
        // Whether a past segment reaches up to the next one is in its frames; a gap shows when they are read.
        if index < live_begin && disk.open_to_read(&path).is_err() {
            break;
        }
        ranges.push_front(FileRange { path, first, end });
    }
    ranges.into()
}

/// Batches of consecutive segments.
pub(crate) struct TailIter<C> {
    disk: Arc<dyn Disk>,
    log: u64,
    ranges: VecDeque<FileRange>,
    reader: Option<FrameReader>,
    next: Option<Position>,
    from: Position,
    until: Option<Position>,
    done: bool,
    codec: PhantomData<C>,
}

impl<C: Codec> TailIter<C> {
    /// From a position, which must be in the ranges or at their end, up to `until` or to the end of the last whole frame.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        log: u64,
        ranges: Vec<FileRange>,
        from: Position,
        until: Option<Position>,
    ) -> Self {
        let mut ranges: VecDeque<_> = ranges.into();
        while ranges.front().is_some_and(|range| range.end.is_some_and(|end| end <= from)) {
            ranges.pop_front();
        }
        Self { disk, log, ranges, reader: None, next: None, from, until, done: false, codec: PhantomData }
    }

    fn read_next(&mut self) -> Result<Option<Batch<C>>, ReadError> {
        loop {
            if self.until.is_some() && self.next >= self.until {
                return Ok(None);
            }
            let Some(reader) = &mut self.reader else {
                let Some(range) = self.ranges.pop_front() else { return Ok(None) };
                self.reader = Some(open_segment::<C>(&*self.disk, &range, self.log)?);
                if self.next.is_some_and(|next| next != range.first) {
                    let what = format!("it begins at position {} where {:?} belongs", range.first, self.next);
                    return Err(Damage::new(&range.path, 0, what).into());
                }
                self.next = Some(range.first);
                continue;
            };
            match reader.next()? {
                NextFrame::End => self.reader = None,
                // What is being appended at this moment, or was never finished.
                NextFrame::Torn(_) if self.ranges.is_empty() && self.until.is_none() => return Ok(None),
                NextFrame::Torn(damage) | NextFrame::Damaged { damage, .. } => return Err(damage.into()),
                NextFrame::Frame(frame) => {
                    let mut batch = decode_batch::<C>(reader.path(), &frame)?;
                    if Some(batch.position) != self.next {
                        let what = format!("position {} stands where {:?} belongs", batch.position, self.next);
                        return Err(reader.damage(frame.offset, what).into());
                    }
                    let end = batch.position.plus(batch.commands.len() as u64);
                    self.next = Some(end);
                    if end <= self.from {
                        continue;
                    }
                    let skip = self.from.get().saturating_sub(batch.position.get());
                    batch.commands.drain(..skip as usize);
                    batch.position = batch.position.plus(skip);
                    return Ok(Some(batch));
                }
            }
        }
    }
}

impl<C: Codec> Iterator for TailIter<C> {
    type Item = Result<Batch<C>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read_next().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Opens a segment and checks that it is the one that it should be.
pub(crate) fn open_segment<C: Codec>(disk: &dyn Disk, range: &FileRange, log: u64) -> Result<FrameReader, ReadError> {
    let path = &range.path;
    let file = disk.open_to_read(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            ReadError::Damaged(Damage::new(path, 0, "the manifest names it, but it is missing"))
        } else {
            ReadError::Io(IoFailure::new("open", path, source))
        }
    })?;
    let header = FileHeader::read::<C>(FileKind::Segment, &*file, path)?;
    if header.log != log {
        return Err(Damage::new(path, 16, "it belongs to another log").into());
    }
    if header.position != range.first {
        return Err(Damage::new(path, 32, "its header and its name differ in the first position").into());
    }
    Ok(FrameReader::new(file, path, log)?)
}

/// The commands of a frame.
pub(crate) fn decode_batch<C: Codec>(path: &Path, frame: &Frame) -> Result<Batch<C>, ReadError> {
    let damage = |what: String| ReadError::Damaged(Damage::new(path, frame.offset, what));
    if frame.head.kind != FrameKind::Batch || frame.head.count == 0 {
        return Err(damage("a frame that is no batch in a segment".into()));
    }
    let mut commands = Vec::new();
    let mut body = frame.body.clone();
    while let Some(record) = take_record(&mut body) {
        let command = record.and_then(|record| C::decode_command(&record)).map_err(|invalid| {
            let position = frame.head.first.plus(commands.len() as u64);
            damage(format!("the command at position {position} is not valid: {invalid}"))
        })?;
        commands.push(command);
    }
    if commands.len() != frame.head.count as usize {
        return Err(damage(format!("the batch has {} commands and announces {}", commands.len(), frame.head.count)));
    }
    Ok(Batch { position: frame.head.first, at: frame.head.at, commands })
}
