//! The next generation of a copy: which files the source has, and the snapshot while it comes.
//!
//! A snapshot is written under a name that no log looks at. When its trailer has come, it gets its own name
//! and the manifest that names it, and what it supersedes is removed.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use roster_core::{Position, Timestamp};

use super::intake::Intake;
use super::{Replica, ReplicaError, held_file, in_order};
use crate::aside::sync_parent;
use crate::codec::Codec;
use crate::disk::{Disk, DiskFile, read_full_at, write_all_at};
use crate::error::{IoFailure, ReadError};
use crate::feed::{FileSet, HeldFile};
use crate::file_name::FileName;
use crate::limits::READ_BYTES;
use crate::manifest::{LiveFile, Manifest};
use crate::settings::Side;

const PART: &str = ".part";

/// The files of the source.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) log: u64,
    pub(super) last_generation: u64,
    pub(super) snapshot: Option<LiveFile>,
    pub(super) segments: Vec<LiveFile>,
}

impl Target {
    /// Names come from outside: whatever is not the name of such a file in its place is refused.
    pub(super) fn parse(set: &FileSet) -> Result<Self, ReplicaError> {
        let refused = |name: &str| ReplicaError::refused(format!("{name:?} is not the name of a file in its place"));
        let snapshot = match &set.snapshot {
            Some(name) => Some(match FileName::parse(name) {
                Some(FileName::Snapshot { generation, position }) => live(generation, position),
                Some(FileName::Segment { .. }) | None => return Err(refused(name)),
            }),
            None => None,
        };
        let mut segments: Vec<LiveFile> = Vec::new();
        for name in &set.segments {
            let file = match FileName::parse(name) {
                Some(FileName::Segment { generation, first }) => live(generation, first),
                Some(FileName::Snapshot { .. }) | None => return Err(refused(name)),
            };
            let first = snapshot.map_or(Position::new(1), |snapshot| snapshot.position.next());
            let follows = match segments.last() {
                Some(last) => file.position > last.position,
                None => file.position == first,
            };
            if !follows {
                return Err(refused(name));
            }
            segments.push(file);
        }
        Ok(Self { log: set.log, last_generation: set.last_generation, snapshot, segments })
    }
}

fn live(generation: u64, position: Position) -> LiveFile {
    LiveFile { side: Side::Data, generation, position }
}

/// A snapshot that is not complete.
pub(super) struct Incoming {
    live: LiveFile,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    intake: Intake,
}

impl Incoming {
    fn begin(disk: &dyn Disk, dir: &Path, live: LiveFile) -> Result<Self, ReplicaError> {
        let path = dir.join(format!("{}{PART}", live.snapshot_name()));
        let file = disk.create(&path).map_err(|source| IoFailure::new("create", &path, source))?;
        let intake = Intake::new(live.snapshot_name(), path.clone(), Timestamp::default());
        Ok(Self { live, path, file, intake })
    }

