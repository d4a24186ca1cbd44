//! Opening a log: first everything is read and judged, and only then is anything on the disk changed.

use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use roster_core::{Position, Timestamp};

use super::append::add_segment;
use super::rebuild::file_bytes;
use super::recover::{Recovered, recover};
use super::report::{OpenReport, RecoveryNote};
use super::stray::{Stray, find_strays};
use super::{Files, LocalLog};
use crate::aside::{copy_aside, sync_parent};
use crate::codec::Codec;
use crate::disk::{Disk, DiskLock};
use crate::error::{IoFailure, OpenError};
use crate::feed::LogFeed;
use crate::file_header::FILE_HEADER_BYTES;
use crate::file_name::{FileName, LOCK, MANIFEST, is_aside};
use crate::manifest::{LiveFile, Manifest, PastFile, ReplaceError};
use crate::ordered::{Counters, Recover};
use crate::settings::{Directories, Durability, LogSettings};

pub(super) fn open<C: Codec>(
    disk: Arc<dyn Disk>,
    settings: LogSettings,
    now: Timestamp,
    into: &mut dyn Recover<C>,
) -> Result<LocalLog<C>, OpenError> {
    let directories = settings.directories();
    let locks = lock_directories(&*disk, &directories)?;
    let mut report = OpenReport::default();
    let (files, next, last_at) = if settings.durability == Durability::None {
        if let Some(_found) = find_log_file(&*disk, &directories, &[MANIFEST])? {
            return Err(OpenError::HoldsLog { dir: directories.data().to_owned() });
        }
        report.fresh = true;
        report.next_position = Position::new(1);
        (None, Position::new(1), Timestamp::default())
    } else {
        let manifest = read_or_begin::<C>(&*disk, &directories, &mut report)?;
        let strays =
            find_strays::<C>(&*disk, &directories, &manifest).map_err(|error| error.at_open(directories.data()))?;
        let recovered = recover(&*disk, &directories, &manifest, into, &mut report)?;
        let files = settle::<C>(&*disk, &directories, manifest, strays, &recovered, now, &mut report)?;
        (Some(files), recovered.next, recovered.last_at)
    };
    let feed = LogFeed::new(Arc::clone(&disk), directories.clone(), C::CONTENT_NAME);
    let log = LocalLog {
        disk,
        directories,
        settings,
        files,
        next,
        last_at,
        failed: None,
        counters: Counters::default(),
        report,
        feed,
        out: BytesMut::new(),
        room_needed: 0,
        _locks: locks,
        codec: PhantomData,
    };
    log.publish();
    Ok(log)
}

/// Makes the directories and locks them.
pub(crate) fn lock_directories(
    disk: &dyn Disk,
    directories: &Directories,
) -> Result<Vec<Box<dyn DiskLock>>, OpenError> {
    let mut locks = Vec::new();
    for (_, dir) in directories.sides() {
        disk.create_dir_all(dir).map_err(|source| IoFailure::new("create", dir, source))?;
        let path = dir.join(LOCK);
        locks.push(disk.lock(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::WouldBlock {
                OpenError::Locked { dir: dir.to_owned() }
            } else {
                OpenError::Io(IoFailure::new("lock", &path, source))
            }
        })?);
    }
    Ok(locks)
}

/// Some file of a log, if there is one.
fn find_log_file(disk: &dyn Disk, directories: &Directories, others: &[&str]) -> Result<Option<PathBuf>, IoFailure> {
    for (_, dir) in directories.sides() {
        let names = disk.list(dir).map_err(|source| IoFailure::new("list", dir, source))?;
        let of_a_log =
            |name: &&String| FileName::parse(name).is_some() || is_aside(name) || others.contains(&name.as_str());
        if let Some(name) = names.iter().find(of_a_log) {
            return Ok(Some(dir.join(name)));
        }
    }
    Ok(None)
}

/// The manifest; of a new log when there is no trace of an old one. A new one is durable before any
/// other file is made, so that files without a manifest always mean that one was lost.
fn read_or_begin<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    report: &mut OpenReport,
) -> Result<Manifest, OpenError> {
    let manifest = Manifest::read::<C>(disk, directories).map_err(|error| error.at_open(directories.data()))?;
    if let Some(manifest) = manifest {
        // The last process may have ended between renaming it and syncing the directory (L6).
        disk.sync_dir(directories.data()).map_err(|source| IoFailure::new("sync", directories.data(), source))?;
        return Ok(manifest);
    }
    if let Some(found) = find_log_file(disk, directories, &[])? {
        return Err(OpenError::NoManifest { data_dir: directories.data().to_owned(), found });
    }
    let manifest = Manifest::new(disk.draw_id());
    manifest.replace::<C>(disk, directories).map_err(not_replaced)?;
    report.fresh = true;
    Ok(manifest)
}

