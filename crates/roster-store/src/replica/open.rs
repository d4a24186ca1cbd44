//! Opening a copy: everything that it holds is read and checked, and an unfinished end is cut off.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roster_core::{Position, Timestamp};

use super::checkpoint::{CHECKPOINT_ASIDE, Checkpoint};
use super::incoming::Incoming;
use super::intake::Intake;
use super::{Replica, ReplicaError, Tail};
use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, IoFailure};
use crate::file_header::{FILE_HEADER_BYTES, FileHeader, FileKind};
use crate::file_name::LOCK;
use crate::frame_reader::{FrameReader, NextFrame};
use crate::local::{OpenReport, lock_directories, recover};
use crate::manifest::{LiveFile, Manifest};
use crate::ordered::Recover;
use crate::settings::{Directories, Side};

pub(super) fn open<C: Codec>(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Replica<C>, ReplicaError> {
    let directories = Directories::new(dir.clone(), None);
    let locks = lock_directories(&*disk, &directories).map_err(|error| ReplicaError::of_open(error, &dir))?;
    let names = disk.list(&dir).map_err(|source| IoFailure::new("list", &dir, source))?;
    let checkpoint = match Checkpoint::read(&*disk, &dir)? {
        Some(checkpoint) => checkpoint,
        None if names.iter().any(|name| is_content(name)) => return Err(ReplicaError::NotABackup { dir }),
        None => {
            let checkpoint = Checkpoint::default();
            checkpoint.replace(&*disk, &dir)?;
            checkpoint
        }
    };
    let manifest = Manifest::read::<C>(&*disk, &directories).map_err(ReplicaError::of_held)?;
    let mut replica = Replica {
        disk,
        directories,
        manifest: None,
        tail: None,
        begun: None,
        incoming: None,
        target: None,
        reached: Position::default(),
        last_at: Timestamp::default(),
        checkpoint,
        unsynced: 0,
        received: 0,
        _locks: locks,
        codec: PhantomData,
    };
    if let Some(manifest) = manifest {
        replica.take_up(manifest)?;
    }
    replica.remove_unnamed()?;
    for name in names.iter().rev().filter(|name| Incoming::is_part(name)) {
        if replica.incoming.is_none() {
            replica.incoming = Incoming::resume::<C>(&*replica.disk, &dir, name)?;
        }
        let path = dir.join(name);
        if replica.incoming.as_ref().is_none_or(|incoming| incoming.path() != path) {
            replica.disk.remove(&path).map_err(|source| IoFailure::new("remove", &path, source))?;
        }
    }
    Ok(replica)
}

/// Whether somebody would miss it: all but what an open itself leaves when it is interrupted.
fn is_content(name: &str) -> bool {
    name != LOCK && name != CHECKPOINT_ASIDE
}

impl<C: Codec> Replica<C> {
    fn take_up(&mut self, manifest: Manifest) -> Result<(), ReplicaError> {
        let dir = self.directories.data().to_owned();
        if let Some(last) = manifest.segments.last().copied() {
            let path = dir.join(last.segment_name().to_string());
            let whole = whole_bytes(&*self.disk, &dir, &manifest, &last, &self.checkpoint)?;
            let file = self.disk.open(&path).map_err(|source| IoFailure::new("open", &path, source))?;
            file.truncate(whole).map_err(|source| IoFailure::new("cut", &path, source))?;
            // The last process may have ended between a write and its sync.
            file.sync().map_err(|source| IoFailure::new("sync", &path, source))?;
            let header = FileHeader::read::<C>(FileKind::Segment, &*file, &path).map_err(ReplicaError::of_held)?;
            let (next, last_at) = self.check(&manifest)?;
            let intake = Intake::resumed(last.segment_name(), path.clone(), header, whole, (next, last_at));
            self.tail = Some(Tail { live: last, path, file, intake });
            (self.reached, self.last_at) = (Position::new(next.get() - 1), last_at);
        } else {
            let (next, last_at) = self.check(&manifest)?;
            (self.reached, self.last_at) = (Position::new(next.get() - 1), last_at);
        }
        self.disk.sync_dir(&dir).map_err(|source| IoFailure::new("sync", &dir, source))?;
        self.manifest = Some(manifest);
        self.sync(None)
    }

    fn check(&self, manifest: &Manifest) -> Result<(Position, Timestamp), ReplicaError> {
        check_whole::<C>(&*self.disk, &self.directories, manifest)
    }
}

/// Reads all that a manifest names, to where the next command would stand and the time of the last one.
pub(super) fn check_whole<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    manifest: &Manifest,
) -> Result<(Position, Timestamp), ReplicaError> {
    let mut report = OpenReport::default();
    let recovered = recover::<C>(disk, directories, manifest, &mut Nobody, &mut report)
        .map_err(|error| ReplicaError::of_open(error, directories.data()))?;
    if let Some(damage) = recovered.torn {
        return Err(ReplicaError::Damaged(damage));
    }
    if let Some(last) = manifest.segments.last()
        && let Some(path) = Manifest::path(directories, last.side, &last.segment_name().to_string())
    {
        let len = disk.open_to_read(&path).and_then(|file| file.size());
        let len = len.map_err(|source| IoFailure::new("read the length of", &path, source))?;
        if len != recovered.active_len {
            // A log in use has zeros behind its frames, a copy has none: they took the place of frames.
            let what = "nothing but zeros from here on";
            return Err(ReplicaError::Damaged(Damage::new(&path, recovered.active_len, what)));
        }
    }
    Ok((recovered.next, recovered.last_at))
}

/// How much of the last segment counts: what the checkpoint says, and the whole frames after that.
pub(super) fn whole_bytes(
    disk: &dyn Disk,
    dir: &Path,
    manifest: &Manifest,
    last: &LiveFile,
    checkpoint: &Checkpoint,
) -> Result<u64, ReplicaError> {
    debug_assert_eq!(last.side, Side::Data, "a copy is in one directory");
    let name = last.segment_name().to_string();
    let path = dir.join(&name);
    let damaged = |offset, what: &str| ReplicaError::Damaged(Damage::new(&path, offset, what));
    let file = match disk.open_to_read(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(0, "the manifest names it, but it is missing"));
        }
        Err(source) => return Err(IoFailure::new("open", &path, source).into()),
    };
    let durable = checkpoint.durable_bytes(&name).max(FILE_HEADER_BYTES as u64);
    let mut reader = FrameReader::new(file, &path, manifest.log)?;
    if reader.len() < durable {
        return Err(damaged(reader.len(), "the file ends before the checkpoint of the backup"));
    }
    reader.seek(durable);
    loop {
        match reader.next().map_err(ReplicaError::of_held)? {
            NextFrame::Frame(_) => {}
            NextFrame::End | NextFrame::Torn(_) | NextFrame::Damaged { .. } => return Ok(reader.offset()),
        }
    }
}

/// Only what is checked on the way counts.
struct Nobody;

impl<C: Codec> Recover<C> for Nobody {
    fn snapshot_item(&mut self, _item: C::Item) -> Result<(), String> {
        Ok(())
    }

    fn snapshot_end(&mut self, _position: Position) -> Result<(), String> {
        Ok(())
    }

    fn command(&mut self, _position: Position, _at: Timestamp, _command: C::Command) -> Result<(), String> {
        Ok(())
    }
}
