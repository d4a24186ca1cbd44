//! Appending batches, and what a full or failing disk does to it.

use bytes::BytesMut;
use roster_core::{Position, Timestamp};

use super::{Files, LocalLog};
use crate::aside::sync_parent;
use crate::codec::Codec;
use crate::disk::{Disk, DiskFile, is_full, write_all_at};
use crate::error::{AppendError, IoFailure};
use crate::file_header::{FILE_HEADER_BYTES, FileHeader, FileKind};
use crate::file_name::ROOM_PROBE;
use crate::frame::{FrameKind, put_frame};
use crate::limits::{FRAME_BODY_BYTES_MAX, FRAME_RECORDS_MAX, RECORD_BYTES_MAX, ROOM_BYTES};
use crate::manifest::{LiveFile, Manifest, ReplaceError};
use crate::records::Records;
use crate::settings::{Directories, Durability, Side};

/// Why there is no new segment.
pub(super) enum RotateError {
    /// The old one is still in use.
    NotRotated(IoFailure),
    /// Which one a crash would leave is not known.
    Failed(IoFailure),
}

impl<C: Codec> LocalLog<C> {
    pub(super) fn append_batch(&mut self, at: Timestamp, records: &[Records<C>]) -> Result<Position, AppendError> {
        if let Some(reason) = &self.failed {
            return Err(AppendError::Poisoned { reason: reason.clone() });
        }
        let count = check_limits(records)?;
        let first = self.next;
        if count == 0 {
            return Ok(first);
        }
        let at = at.max(self.last_at); // L9
        if self.files.is_some() {
            self.write_batch(first, at, count, records)?;
        }
        self.next = first.plus(count as u64);
        self.last_at = at;
        self.counters.batches += 1;
        self.counters.commands += count as u64;
        Ok(first)
    }

