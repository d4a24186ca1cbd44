//! Repair: makes a log that opens out of one that does not, and says what is lost.
//!
//! Nothing is deleted. What cannot be part of the log is cut off or renamed, and kept as history. A crash
//! on the way leaves a log that opens, or that can be repaired again to the same end.

use std::fmt;
use std::path::{Path, PathBuf};

use roster_core::{Position, Timestamp};

use super::plan::{Plan, best_plan, last_seen, manifest_plan};
use super::scan::{Content, Scan, scan};
use crate::aside::{copy_aside, free_name, sync_parent};
use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{IoFailure, OpenError, ReadError};
use crate::file_name::MANIFEST;
use crate::local::lock_directories;
use crate::manifest::{LiveFile, Manifest, PastFile, ReplaceError};
use crate::settings::{Directories, Side};

/// Whether to change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairMode {
    /// Only say what would be done.
    DryRun,
    Apply,
}

/// What a repair does, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    pub mode: RepairMode,
    /// Empty: there is nothing to repair.
    pub actions: Vec<RepairAction>,
    /// Where the next command will stand.
    pub next_position: Position,
    pub lost: Option<Lost>,
}

/// Positions that the log had and the repaired one has not. They are given out anew, so a resource that
/// checks fencing tokens must be told when a token is among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub first: Position,
    /// The last one that shows; damaged bytes at the end of the log may have held more.
    pub last: Position,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairAction {
    /// Cuts the file at `offset`; what was there is kept in a file beside it.
    Cut { file: PathBuf, offset: u64, why: String },
    /// Renames the file, so that it is no longer a part of the log.
    MoveAside { file: PathBuf, why: String },
    /// Writes a manifest that names these.
    WriteManifest { snapshot: Option<PathBuf>, segments: Vec<PathBuf> },
}

impl fmt::Display for RepairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { file, offset, why } => write!(f, "cut {} at byte {offset}: {why}", file.display()),
            Self::MoveAside { file, why } => write!(f, "move {} aside: {why}", file.display()),
            Self::WriteManifest { snapshot, segments } => {
                let start = snapshot.as_ref().map_or("no snapshot".into(), |path| path.display().to_string());
                write!(f, "write a manifest of {start} and {} segments", segments.len())
            }
        }
    }
}

/// Why a log is not repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("{dir} is in use; stop the node first", dir = dir.display())]
    Locked { dir: PathBuf },
    #[error("no file in {dir} shows which log it is part of; there is nothing to repair it from", dir = dir.display())]
    NothingReadable { dir: PathBuf },
    #[error("the files are parts of several logs ({first:016x} and {second:016x}); move those of one away")]
    SeveralLogs { first: u64, second: u64 },
    #[error("the log has live files in a second directory; say which (--switch-dir)")]
    NoSwitchDirectory,
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Io(#[from] IoFailure),
}

impl From<ReadError> for RepairError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<OpenError> for RepairError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked { dir } => Self::Locked { dir },
            OpenError::Io(failure) => Self::Io(failure),
            OpenError::NoSwitchDirectory { .. } => Self::NoSwitchDirectory,
            OpenError::Version { file, found, readable } => Self::Read(ReadError::Version { file, found, readable }),
            OpenError::OtherContent { file, found, expected } => {
                Self::Read(ReadError::OtherContent { file, found, expected })
            }
            OpenError::Damaged { damage, .. } => Self::Read(damage.into()),
            OpenError::NoManifest { data_dir: dir, .. }
            | OpenError::HoldsLog { dir }
            | OpenError::Rejected { file: dir, .. } => Self::NothingReadable { dir },
        }
    }
}

