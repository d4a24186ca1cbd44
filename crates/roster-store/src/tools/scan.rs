//! Looks at every file of the directories on its own, without believing the manifest.

use std::io;
use std::path::{Path, PathBuf};

use roster_core::{Position, Timestamp};

use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, IoFailure, ReadError};
use crate::file_header::{FILE_HEADER_BYTES, FileHeader, FileKind};
use crate::file_name::FileName;
use crate::frame_reader::{FrameReader, NextFrame};
use crate::local::decode_batch;
use crate::settings::{Directories, Side};
use crate::snapshot::read_snapshot;

/// What one file shows.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) side: Side,
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Of a whole segment, up to the end of its last frame.
    pub(super) bytes: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Segment(SegmentScan),
    Snapshot(SnapshotScan),
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct SegmentScan {
    /// Without a readable header nothing in the file can be believed.
    pub(super) header: Option<FileHeader>,
    /// By its name.
    pub(super) first: Position,
    pub(super) generation: u64,
    /// After the last command of the frames that are whole and follow each other from the begin.
    pub(super) end: Position,
    pub(super) frames: u64,
    /// Where those frames end in the file.
    pub(super) good_bytes: u64,
    pub(super) last_at: Timestamp,
    /// Why they end there.
    pub(super) stop: Option<Stop>,
    /// The last position that shows in whole frames after that.
    pub(super) beyond: Option<Position>,
}

#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) damage: Damage,
    pub(super) is_torn: bool,
}

#[derive(Debug, Clone)]
pub(super) struct SnapshotScan {
    pub(super) position: Position,
    pub(super) generation: u64,
    pub(super) items: u64,
    pub(super) whole: Result<FileHeader, Damage>,
}

/// Every file in the directories; a directory that is not there has none. With the id of the log, frames
/// can be seen behind a damaged header too.
pub(super) fn scan<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    log: Option<u64>,
) -> Result<Vec<Scan>, ReadError> {
    let mut scans = Vec::new();
    for (side, dir) in directories.sides() {
        let names = match disk.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(IoFailure::new("list", dir, source).into()),
        };
        for name in names {
            let path = dir.join(&name);
            // A file may go while a log that is in use is looked at.
            let Ok(bytes) = disk.open_to_read(&path).and_then(|file| file.size()) else { continue };
            let content = match FileName::parse(&name) {
                Some(FileName::Segment { generation, first }) => {
                    Content::Segment(scan_segment::<C>(disk, &path, generation, first, log)?)
                }
                Some(FileName::Snapshot { generation, position }) => {
                    Content::Snapshot(scan_snapshot::<C>(disk, &path, generation, position)?)
                }
                None => Content::Other,
            };
            let bytes = match &content {
                // Without the room behind the last frame.
                Content::Segment(segment) if segment.stop.is_none() => segment.good_bytes,
                Content::Segment(_) | Content::Snapshot(_) | Content::Other => bytes,
            };
            scans.push(Scan { side, name, path, bytes, content });
        }
    }
    Ok(scans)
}

fn scan_segment<C: Codec>(
    disk: &dyn Disk,
    path: &Path,
    generation: u64,
    first: Position,
    log: Option<u64>,
) -> Result<SegmentScan, ReadError> {
    let mut scan = SegmentScan {
        header: None,
        first,
        generation,
        end: first,
        frames: 0,
        good_bytes: FILE_HEADER_BYTES as u64,
        last_at: Timestamp::default(),
        stop: None,
        beyond: None,
    };
    let file = disk.open_to_read(path).map_err(|source| IoFailure::new("open", path, source))?;
    match FileHeader::read::<C>(FileKind::Segment, &*file, path) {
        Ok(header) if (header.position, header.generation) == (first, generation) => scan.header = Some(header),
        Ok(_) => scan.stop_at(Damage::new(path, 24, "its header and its name differ"), false),
        Err(ReadError::Damaged(damage)) => scan.stop_at(damage, false),
        Err(error) => return Err(error),
    }
    let Some(log) = scan.header.map(|header| header.log).or(log) else { return Ok(scan) };
    let mut reader = FrameReader::new(file, path, log)?;
    loop {
        match reader.next()? {
            NextFrame::End => return Ok(scan),
            NextFrame::Torn(damage) => {
                scan.stop_at(damage, true);
                return Ok(scan);
            }
            NextFrame::Damaged { damage, next_frame, last } => {
                scan.stop_at(damage, false);
                // Whatever it was, it stood at this position and perhaps at more.
                scan.beyond = scan.beyond.max(last).max(Some(scan.end));
                match next_frame {
                    Some(next_frame) => reader.seek(next_frame),
                    None => return Ok(scan),
                }
            }
            NextFrame::Frame(frame) => {
                let last = frame.head.last();
                if scan.stop.is_some() {
                    scan.beyond = scan.beyond.max(Some(last));
                    continue;
                }
                match decode_batch::<C>(path, &frame) {
                    Ok(batch) if batch.position == scan.end && batch.at >= scan.last_at => {
                        scan.end = last.next();
                        scan.last_at = batch.at;
                        scan.frames += 1;
                        scan.good_bytes = reader.offset();
                    }
                    Ok(batch) => {
                        let what = format!("position {} stands where {} belongs", batch.position, scan.end);
                        scan.stop_at(reader.damage(frame.offset, what), false);
                        scan.beyond = Some(last);
                    }
                    Err(ReadError::Damaged(damage)) => {
                        scan.stop_at(damage, false);
                        scan.beyond = Some(last);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

impl SegmentScan {
    /// The first stop is the one that counts.
    fn stop_at(&mut self, damage: Damage, is_torn: bool) {
        self.stop.get_or_insert(Stop { damage, is_torn });
    }
}

fn scan_snapshot<C: Codec>(
    disk: &dyn Disk,
    path: &Path,
    generation: u64,
    position: Position,
) -> Result<SnapshotScan, ReadError> {
    let (items, whole) = match read_snapshot::<C>(disk, path, |_, _| Ok(())) {
        Ok(read) if (read.header.generation, read.header.position) == (generation, position) => {
            (read.items, Ok(read.header))
        }
        Ok(_) => (0, Err(Damage::new(path, 24, "its header and its name differ"))),
        Err(ReadError::Damaged(damage)) => (0, Err(damage)),
        Err(error) => return Err(error),
    };
    Ok(SnapshotScan { position, generation, items, whole })
}