    fn write_batch(
        &mut self,
        first: Position,
        at: Timestamp,
        count: usize,
        records: &[Records<C>],
    ) -> Result<(), AppendError> {
        self.rotate_when_long(at)?;
        let Some(files) = &mut self.files else { return Ok(()) };
        self.out.clear();
        let bodies = records.iter().map(Records::bytes);
        put_frame(&mut self.out, files.manifest.log, (FrameKind::Batch, first, at), count, bodies);
        if let Err(source) = write_all_at(&*files.active, files.active_len, &self.out) {
            // A part of the frame may be in the file: without it the next frame follows the last whole one.
            let cut = files.active.truncate(files.active_len);
            // The cut is not synced: the next segment begins only when it is (L11).
            files.room_end = files.active_len + 1;
            let path = files.active_path.clone();
            if is_full(&source) && cut.is_ok() {
                self.counters.full += 1;
                self.room_needed = self.out.len();
                return Err(AppendError::Full { path, source });
            }
            let failure = match cut {
                Err(source) => IoFailure::new("cut an unfinished write off", &path, source),
                Ok(()) => IoFailure::new("write", &path, source),
            };
            self.fail(&failure);
            return Err(AppendError::Failed(failure));
        }
        files.make_room(&*self.disk, &self.settings, files.active_len + self.out.len() as u64);
        if self.settings.durability == Durability::Synced {
            if let Err(source) = files.active.sync() {
                let failure = IoFailure::new("sync", &files.active_path, source);
                self.fail(&failure); // L7
                return Err(AppendError::Failed(failure));
            }
            self.counters.syncs += 1;
        }
        files.active_len += self.out.len() as u64;
        files.log_bytes += self.out.len() as u64;
        self.counters.bytes += self.out.len() as u64;
        const KEPT_BYTES: usize = 4 * 1024 * 1024;
        if self.out.capacity() > KEPT_BYTES {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// A segment that cannot be begun is no reason not to write to the old one.
    fn rotate_when_long(&mut self, at: Timestamp) -> Result<(), AppendError> {
        let Some(files) = &self.files else { return Ok(()) };
        if files.active_len < self.settings.segment_max.max(FILE_HEADER_BYTES as u64 + 1) {
            return Ok(());
        }
        let Some(last) = files.manifest.segments.last() else { return Ok(()) };
        let (side, generation) = (last.side, last.generation);
        match self.rotate(side, generation, at) {
            Ok(()) | Err(RotateError::NotRotated(_)) => Ok(()),
            Err(RotateError::Failed(failure)) => Err(AppendError::Failed(failure)),
        }
    }

    /// Begins a new segment at the next position. The manifest names it before anything is appended to it.
    pub(super) fn rotate(&mut self, side: Side, generation: u64, at: Timestamp) -> Result<(), RotateError> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let had_room = match files.give_room_back() {
            Ok(had_room) => had_room,
            Err(source) => return Err(RotateError::NotRotated(IoFailure::new("cut", &files.active_path, source))),
        };
        if had_room || self.settings.durability == Durability::Os {
            // Only the last segment may be torn by a power cut, and only the last one has room (L11).
            if let Err(source) = files.active.sync() {
                let failure = IoFailure::new("sync", &files.active_path, source);
                self.fail(&failure);
                return Err(RotateError::Failed(failure));
            }
        }
        let segment = LiveFile { side, generation, position: self.next };
        match add_segment::<C>(&*self.disk, &self.directories, &files.manifest, segment, at.max(self.last_at)) {
            Ok((manifest, path, file)) => {
                files.manifest = manifest;
                files.active = file;
                files.active_path = path;
                files.active_len = FILE_HEADER_BYTES as u64;
                files.room_end = 0;
                Ok(())
            }
            Err(ReplaceError::NotReplaced(failure)) => Err(RotateError::NotRotated(failure)),
            Err(ReplaceError::Unknown(failure)) => {
                self.fail(&failure);
                Err(RotateError::Failed(failure))
            }
        }
    }

    pub(super) fn probe_room(&mut self) -> bool {
        let Some(files) = &self.files else { return true };
        let probe = files.active_path.with_file_name(ROOM_PROBE);
        // Not zeros: a file system may store those in no room at all.
        let bytes = vec![0xA5; ROOM_BYTES.max(self.room_needed)];
        let written = self.disk.create(&probe).and_then(|file| {
            write_all_at(&*file, 0, &bytes)?;
            file.sync()
        });
        let removed = self.disk.remove(&probe);
        self.failed.is_none() && written.is_ok() && removed.is_ok()
    }
}

/// Makes a new segment, durable with its name, and puts a manifest in force that names it last.
pub(super) fn add_segment<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    manifest: &Manifest,
    segment: LiveFile,
    at: Timestamp,
) -> Result<(Manifest, std::path::PathBuf, Box<dyn DiskFile>), ReplaceError> {
    let Some(path) = Manifest::path(directories, segment.side, &segment.segment_name().to_string()) else {
        let missing = std::io::ErrorKind::NotFound.into();
        return Err(ReplaceError::NotReplaced(IoFailure::new("find the directory of", directories.data(), missing)));
    };
    let header = FileHeader {
        kind: FileKind::Segment,
        log: manifest.log,
        generation: segment.generation,
        position: segment.position,
        at,
    };
    let create = || {
        let file = disk.create(&path).map_err(|source| IoFailure::new("create", &path, source))?;
        write_all_at(&*file, 0, &header.encode(C::CONTENT)).map_err(|source| IoFailure::new("write", &path, source))?;
        file.sync().map_err(|source| IoFailure::new("sync", &path, source))?;
        sync_parent(disk, &path)?;
        Ok(file)
    };
    let remove = |failure| {
        // If this fails too, the next start removes it.
        let _ = disk.remove(&path);
        ReplaceError::NotReplaced(failure)
    };
    let file = create().map_err(remove)?;
    let mut manifest = manifest.clone();
    manifest.segments.push(segment);
    manifest.last_generation = manifest.last_generation.max(segment.generation);
    match manifest.replace::<C>(disk, directories) {
        Ok(()) => Ok((manifest, path, file)),
        Err(ReplaceError::NotReplaced(failure)) => Err(remove(failure)),
        Err(ReplaceError::Unknown(failure)) => Err(ReplaceError::Unknown(failure)),
    }
}

fn check_limits<C: Codec>(records: &[Records<C>]) -> Result<usize, AppendError> {
    let count: usize = records.iter().map(Records::len).sum();
    let bytes: usize = records.iter().map(Records::bytes_len).sum();
    let largest = records.iter().map(Records::largest).max().unwrap_or(0);
    let checks = [
        ("a record", largest, RECORD_BYTES_MAX),
        ("a batch", bytes, FRAME_BODY_BYTES_MAX),
        ("the number of records", count, FRAME_RECORDS_MAX),
    ];
    match checks.into_iter().find(|(_, size, max)| size > max) {
        Some((what, size, max)) => Err(AppendError::TooLarge { what, size, max }),
        None => Ok(count),
    }
}

impl Files {
    /// Whether nothing was appended to the last segment.
    pub(super) fn active_is_empty(&self) -> bool {
        self.active_len == FILE_HEADER_BYTES as u64
    }
}