/// Makes the disk what the log will go on from: the torn end cut off, leftovers removed, the past
/// taken into the history, a segment to append to, and everything that was read durable.
fn settle<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    mut manifest: Manifest,
    strays: Vec<Stray>,
    recovered: &Recovered,
    now: Timestamp,
    report: &mut OpenReport,
) -> Result<Files, OpenError> {
    let before = manifest.clone();
    settle_history(disk, directories, &mut manifest, strays, now, report)?;
    let last = manifest.segments.last().copied();
    let active = match last {
        None => None,
        Some(segment) => {
            let path = Manifest::path(directories, segment.side, &segment.segment_name().to_string())
                .ok_or_else(|| OpenError::NoSwitchDirectory { data_dir: directories.data().to_owned() })?;
            let file = disk.open(&path).map_err(|source| IoFailure::new("open", &path, source))?;
            if let Some(torn) = &recovered.torn {
                let (kept, bytes) = copy_aside(disk, &*file, &path, torn.offset, "torn")?; // L10
                file.truncate(torn.offset).map_err(|source| IoFailure::new("cut", &path, source))?;
                let name = kept.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                manifest.history.push(PastFile { side: segment.side, name, bytes, superseded: now });
                let (offset, what) = (torn.offset, torn.what.clone());
                report.notes.push(RecoveryNote::TornTail { file: path.clone(), offset, bytes, kept, what });
            }
            let len = file.size().map_err(|source| IoFailure::new("read the length of", &path, source))?;
            if len > recovered.active_len {
                // The room of a process that was killed (L11).
                file.truncate(recovered.active_len).map_err(|source| IoFailure::new("cut", &path, source))?;
            }
            file.sync().map_err(|source| IoFailure::new("sync", &path, source))?; // L6
            Some((path, file))
        }
    };
    if manifest != before {
        manifest.replace::<C>(disk, directories).map_err(not_replaced)?;
    }
    let (manifest, active_path, active, active_len) = match active {
        Some((path, file)) => (manifest, path, file, recovered.active_len),
        None => {
            let generation = manifest.last_generation;
            let segment = LiveFile { side: manifest.side(), generation, position: recovered.next };
            let at = now.max(recovered.last_at);
            let (manifest, path, file) =
                add_segment::<C>(disk, directories, &manifest, segment, at).map_err(not_replaced)?;
            (manifest, path, file, FILE_HEADER_BYTES as u64)
        }
    };
    Ok(Files {
        manifest,
        active,
        active_path,
        active_len,
        room_end: 0,
        log_bytes: recovered.log_bytes,
        snapshot_bytes: recovered.snapshot_bytes,
        rebuild: None,
        rebuild_not_before: 0,
    })
}

fn settle_history(
    disk: &dyn Disk,
    directories: &Directories,
    manifest: &mut Manifest,
    strays: Vec<Stray>,
    now: Timestamp,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    for stray in strays {
        match stray {
            Stray::Leftover(path) => {
                disk.remove(&path).map_err(|source| IoFailure::new("remove", &path, source))?;
                sync_parent(disk, &path)?;
                report.notes.push(RecoveryNote::LeftoverRemoved { file: path });
            }
            Stray::Past { side, name, path } => {
                let bytes = file_bytes(disk, directories, side, &name);
                manifest.history.push(PastFile { side, name, bytes, superseded: now });
                report.notes.push(RecoveryNote::HistoryAdopted { file: path });
            }
        }
    }
    let mut present = Vec::new();
    for (side, dir) in directories.sides() {
        let names = disk.list(dir).map_err(|source| IoFailure::new("list", dir, source))?;
        present.extend(names.into_iter().map(|name| (side, name)));
    }
    manifest.history.retain(|file| {
        let PastFile { side, name, .. } = file;
        // Without its directory nobody knows.
        let Some(path) = Manifest::path(directories, *side, name) else { return true };
        let kept = present.iter().any(|(present_side, present)| present_side == side && present == name);
        if !kept {
            report.notes.push(RecoveryNote::HistoryMissing { file: path });
        }
        kept
    });
    Ok(())
}

fn not_replaced(error: ReplaceError) -> OpenError {
    match error {
        ReplaceError::NotReplaced(failure) | ReplaceError::Unknown(failure) => OpenError::Io(failure),
    }
}