/// Repairs a log, or says what that would do. After it the log opens with everything before the damage,
/// or with everything, when an older snapshot and the history make up for it.
///
/// # Errors
/// [`RepairError`] when the log is in use, or no part of it can be read.
pub fn repair<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    mode: RepairMode,
    now: Timestamp,
) -> Result<RepairReport, RepairError> {
    let _locks = lock_directories(disk, directories)?;
    let old = match Manifest::read::<C>(disk, directories) {
        Ok(manifest) => manifest,
        Err(ReadError::Damaged(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(old) = &old
        && directories.switch().is_none()
        && (old.side() == Side::Switch || old.segments.iter().any(|segment| segment.side == Side::Switch))
    {
        return Err(RepairError::NoSwitchDirectory);
    }
    let log = match &old {
        Some(old) => old.log,
        None => log_of(&scan::<C>(disk, directories, None)?, directories)?,
    };
    let scans = scan::<C>(disk, directories, Some(log))?;
    let best = best_plan(&scans, log);
    let plan = match old.as_ref().and_then(|old| manifest_plan(&scans, old)) {
        Some(plan) if plan.next >= best.next => plan,
        Some(_) | None => best,
    };
    let actions = actions(&scans, &plan, old.as_ref(), log, directories);
    let first_lost = plan.next;
    let last = last_seen(&scans, log);
    let lost = (last >= first_lost && !actions.is_empty()).then_some(Lost { first: first_lost, last });
    if mode == RepairMode::Apply && !actions.is_empty() {
        let new = new_manifest(&scans, &plan, old, log, &actions, now);
        apply::<C>(disk, directories, &actions, new, now)?;
    }
    Ok(RepairReport { mode, actions, next_position: plan.next, lost })
}

/// Which log it is, when there is no manifest to say so.
fn log_of(scans: &[Scan], directories: &Directories) -> Result<u64, RepairError> {
    let mut ids = scans.iter().filter_map(|scan| match &scan.content {
        Content::Segment(segment) => segment.header.map(|header| header.log),
        Content::Snapshot(snapshot) => snapshot.whole.as_ref().ok().map(|header| header.log),
        Content::Other => None,
    });
    let first = ids.next().ok_or_else(|| RepairError::NothingReadable { dir: directories.data().to_owned() })?;
    match ids.find(|id| *id != first) {
        Some(second) => Err(RepairError::SeveralLogs { first, second }),
        None => Ok(first),
    }
}

fn actions(
    scans: &[Scan],
    plan: &Plan<'_>,
    old: Option<&Manifest>,
    log: u64,
    directories: &Directories,
) -> Vec<RepairAction> {
    let mut actions = Vec::new();
    let is_chosen = |scan: &Scan| {
        plan.segments.iter().any(|(chosen, _)| chosen.path == scan.path)
            || plan.snapshot.is_some_and(|(chosen, _)| chosen.path == scan.path)
    };
    if let Some((scan, segment)) = plan.segments.last()
        && let Some(stop) = segment.stop.as_ref().filter(|stop| !stop.is_torn)
    {
        let why = stop.damage.what.clone();
        actions.push(RepairAction::Cut { file: scan.path.clone(), offset: segment.good_bytes, why });
    }
    let start = plan.snapshot.map_or(0, |(_, snapshot)| snapshot.generation);
    let covered = plan.snapshot.map(|(_, snapshot)| snapshot.position).unwrap_or_default();
    let leftover = |generation| old.is_some_and(|old| old.generation_in_force() == start) && generation > start;
    for scan in scans.iter().filter(|scan| !is_chosen(scan)) {
        let is_past =
            old.is_some_and(|old| old.history.iter().any(|past| (past.side, &past.name) == (scan.side, &scan.name)));
        let why = match &scan.content {
            Content::Segment(segment) => match (&segment.stop, segment.header) {
                _ if is_past && Position::new(segment.end.get() - 1) <= covered => None,
                (_, Some(header)) if header.log != log => Some("it belongs to another log".to_owned()),
                (Some(stop), _) => Some(stop.damage.what.clone()),
                // An empty one is what the next start removes.
                (None, _) if segment.frames == 0 && !old.is_some_and(|old| old.names(scan.side, &scan.name)) => None,
                (None, _) if segment.frames > 0 && Position::new(segment.end.get() - 1) <= covered => None,
                (None, _) => Some("the log does not reach up to it".to_owned()),
            },
            Content::Snapshot(snapshot) => match &snapshot.whole {
                _ if is_past => None,
                // Of a rebuild that never finished.
                _ if leftover(snapshot.generation) => None,
                Err(damage) => Some(damage.what.clone()),
                Ok(_) if snapshot.generation < start => None,
                Ok(_) => Some("another snapshot reaches further".to_owned()),
            },
            Content::Other => None,
        };
        actions.extend(why.map(|why| RepairAction::MoveAside { file: scan.path.clone(), why }));
    }
    let manifest_path = directories.data().join(MANIFEST);
    if old.is_none() && scans.iter().any(|scan| scan.path == manifest_path) {
        actions.push(RepairAction::MoveAside { file: manifest_path, why: "it cannot be read".into() });
    }
    let in_force = old.is_some_and(|old| {
        old.snapshot == plan.snapshot.map(|(scan, _)| live(scan))
            && old.segments.iter().copied().eq(plan.segments.iter().map(|(scan, _)| live(scan)))
    });
    if !in_force || !actions.is_empty() {
        actions.push(RepairAction::WriteManifest {
            snapshot: plan.snapshot.map(|(scan, _)| scan.path.clone()),
            segments: plan.segments.iter().map(|(scan, _)| scan.path.clone()).collect(),
        });
    }
    actions
}

fn live(scan: &Scan) -> LiveFile {
    let (generation, position) = match &scan.content {
        Content::Segment(segment) => (segment.generation, segment.first),
        Content::Snapshot(snapshot) => (snapshot.generation, snapshot.position),
        Content::Other => (0, Position::default()),
    };
    LiveFile { side: scan.side, generation, position }
}

fn new_manifest(
    scans: &[Scan],
    plan: &Plan<'_>,
    old: Option<Manifest>,
    log: u64,
    actions: &[RepairAction],
    now: Timestamp,
) -> Manifest {
    let seen = scans.iter().map(|scan| live(scan).generation).max().unwrap_or(0);
    let before = old.unwrap_or_else(|| Manifest::new(log));
    let mut new = Manifest::new(log);
    new.last_generation = before.last_generation.max(seen);
    new.snapshot = plan.snapshot.map(|(scan, _)| live(scan));
    new.segments = plan.segments.iter().map(|(scan, _)| live(scan)).collect();
    let mut history = before.history.clone();
    // What was live or unnamed and holds nothing newer than the snapshot.
    for scan in scans.iter().filter(|scan| !matches!(scan.content, Content::Other)) {
        if !before.history.iter().any(|past| (past.side, &past.name) == (scan.side, &scan.name)) {
            let (side, name) = (scan.side, scan.name.clone());
            history.push(PastFile { side, name, bytes: scan.bytes, superseded: now });
        }
    }
    let moved = |past: &PastFile| {
        scans.iter().any(|scan| {
            (scan.side, &scan.name) == (past.side, &past.name)
                && actions
                    .iter()
                    .any(|action| matches!(action, RepairAction::MoveAside { file, .. } if *file == scan.path))
        })
    };
    let in_use = |past: &PastFile| new.names(past.side, &past.name);
    history.retain(|past| !moved(past) && !in_use(past));
    new.history = history;
    new
}

fn apply<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    actions: &[RepairAction],
    mut new: Manifest,
    now: Timestamp,
) -> Result<(), RepairError> {
    let mut keep = |path: &Path, bytes: u64| {
        let side =
            directories.sides().find(|(_, dir)| path.parent() == Some(*dir)).map_or(Side::Data, |(side, _)| side);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        new.history.push(PastFile { side, name, bytes, superseded: now });
    };
    for action in actions {
        match action {
            RepairAction::Cut { file: path, offset, .. } => {
                let file = disk.open(path).map_err(|source| IoFailure::new("open", path, source))?;
                let (kept, bytes) = copy_aside(disk, &*file, path, *offset, "damaged")?; // L10
                file.truncate(*offset).map_err(|source| IoFailure::new("cut", path, source))?;
                file.sync().map_err(|source| IoFailure::new("sync", path, source))?;
                keep(&kept, bytes);
            }
            RepairAction::MoveAside { file: path, .. } => {
                let kept = free_name(disk, path, 0, "damaged")?;
                disk.rename(path, &kept).map_err(|source| IoFailure::new("rename", path, source))?;
                sync_parent(disk, &kept)?;
                let bytes = disk.open_to_read(&kept).and_then(|file| file.size()).unwrap_or(0);
                keep(&kept, bytes);
            }
            RepairAction::WriteManifest { .. } => {}
        }
    }
    new.replace::<C>(disk, directories).map_err(|error| match error {
        ReplaceError::NotReplaced(failure) | ReplaceError::Unknown(failure) => RepairError::Io(failure),
    })
}

impl Manifest {
    /// Of the snapshot in force, 0 without one.
    fn generation_in_force(&self) -> u64 {
        self.snapshot.map_or(0, |snapshot| snapshot.generation)
    }
}
