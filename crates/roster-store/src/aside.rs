//! Putting a piece of a file aside, so that nothing is ever cut away without a copy.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, read_full_at, write_all_at};
use crate::error::IoFailure;
use crate::frame::SECTOR_BYTES;
use crate::limits::READ_BYTES;

/// Copies the bytes of `file` from `offset` to its end into a new file beside it, durably, and says
/// which. Sectors of zeros at its end are room and are left out. The name is that of the file, the offset, and
/// `extension`.
pub(crate) fn copy_aside(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    offset: u64,
    extension: &str,
) -> Result<(PathBuf, u64), IoFailure> {
    let target = free_name(disk, path, offset, extension)?;
    let copy = || {
        let copy = disk.create(&target).map_err(|source| IoFailure::new("create", &target, source))?;
        let mut piece = vec![0; READ_BYTES];
        let mut copied = 0;
        let end = content_end(file, offset).map_err(|source| IoFailure::new("read", path, source))?;
        while offset + copied < end {
            let wanted = (end - offset - copied).min(READ_BYTES as u64) as usize;
            let read = read_full_at(file, offset + copied, &mut piece[..wanted])
                .map_err(|source| IoFailure::new("read", path, source))?;
            if read == 0 {
                break;
            }
            write_all_at(&*copy, copied, &piece[..read]).map_err(|source| IoFailure::new("write", &target, source))?;
            copied += read as u64;
        }
        copy.sync().map_err(|source| IoFailure::new("sync", &target, source))?;
        sync_parent(disk, &target)?;
        Ok(copied)
    };
    match copy() {
        Ok(copied) => Ok((target, copied)),
        Err(failure) => {
            // Half a copy is of no use to anybody; if this fails too, it is history.
            let _ = disk.remove(&target);
            Err(failure)
        }
    }
}

/// Where the file ends without the sectors of zeros that are last.
fn content_end(file: &dyn DiskFile, from: u64) -> std::io::Result<u64> {
    let mut piece = vec![0; READ_BYTES];
    let (mut at, mut end) = (from, from);
    loop {
        let read = read_full_at(file, at, &mut piece)?;
        if let Some(last) = piece[..read].iter().rposition(|&byte| byte != 0) {
            end = (at + last as u64 + 1).next_multiple_of(SECTOR_BYTES);
        }
        at += read as u64;
        if read < piece.len() {
            return Ok(end.min(at));
        }
    }
}

/// Makes the name of a file durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), IoFailure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).map_err(|source| IoFailure::new("sync", dir, source))
}

/// A name beside `path` that no file has.
pub(crate) fn free_name(disk: &dyn Disk, path: &Path, offset: u64, extension: &str) -> Result<PathBuf, IoFailure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let taken = disk.list(dir).map_err(|source| IoFailure::new("list", dir, source))?;
    let stem = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let first = format!("{stem}.{offset}.{extension}");
    let others = (2..).map(|number: u64| format!("{stem}.{offset}-{number}.{extension}"));
    let free = std::iter::once(first.clone()).chain(others).find(|name| !taken.contains(name));
    Ok(dir.join(free.unwrap_or(first)))
}
