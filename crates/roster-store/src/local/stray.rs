//! Files in the directories that the manifest does not name: what may be removed, what is history, and
//! what must not be there.

use std::path::PathBuf;

use roster_core::Position;

use super::tail::{FileRange, open_segment};
use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, IoFailure, ReadError};
use crate::file_header::FILE_HEADER_BYTES;
use crate::file_name::{FileName, MANIFEST_ASIDE, ROOM_PROBE, is_aside};
use crate::frame_reader::NextFrame;
use crate::manifest::Manifest;
use crate::settings::{Directories, Side};

/// A file that the manifest does not name, and may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stray {
    /// Written by something that did not finish. Holds nothing.
    Leftover(PathBuf),
    /// Holds nothing that the snapshot does not include, or was put aside.
    Past { side: Side, name: String, path: PathBuf },
}

/// # Errors
/// Damage when a file holds commands that the log ought to have: then the manifest is not the newest.
pub(super) fn find_strays<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    manifest: &Manifest,
) -> Result<Vec<Stray>, ReadError> {
    let covered = manifest.snapshot.map(|snapshot| snapshot.position).unwrap_or_default();
    let mut strays = Vec::new();
    for (side, dir) in directories.sides() {
        let names = disk.list(dir).map_err(|source| IoFailure::new("list", dir, source))?;
        for name in names.into_iter().filter(|name| !manifest.names(side, name)) {
            let path = dir.join(&name);
            match FileName::parse(&name) {
                Some(FileName::Snapshot { generation, .. }) => {
                    let in_force = manifest.snapshot.map_or(0, |snapshot| snapshot.generation);
                    strays.push(if generation > in_force {
                        // Never in force: the log has all that it holds.
                        Stray::Leftover(path)
                    } else {
                        Stray::Past { side, name, path }
                    });
                }
                Some(FileName::Segment { first, .. }) => {
                    let range = FileRange { path, first, end: None };
                    strays.push(match last_position::<C>(disk, manifest.log, &range)? {
                        None => Stray::Leftover(range.path),
                        Some(last) if last <= covered => Stray::Past { side, name, path: range.path },
                        Some(last) => {
                            let what =
                                format!("it holds positions {first} to {last}, but the manifest does not name it");
                            return Err(Damage::new(&range.path, FILE_HEADER_BYTES as u64, what).into());
                        }
                    });
                }
                None if name == MANIFEST_ASIDE || name == ROOM_PROBE => strays.push(Stray::Leftover(path)),
                None if is_aside(&name) => strays.push(Stray::Past { side, name, path }),
                None => {}
            }
        }
    }
    Ok(strays)
}

/// The last position in a segment, `None` when nothing was ever appended to it.
fn last_position<C: Codec>(disk: &dyn Disk, log: u64, range: &FileRange) -> Result<Option<Position>, ReadError> {
    let path = &range.path;
    let file = disk.open_to_read(path).map_err(|source| IoFailure::new("open", path, source))?;
    let len = file.size().map_err(|source| IoFailure::new("read the length of", path, source))?;
    if len <= FILE_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut reader = open_segment::<C>(disk, range, log)?;
    let mut last = None;
    loop {
        match reader.next()? {
            NextFrame::Frame(frame) => {
                last = Some(frame.head.last());
            }
            NextFrame::End | NextFrame::Torn(_) => return Ok(last),
            NextFrame::Damaged { damage, .. } => return Err(damage.into()),
        }
    }
}
