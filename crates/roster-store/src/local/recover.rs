//! Reading a whole log: the snapshot, then every batch after it. Changes nothing on the disk.

use roster_core::{Position, Timestamp};

use super::report::OpenReport;
use super::tail::{FileRange, decode_batch, open_segment};
use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, IoFailure, OpenError, ReadError};
use crate::file_header::FILE_HEADER_BYTES;
use crate::frame_reader::NextFrame;
use crate::manifest::Manifest;
use crate::ordered::Recover;
use crate::settings::Directories;
use crate::snapshot::read_snapshot;

/// What a log holds, after it was handed on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) next: Position,
    pub(crate) last_at: Timestamp,
    pub(crate) snapshot_bytes: u64,
    /// Of the frames since the snapshot.
    pub(crate) log_bytes: u64,
    /// The end of the last whole frame of the last segment.
    pub(crate) active_len: u64,
    /// What follows it.
    pub(crate) torn: Option<Damage>,
}

pub(crate) fn recover<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    manifest: &Manifest,
    into: &mut dyn Recover<C>,
    report: &mut OpenReport,
) -> Result<Recovered, OpenError> {
    let refuse = |error: ReadError| error.at_open(directories.data());
    let mut recovered = Recovered {
        next: Position::new(1),
        last_at: Timestamp::default(),
        snapshot_bytes: 0,
        log_bytes: 0,
        active_len: FILE_HEADER_BYTES as u64,
        torn: None,
    };
    if let Some(snapshot) = &manifest.snapshot {
        let name = snapshot.snapshot_name().to_string();
        let path = Manifest::path(directories, snapshot.side, &name)
            .ok_or_else(|| OpenError::NoSwitchDirectory { data_dir: directories.data().to_owned() })?;
        let mut rejected = None;
        let read = read_snapshot::<C>(disk, &path, |offset, item| {
            into.snapshot_item(item).map_err(|reason| {
                rejected = Some(OpenError::Rejected { file: path.clone(), offset, reason });
                // Only stops the reading; the error is the one above.
                Damage::new(&path, offset, "rejected").into()
            })
        });
        let read = match (read, rejected) {
            (_, Some(rejected)) => return Err(rejected),
            (Err(ReadError::Io(IoFailure { source, .. })), None) if source.kind() == std::io::ErrorKind::NotFound => {
                let damage = Damage::new(&path, 0, "the manifest names it, but it is missing");
                return Err(refuse(damage.into()));
            }
            (read, None) => read.map_err(refuse)?,
        };
        let header = read.header;
        if (header.log, header.generation, header.position) != (manifest.log, snapshot.generation, snapshot.position) {
            return Err(refuse(Damage::new(&path, 0, "it is not the snapshot that the manifest names").into()));
        }
        into.snapshot_end(header.position).map_err(|reason| {
            let offset = FILE_HEADER_BYTES as u64;
            OpenError::Rejected { file: path.clone(), offset, reason }
        })?;
        recovered.next = header.position.next();
        recovered.last_at = header.at;
        recovered.snapshot_bytes = read.bytes;
        report.generation = header.generation;
        report.snapshot_items = read.items;
        report.snapshot_position = header.position;
    }
    for (index, segment) in manifest.segments.iter().enumerate() {
        let path = Manifest::path(directories, segment.side, &segment.segment_name().to_string())
            .ok_or_else(|| OpenError::NoSwitchDirectory { data_dir: directories.data().to_owned() })?;
        let range = FileRange { path, first: segment.position, end: None };
        let is_last = index + 1 == manifest.segments.len();
        recover_segment(disk, manifest.log, &range, is_last, into, report, &mut recovered).map_err(
            |stop| match stop {
                Stop::Read(error) => refuse(error),
                Stop::Rejected(offset, reason) => OpenError::Rejected { file: range.path.clone(), offset, reason },
            },
        )?;
    }
    report.next_position = recovered.next;
    Ok(recovered)
}

enum Stop {
    Read(ReadError),
    Rejected(u64, String),
}

impl<E: Into<ReadError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

fn recover_segment<C: Codec>(
    disk: &dyn Disk,
    log: u64,
    range: &FileRange,
    is_last: bool,
    into: &mut dyn Recover<C>,
    report: &mut OpenReport,
    recovered: &mut Recovered,
) -> Result<(), Stop> {
    let mut reader = open_segment::<C>(disk, range, log)?;
    if range.first != recovered.next {
        let what = format!("it begins at position {} where {} belongs", range.first, recovered.next);
        return Err(Damage::new(&range.path, 32, what).into()); // L8
    }
    loop {
        let frame = match reader.next()? {
            NextFrame::Frame(frame) => frame,
            NextFrame::End => break,
            NextFrame::Torn(damage) if is_last => {
                recovered.torn = Some(damage);
                break;
            }
            NextFrame::Torn(damage) | NextFrame::Damaged { damage, .. } => return Err(damage.into()),
        };
        let batch = decode_batch::<C>(&range.path, &frame)?;
        if batch.position != recovered.next {
            let what = format!("position {} stands where {} belongs", batch.position, recovered.next);
            return Err(reader.damage(frame.offset, what).into()); // L8
        }
        if batch.at < recovered.last_at {
            let what = format!("the batch is dated {} and the one before it {}", batch.at, recovered.last_at);
            return Err(reader.damage(frame.offset, what).into()); // L9
        }
        recovered.last_at = batch.at;
        report.batches += 1;
        for command in batch.commands {
            into.command(recovered.next, batch.at, command)
                .map_err(|reason| Stop::Rejected(frame.offset, format!("position {}: {reason}", recovered.next)))?;
            recovered.next = recovered.next.next();
            report.commands += 1;
        }
        recovered.log_bytes += frame.head.frame_bytes();
    }
    recovered.active_len = reader.offset();
    Ok(())
}