    /// Goes on with what an earlier process has left, if that is of any use.
    pub(super) fn resume<C: Codec>(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Option<Self>, ReplicaError> {
        let Some(FileName::Snapshot { generation, position }) = name.strip_suffix(PART).and_then(FileName::parse)
        else {
            return Ok(None);
        };
        let live = live(generation, position);
        let path = dir.join(name);
        let file = disk.open(&path).map_err(|source| IoFailure::new("open", &path, source))?;
        let mut intake = Intake::new(live.snapshot_name(), path.clone(), Timestamp::default());
        let mut chunk = vec![0; READ_BYTES];
        loop {
            let read = read_full_at(&*file, intake.taken(), &mut chunk)
                .map_err(|source| IoFailure::new("read", &path, source))?;
            if read == 0 {
                break;
            }
            match intake.take::<C>(&chunk[..read]) {
                Ok(_) => {}
                // An unfinished write; what stands before it is good.
                Err(ReadError::Damaged(_)) => break,
                Err(error) => return Err(ReplicaError::of_held(error)),
            }
        }
        intake.forget_waiting();
        if intake.header().is_none() || intake.is_complete() {
            return Ok(None);
        }
        file.truncate(intake.passed()).map_err(|source| IoFailure::new("cut", &path, source))?;
        Ok(Some(Self { live, path, file, intake }))
    }

    pub(super) fn is_part(name: &str) -> bool {
        name.ends_with(PART)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_of(&self, target: &Target) -> bool {
        let is_same_log = self.intake.header().is_none_or(|header| header.log == target.log);
        is_same_log && target.snapshot == Some(self.live)
    }

    pub(super) fn held(&mut self) -> Result<Option<HeldFile>, ReplicaError> {
        self.intake.forget_waiting();
        let bytes = self.intake.passed();
        if bytes == 0 {
            return Ok(None);
        }
        held_file(&*self.file, &self.path, self.live.snapshot_name().to_string(), bytes).map(Some)
    }
}

impl<C: Codec> Replica<C> {
    pub(super) fn take_snapshot(&mut self, live: LiveFile, offset: u64, bytes: &Bytes) -> Result<(), ReplicaError> {
        let mut incoming = match self.incoming.take() {
            Some(incoming) => incoming,
            None => Incoming::begin(&*self.disk, self.directories.data(), live)?,
        };
        let taken = take_into::<C>(&mut incoming, offset, bytes);
        let is_of_target = self.target.as_ref().is_some_and(|target| incoming.is_of(target));
        if taken.is_ok() && is_of_target && incoming.intake.is_complete() {
            return self.switch(&incoming);
        }
        self.incoming = Some(incoming);
        if !is_of_target {
            self.discard_incoming()?;
            return Err(ReplicaError::refused(format!("{} is of another log", live.snapshot_name())));
        }
        taken
    }

    /// Puts the complete snapshot in force, with those of the segments after it that are there.
    fn switch(&mut self, incoming: &Incoming) -> Result<(), ReplicaError> {
        let Some(target) = self.target.clone() else { return Ok(()) };
        let name = incoming.live.snapshot_name().to_string();
        let held = self.manifest.as_ref().map(|manifest| &manifest.segments[..]).unwrap_or_default();
        let kept: Vec<LiveFile> = target.segments.iter().copied().take_while(|file| held.contains(file)).collect();
        let goes_on = !kept.is_empty();
        if goes_on && kept.last() != held.last() {
            return Err(self.diverged(&name, "the source does not have the last segment of the copy"));
        }
        let reached = if goes_on { self.reached } else { incoming.live.position };
        if reached < self.reached {
            let why = format!("it reaches up to position {reached}, the copy up to {}", self.reached);
            return Err(self.diverged(&name, why)); // Y5
        }
        let path = self.directories.data().join(&name);
        incoming.file.sync().map_err(|source| IoFailure::new("sync", &incoming.path, source))?;
        self.disk.rename(&incoming.path, &path).map_err(|source| IoFailure::new("rename to", &path, source))?;
        sync_parent(&*self.disk, &path)?;
        let mut manifest = Manifest::new(target.log);
        manifest.last_generation = target.last_generation;
        manifest.snapshot = Some(incoming.live);
        manifest.segments = kept;
        self.put_in_force(manifest)?;
        if !goes_on {
            self.tail = None;
            self.reached = reached;
            self.last_at = incoming.intake.header().map_or(self.last_at, |header| header.at);
        }
        self.sync(None)?;
        self.remove_unnamed()
    }

    /// Removes files of a log that the manifest does not name: superseded, or never put in force.
    pub(super) fn remove_unnamed(&self) -> Result<(), ReplicaError> {
        let dir = self.directories.data();
        let names = self.disk.list(dir).map_err(|source| IoFailure::new("list", dir, source))?;
        for name in names.iter().filter(|name| FileName::parse(name).is_some()) {
            if !self.manifest.as_ref().is_some_and(|manifest| manifest.names(Side::Data, name)) {
                let path = dir.join(name);
                self.disk.remove(&path).map_err(|source| IoFailure::new("remove", &path, source))?;
            }
        }
        Ok(self.disk.sync_dir(dir).map_err(|source| IoFailure::new("sync", dir, source))?)
    }

    pub(super) fn discard_incoming(&mut self) -> Result<(), ReplicaError> {
        if let Some(incoming) = self.incoming.take() {
            let path = incoming.path();
            self.disk.remove(path).map_err(|source| IoFailure::new("remove", path, source))?;
        }
        Ok(())
    }

    /// What is not complete can be fetched anew; what is, is what somebody wanted to keep.
    pub(super) fn take_diverged(&mut self, file: &str, why: String) -> Result<(), ReplicaError> {
        let is_incoming =
            self.incoming.as_ref().is_some_and(|incoming| incoming.live.snapshot_name().to_string() == file);
        if !is_incoming {
            return Err(self.diverged(file, why));
        }
        self.discard_incoming()?;
        Err(ReplicaError::refused(format!("{file} is fetched from its begin: {why}")))
    }
}

fn take_into<C: Codec>(incoming: &mut Incoming, offset: u64, bytes: &Bytes) -> Result<(), ReplicaError> {
    in_order(&incoming.intake, &incoming.live.snapshot_name(), offset)?;
    let at = incoming.intake.passed();
    let whole = incoming.intake.take::<C>(bytes).map_err(ReplicaError::of_incoming)?;
    write_all_at(&*incoming.file, at, &whole).map_err(|source| IoFailure::new("write", &incoming.path, source))?;
    Ok(())
}
