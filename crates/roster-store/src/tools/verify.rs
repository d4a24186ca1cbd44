//! Verify: reads every byte, changes nothing, takes no lock.

use std::path::PathBuf;

use roster_core::Position;

use super::scan::{Content, Scan, SegmentScan, scan};
use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, ReadError};
use crate::file_name::{MANIFEST, is_aside};
use crate::manifest::Manifest;
use crate::settings::{Directories, Side};

/// What a file is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    Manifest,
    /// The snapshot in force.
    Snapshot,
    /// A live segment.
    Segment,
    /// Superseded or put aside, and kept for a while.
    History,
    /// A file of a log that the manifest does not name.
    Unnamed,
}

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    pub path: PathBuf,
    pub role: FileRole,
    pub bytes: u64,
    /// Of a segment its whole batches, of a snapshot its items.
    pub entries: u64,
    /// Of a segment, when it has any; of a snapshot 1 and the last one that it includes.
    pub positions: Option<(Position, Position)>,
}

/// What reading all of a log has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    pub files: Vec<FileReport>,
    /// Everything that keeps the log from starting, or makes a part of its history unreadable.
    pub problems: Vec<Damage>,
    /// A last write that was not finished: the next start cuts it off. In a log in use, a write under way.
    pub torn: Option<Damage>,
    /// Where the next command will stand, as far as the log can be read.
    pub next_position: Position,
}

impl VerifyReport {
    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Reads every file of a log and says what is wrong with it. A log that is in use may change meanwhile;
/// what is then reported should be looked at again.
///
/// # Errors
/// [`ReadError`] when a file cannot be read at all, or is of another format version or content.
pub fn verify<C: Codec>(disk: &dyn Disk, directories: &Directories) -> Result<VerifyReport, ReadError> {
    let mut problems = Vec::new();
    let manifest_path = directories.data().join(MANIFEST);
    let manifest = match Manifest::read::<C>(disk, directories) {
        Ok(manifest) => manifest,
        Err(ReadError::Damaged(damage)) => {
            problems.push(damage);
            None
        }
        Err(error) => return Err(error),
    };
    let scans = scan::<C>(disk, directories, manifest.as_ref().map(|manifest| manifest.log))?;
    let of_a_log = |scan: &&Scan| !matches!(scan.content, Content::Other) || is_aside(&scan.name);
    if manifest.is_none() && problems.is_empty() && scans.iter().any(|scan| of_a_log(&scan)) {
        problems.push(Damage::new(&manifest_path, 0, "there is no manifest, but there are files of a log"));
    }
    let mut report = VerifyReport { files: Vec::new(), problems, torn: None, next_position: Position::new(1) };
    for scan in &scans {
        let role = role_of(manifest.as_ref(), scan);
        if role.is_some() {
            report.files.push(file_report(scan, role.unwrap_or(FileRole::Unnamed)));
        }
        if matches!(role, Some(FileRole::History | FileRole::Unnamed)) {
            report.problems.extend(problem_of(scan));
        }
    }
    if let Some(manifest) = &manifest {
        verify_live(directories, manifest, &scans, &mut report);
        verify_unnamed(manifest, &scans, &mut report);
    }
    Ok(report)
}

fn role_of(manifest: Option<&Manifest>, scan: &Scan) -> Option<FileRole> {
    if scan.side == Side::Data && scan.name == MANIFEST {
        return Some(FileRole::Manifest);
    }
    let of_a_log = !matches!(scan.content, Content::Other) || is_aside(&scan.name);
    let Some(manifest) = manifest else { return of_a_log.then_some(FileRole::Unnamed) };
    if !manifest.names(scan.side, &scan.name) {
        return of_a_log.then_some(FileRole::Unnamed);
    }
    if manifest.history.iter().any(|file| file.side == scan.side && file.name == scan.name) {
        return Some(FileRole::History);
    }
    Some(if matches!(scan.content, Content::Snapshot(_)) { FileRole::Snapshot } else { FileRole::Segment })
}

fn file_report(scan: &Scan, role: FileRole) -> FileReport {
    let (entries, positions) = match &scan.content {
        Content::Segment(segment) => {
            let last = Position::new(segment.end.get() - 1);
            (segment.frames, (segment.frames > 0).then_some((segment.first, last)))
        }
        Content::Snapshot(snapshot) => (snapshot.items, Some((Position::new(1), snapshot.position))),
        Content::Other => (0, None),
    };
    FileReport { path: scan.path.clone(), role, bytes: scan.bytes, entries, positions }
}

fn problem_of(scan: &Scan) -> Option<Damage> {
    match &scan.content {
        Content::Segment(SegmentScan { stop: Some(stop), .. }) => Some(stop.damage.clone()),
        Content::Snapshot(snapshot) => snapshot.whole.as_ref().err().cloned(),
        Content::Segment(_) | Content::Other => None,
    }
}

/// The snapshot and the segments that the manifest names, and whether they follow each other.
fn verify_live(directories: &Directories, manifest: &Manifest, scans: &[Scan], report: &mut VerifyReport) {
    let find = |side: Side, name: &str| scans.iter().find(|scan| scan.side == side && scan.name == name);
    let missing = |side: Side, name: &str| {
        let path = Manifest::path(directories, side, name).unwrap_or_else(|| PathBuf::from(name));
        let what = match directories.path(side) {
            Some(_) => "the manifest names it, but it is missing",
            None => "the manifest names it in the switch directory; say which directory that is",
        };
        Damage::new(&path, 0, what)
    };
    if let Some(live) = &manifest.snapshot {
        let name = live.snapshot_name().to_string();
        report.next_position = live.position.next();
        match find(live.side, &name).map(|scan| &scan.content) {
            Some(Content::Snapshot(snapshot)) => report.problems.extend(snapshot.whole.as_ref().err().cloned()),
            Some(Content::Segment(_) | Content::Other) | None => report.problems.push(missing(live.side, &name)),
        }
    }
    for (index, live) in manifest.segments.iter().enumerate() {
        let name = live.segment_name().to_string();
        let Some((scan, Content::Segment(segment))) = find(live.side, &name).map(|scan| (scan, &scan.content)) else {
            report.problems.push(missing(live.side, &name));
            continue;
        };
        let is_last = index + 1 == manifest.segments.len();
        match &segment.stop {
            Some(stop) if stop.is_torn && is_last => report.torn = Some(stop.damage.clone()),
            Some(stop) => report.problems.push(stop.damage.clone()),
            None => {}
        }
        if segment.header.is_some_and(|header| header.log != manifest.log) {
            report.problems.push(Damage::new(&scan.path, 16, "it belongs to another log"));
        }
        if segment.first != report.next_position {
            let what = format!("it begins at position {} where {} belongs", segment.first, report.next_position);
            report.problems.push(Damage::new(&scan.path, 32, what));
        }
        report.next_position = segment.end;
    }
}

/// Segments that hold what the log ought to have.
fn verify_unnamed(manifest: &Manifest, scans: &[Scan], report: &mut VerifyReport) {
    let covered = manifest.snapshot.map(|snapshot| snapshot.position).unwrap_or_default();
    for scan in scans.iter().filter(|scan| !manifest.names(scan.side, &scan.name)) {
        if let Content::Segment(segment) = &scan.content {
            let last = Position::new(segment.end.get() - 1);
            if segment.frames > 0 && last > covered {
                let what = format!("it holds positions {} to {last}, but the manifest does not name it", segment.first);
                report.problems.push(Damage::new(&scan.path, segment.good_bytes, what));
            }
        }
    }
}
