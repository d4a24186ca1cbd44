//! What a repair makes the log: the start and the segments after it that reach furthest.

use roster_core::Position;

use super::scan::{Content, Scan, SegmentScan, SnapshotScan};
use crate::file_header::FileHeader;
use crate::file_name::FileName;
use crate::manifest::Manifest;

/// A log that can be made of the files that are there.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) snapshot: Option<(&'a Scan, &'a SnapshotScan)>,
    pub(super) segments: Vec<(&'a Scan, &'a SegmentScan)>,
    /// The position after its last command.
    pub(super) next: Position,
}

/// The best log for this id: the one that reaches furthest, and of those the one with the newest snapshot.
pub(super) fn best_plan<'a>(scans: &'a [Scan], log: u64) -> Plan<'a> {
    let belongs = |header: &FileHeader| header.log == log;
    let segments: Vec<_> = scans
        .iter()
        .filter_map(|scan| match &scan.content {
            Content::Segment(segment) if segment.header.as_ref().is_some_and(belongs) => Some((scan, segment)),
            Content::Segment(_) | Content::Snapshot(_) | Content::Other => None,
        })
        .collect();
    let mut starts: Vec<_> = scans
        .iter()
        .filter_map(|scan| match &scan.content {
            Content::Snapshot(snapshot) if snapshot.whole.as_ref().is_ok_and(belongs) => Some(Some((scan, snapshot))),
            Content::Snapshot(_) | Content::Segment(_) | Content::Other => None,
        })
        .chain([None])
        .collect();
    starts.sort_by_key(|start| start.map_or(0, |(_, snapshot)| snapshot.generation));
    let plans = starts.into_iter().map(|start| follow(start, &segments));
    // Of equals `max_by_key` takes the last, which is the newest.
    plans.max_by_key(|plan| plan.next).unwrap_or(Plan { snapshot: None, segments: Vec::new(), next: Position::new(1) })
}

/// The log as the manifest has it, if all of it is there and whole up to its end.
pub(super) fn manifest_plan<'a>(scans: &'a [Scan], manifest: &Manifest) -> Option<Plan<'a>> {
    let find = |side, name: FileName| {
        scans.iter().find(|scan| scan.side == side && scan.name == name.to_string()).map(|scan| (scan, &scan.content))
    };
    let mut plan = Plan { snapshot: None, segments: Vec::new(), next: Position::new(1) };
    if let Some(live) = &manifest.snapshot {
        let Some((scan, Content::Snapshot(snapshot))) = find(live.side, live.snapshot_name()) else { return None };
        snapshot.whole.as_ref().ok().filter(|header| header.log == manifest.log)?;
        plan.snapshot = Some((scan, snapshot));
        plan.next = live.position.next();
    }
    for (index, live) in manifest.segments.iter().enumerate() {
        let Some((scan, Content::Segment(segment))) = find(live.side, live.segment_name()) else { return None };
        segment.header.filter(|header| header.log == manifest.log && segment.first == plan.next)?;
        let is_last = index + 1 == manifest.segments.len();
        if segment.stop.as_ref().is_some_and(|stop| !(stop.is_torn && is_last)) {
            return None;
        }
        plan.segments.push((scan, segment));
        plan.next = segment.end;
    }
    Some(plan)
}

/// From a start on, always the segment that goes on where the last one ended, until one is not whole.
fn follow<'a>(snapshot: Option<(&'a Scan, &'a SnapshotScan)>, segments: &[(&'a Scan, &'a SegmentScan)]) -> Plan<'a> {
    let mut next = snapshot.map_or(Position::new(1), |(_, snapshot)| snapshot.position.next());
    let mut last_at = snapshot.and_then(|(_, snapshot)| snapshot.whole.as_ref().ok()).map(|header| header.at);
    let mut chain: Vec<(&Scan, &SegmentScan)> = Vec::new();
    loop {
        let unused = |candidate: &SegmentScan| {
            !chain.iter().any(|(_, used)| (used.first, used.generation) == (candidate.first, candidate.generation))
        };
        let fits = |candidate: &&(&Scan, &SegmentScan)| candidate.1.first == next && unused(candidate.1);
        let longest = segments.iter().filter(fits).max_by_key(|(_, segment)| (segment.end, segment.generation));
        let Some(&(scan, segment)) = longest else { break };
        if segment.frames > 0 && Some(segment.last_at) < last_at {
            break;
        }
        chain.push((scan, segment));
        next = segment.end;
        last_at = last_at.max(Some(segment.last_at));
        if segment.stop.is_some() {
            break;
        }
    }
    Plan { snapshot, segments: chain, next }
}

/// The last position that shows anywhere.
pub(super) fn last_seen(scans: &[Scan], log: u64) -> Position {
    let of_scan = |scan: &Scan| match &scan.content {
        Content::Segment(segment) if segment.header.is_none_or(|header| header.log == log) => {
            Position::new(segment.end.get() - 1).max(segment.beyond.unwrap_or_default())
        }
        Content::Snapshot(snapshot) => snapshot.position,
        Content::Segment(_) | Content::Other => Position::default(),
    };
    scans.iter().map(of_scan).max().unwrap_or_default()
}
