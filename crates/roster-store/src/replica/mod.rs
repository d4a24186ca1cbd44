//! A copy of a log in one directory: the same files, byte for byte, as far as they have come.
//!
//! What comes is the pieces of a [feed](crate::LogFeed). A copy has a manifest of its own, in which the
//! two directories of the source are one and the history is empty.
//!
//! # Always true
//! * **Y4, restorable**: what the manifest of a copy names is whole, but for an unfinished end of the last
//!   segment after the checkpoint. It names a file before the first frame of it is written, and a
//!   snapshot only when it is complete.
//! * **Y5, never backwards**: no change of files takes a copy to an earlier position. What does not go on
//!   from what is held is refused, and what is held stays.

mod checkpoint;
mod error;
mod incoming;
mod intake;
mod open;
mod restore;

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use roster_core::{Position, Timestamp};

pub use error::{ReplicaError, RestoreError};
pub use restore::{Restored, restore};

use self::checkpoint::Checkpoint;
use self::incoming::{Incoming, Target};
use self::intake::Intake;
use crate::aside::sync_parent;
use crate::codec::Codec;
use crate::disk::{Disk, DiskFile, DiskLock, write_all_at};
use crate::error::IoFailure;
use crate::feed::{FileSet, HeldFile, Piece, tail_crc};
use crate::file_header::FILE_HEADER_BYTES;
use crate::file_name::FileName;
use crate::manifest::{LiveFile, Manifest};
use crate::settings::Directories;

/// What may be written before it is synced.
const UNSYNCED_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// While nothing changes, the time in the checkpoint is renewed when it is this old, in milliseconds.
const CHECKPOINT_AGE_MAX: u64 = 60_000;

/// A copy of a log. After an error that is not [worth another try](ReplicaError::is_worth_another_try)
/// it is to be dropped.
pub struct Replica<C: Codec> {
    disk: Arc<dyn Disk>,
    directories: Directories,
    /// `None` until the first files are complete.
    manifest: Option<Manifest>,
    /// The last segment that the manifest names.
    tail: Option<Tail>,
    /// The segment after it, until its header has come.
    begun: Option<(LiveFile, Intake)>,
    /// A snapshot that is not complete.
    incoming: Option<Incoming>,
    target: Option<Target>,
    /// The last position that is written.
    reached: Position,
    last_at: Timestamp,
    checkpoint: Checkpoint,
    unsynced: u64,
    received: u64,
    _locks: Vec<Box<dyn DiskLock>>,
    codec: PhantomData<C>,
}

struct Tail {
    live: LiveFile,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    intake: Intake,
}

impl<C: Codec> Replica<C> {
    /// Opens what a directory holds of a copy, all of it verified, or begins one.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing that is whole is changed then.
    pub fn open(disk: Arc<dyn Disk>, dir: impl Into<PathBuf>) -> Result<Self, ReplicaError> {
        open::open(disk, dir.into())
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directories.data()
    }

    /// Up to where the copy is durable.
    #[must_use]
    pub fn position(&self) -> Position {
        self.checkpoint.position
    }

    /// Bytes taken in since it was opened.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Whether there is anything that could be restored.
    #[must_use]
    pub fn is_restorable(&self) -> bool {
        self.manifest.is_some()
    }

