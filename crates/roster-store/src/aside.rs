//! Putting a piece of a file aside, so that nothing is ever cut away without a copy.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, read_full_at, write_all_at};
use crate::error::IoFailure;
use crate::limits::READ_BYTES;

/// Copies the bytes of `file` from `offset` to its end into a new file beside it, durably, and says
/// which. The name is that of the file, the offset, and `extension`.
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
        loop {
            let read = read_full_at(file, offset + copied, &mut piece)
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