    /// What the source is told, so that it goes on from here. What waits for the rest of its frame is forgotten.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn held(&mut self) -> Result<Vec<HeldFile>, ReplicaError> {
        self.begun = None;
        self.target = None;
        let mut files = Vec::new();
        let manifest = self.manifest.as_ref();
        let names = manifest.iter().flat_map(|manifest| {
            let snapshot = manifest.snapshot.iter().map(LiveFile::snapshot_name);
            snapshot.chain(manifest.segments.iter().map(LiveFile::segment_name)).map(|name| name.to_string())
        });
        for name in names {
            let path = self.directory().join(&name);
            let file = self.disk.open_to_read(&path).map_err(|source| IoFailure::new("open", &path, source))?;
            let bytes = file.size().map_err(|source| IoFailure::new("read the length of", &path, source))?;
            files.push(held_file(&*file, &path, name, bytes)?);
        }
        if let Some(tail) = &mut self.tail {
            tail.intake.forget_waiting();
        }
        if let Some(incoming) = &mut self.incoming {
            files.extend(incoming.held()?);
        }
        Ok(files)
    }

    /// Takes the next piece in.
    ///
    /// # Errors
    /// [`ReplicaError`]; what was whole before is whole still.
    pub fn take(&mut self, piece: Piece) -> Result<(), ReplicaError> {
        match piece {
            Piece::Files(set) => self.take_files(&set),
            Piece::Chunk { file, offset, bytes } => self.take_chunk(&file, offset, &bytes),
            Piece::CaughtUp { position, at } => {
                if position != self.reached {
                    let why = format!("all up to position {position} was sent, up to {} came", self.reached);
                    return Err(ReplicaError::refused(why));
                }
                self.sync(Some(at))
            }
            Piece::Diverged { file, why } => self.take_diverged(&file, why),
        }
    }

    fn take_files(&mut self, set: &FileSet) -> Result<(), ReplicaError> {
        if set.content != C::CONTENT_NAME {
            let offered = set.content.clone();
            return Err(ReplicaError::OtherContent { offered, expected: C::CONTENT_NAME });
        }
        let target = Target::parse(set)?;
        match &self.manifest {
            Some(manifest) if manifest.log != set.log => {
                let dir = self.directory().to_owned();
                return Err(ReplicaError::OtherLog { dir, held: manifest.log, offered: set.log });
            }
            Some(manifest) if manifest.snapshot == target.snapshot => {
                let mut offered = target.segments.iter();
                let missing = manifest.segments.iter().find(|held| offered.next() != Some(held));
                if let Some(missing) = missing {
                    let why = "the source does not have it any more, nor a snapshot instead";
                    return Err(self.diverged(&missing.segment_name().to_string(), why));
                }
            }
            Some(manifest) if target.snapshot.is_none() => {
                let name = manifest.snapshot.as_ref().map(|file| file.snapshot_name().to_string());
                return Err(self.diverged(&name.unwrap_or_default(), "the source has no snapshot"));
            }
            Some(_) => {}
            None if target.snapshot.is_none() => {
                let mut manifest = Manifest::new(target.log);
                manifest.last_generation = target.last_generation;
                self.put_in_force(manifest)?;
            }
            None => {}
        }
        if self.incoming.as_ref().is_some_and(|incoming| !incoming.is_of(&target)) {
            self.discard_incoming()?;
        }
        self.begun = None;
        self.target = Some(target);
        Ok(())
    }

    fn take_chunk(&mut self, name: &str, offset: u64, bytes: &Bytes) -> Result<(), ReplicaError> {
        let target =
            self.target.as_ref().ok_or_else(|| ReplicaError::refused("bytes came before the list of files"))?;
        let unasked = || ReplicaError::refused(format!("{name} came, which is not the file that is next"));
        let has_snapshot = self.manifest.as_ref().is_some_and(|manifest| manifest.snapshot == target.snapshot);
        self.received += bytes.len() as u64;
        match FileName::parse(name).ok_or_else(unasked)? {
            FileName::Snapshot { .. } => {
                let live = target.snapshot.filter(|live| live.snapshot_name().to_string() == name && !has_snapshot);
                self.take_snapshot(live.ok_or_else(unasked)?, offset, bytes)
            }
            FileName::Segment { .. } => {
                let index = target.segments.iter().position(|live| live.segment_name().to_string() == name);
                let index = index.filter(|_| has_snapshot).ok_or_else(unasked)?;
                let live = target.segments[index];
                let held = self.manifest.as_ref().map_or(0, |manifest| manifest.segments.len());
                if index == held {
                    self.begin_segment(live, offset, bytes)
                } else if self.tail.as_ref().is_some_and(|tail| tail.live == live) {
                    self.append(offset, bytes)
                } else {
                    Err(unasked())
                }
            }
        }
    }

    /// The first bytes of the next segment. The one before it is durable, and the manifest names the new
    /// one, before a frame of it is written: in a log only the last segment may have an unfinished end.
    fn begin_segment(&mut self, live: LiveFile, offset: u64, bytes: &Bytes) -> Result<(), ReplicaError> {
        let path = self.directory().join(live.segment_name().to_string());
        if live.position != self.reached.next() {
            let why = format!("{} came after position {}", live.segment_name(), self.reached);
            return Err(ReplicaError::refused(why));
        }
        let (_, mut intake) = match self.begun.take() {
            Some(begun) if begun.0 == live => begun,
            Some(_) | None => (live, Intake::new(live.segment_name(), path.clone(), self.last_at)),
        };
        in_order(&intake, &live.segment_name(), offset)?;
        let whole = intake.take::<C>(bytes).map_err(ReplicaError::of_incoming)?;
        let Some(header) = intake.header().copied() else {
            self.begun = Some((live, intake));
            return Ok(());
        };
        let Some(mut manifest) = self.manifest.clone() else { return Ok(()) };
        if header.log != manifest.log {
            return Err(ReplicaError::refused(format!("{} is of another log", live.segment_name())));
        }
        self.sync(None)?;
        let file = self.disk.create(&path).map_err(|source| IoFailure::new("create", &path, source))?;
        let (head, frames) = whole.split_at(FILE_HEADER_BYTES);
        write_all_at(&*file, 0, head).map_err(|source| IoFailure::new("write", &path, source))?;
        file.sync().map_err(|source| IoFailure::new("sync", &path, source))?;
        sync_parent(&*self.disk, &path)?;
        manifest.segments.push(live);
        manifest.last_generation = manifest.last_generation.max(live.generation);
        self.put_in_force(manifest)?;
        write_all_at(&*file, FILE_HEADER_BYTES as u64, frames)
            .map_err(|source| IoFailure::new("write", &path, source))?;
        self.tail = Some(Tail { live, path, file, intake });
        self.written(frames.len())
    }

    fn append(&mut self, offset: u64, bytes: &Bytes) -> Result<(), ReplicaError> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        in_order(&tail.intake, &tail.live.segment_name(), offset)?;
        let at = tail.intake.passed();
        let whole = tail.intake.take::<C>(bytes).map_err(ReplicaError::of_incoming)?;
        write_all_at(&*tail.file, at, &whole).map_err(|source| IoFailure::new("write", &tail.path, source))?;
        self.written(whole.len())
    }

    fn written(&mut self, bytes: usize) -> Result<(), ReplicaError> {
        if let Some(tail) = &self.tail {
            debug_assert!(tail.intake.next() > self.reached, "Y5");
            self.reached = Position::new(tail.intake.next().get() - 1);
            self.last_at = tail.intake.last_at();
        }
        self.unsynced += bytes as u64;
        if self.unsynced >= UNSYNCED_BYTES_MAX { self.sync(None) } else { Ok(()) }
    }

    /// Makes durable what is written. `at` says that this is all that the source had then.
    fn sync(&mut self, at: Option<Timestamp>) -> Result<(), ReplicaError> {
        if self.manifest.is_none() {
            return Ok(());
        }
        if let Some(tail) = self.tail.as_ref().filter(|_| self.unsynced > 0) {
            tail.file.sync().map_err(|source| IoFailure::new("sync", &tail.path, source))?;
        }
        self.unsynced = 0;
        let (segment, bytes) = match &self.tail {
            Some(tail) => (tail.live.segment_name().to_string(), tail.intake.passed()),
            None => (String::new(), 0),
        };
        let at = at.unwrap_or(self.checkpoint.at).max(self.checkpoint.at);
        let checkpoint = Checkpoint { segment, bytes, position: self.reached, at };
        let same = Checkpoint { at: self.checkpoint.at, ..checkpoint.clone() } == self.checkpoint;
        if !same || at.get() - self.checkpoint.at.get() >= CHECKPOINT_AGE_MAX {
            checkpoint.replace(&*self.disk, self.directory())?;
            self.checkpoint = checkpoint;
        }
        Ok(())
    }

    fn put_in_force(&mut self, manifest: Manifest) -> Result<(), ReplicaError> {
        manifest.replace::<C>(&*self.disk, &self.directories)?;
        self.manifest = Some(manifest);
        Ok(())
    }

    fn diverged(&self, file: &str, why: impl Into<String>) -> ReplicaError {
        ReplicaError::Diverged { dir: self.directory().to_owned(), file: file.to_owned(), why: why.into() }
    }
}

/// Bytes of a file come one after the other.
fn in_order(intake: &Intake, name: &FileName, offset: u64) -> Result<(), ReplicaError> {
    if offset == intake.taken() {
        return Ok(());
    }
    Err(ReplicaError::refused(format!("byte {offset} of {name} came where byte {} belongs", intake.taken())))
}

fn held_file(file: &dyn DiskFile, path: &Path, name: String, bytes: u64) -> Result<HeldFile, ReplicaError> {
    let sum = tail_crc(file, bytes).map_err(|source| IoFailure::new("read", path, source))?;
    let shorter = || crate::error::Damage::new(path, bytes, "the file became shorter while it was read");
    let tail_crc = sum.ok_or_else(shorter).map_err(ReplicaError::Damaged)?;
    Ok(HeldFile { name, bytes, tail_crc })
}

impl<C: Codec> fmt::Debug for Replica<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("dir", &self.directory())
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}
