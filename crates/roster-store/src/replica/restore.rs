//! Restoring: the files of a copy become the log of a node.

use std::io;
use std::path::Path;

use roster_core::{Position, Timestamp};

use super::checkpoint::Checkpoint;
use super::open::{check_whole, whole_bytes};
use super::{ReplicaError, RestoreError};
use crate::codec::Codec;
use crate::disk::{Disk, read_full_at, write_all_at};
use crate::error::{Damage, IoFailure};
use crate::file_name::LOCK;
use crate::limits::READ_BYTES;
use crate::local::lock_directories;
use crate::manifest::Manifest;
use crate::settings::Directories;

/// A log that was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The last position in it.
    pub position: Position,
    /// The last time at which the backup had all that its source had; zero when it never had.
    pub at: Timestamp,
    pub files: usize,
    pub bytes: u64,
}

/// Copies a backup into empty directories, as the log of a node. All of it is read back and checked before it
/// gets a manifest: without one no node starts from it.
///
/// # Errors
/// [`RestoreError`]. The backup is never changed; files may be left in the target.
pub fn restore<C: Codec>(disk: &dyn Disk, from: &Path, to: &Directories) -> Result<Restored, RestoreError> {
    let no_backup = || RestoreError::NoBackup { dir: from.to_owned() };
    let checkpoint = Checkpoint::read(disk, from)?.ok_or_else(no_backup)?;
    let _lock = match disk.lock(&from.join(LOCK)) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(ReplicaError::Locked { dir: from.to_owned() }.into());
        }
        // Where nobody may write, no backup is at work.
        Err(error) if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) => {
            None
        }
        Err(source) => return Err(IoFailure::new("lock", from, source).into()),
    };
    let source = Directories::new(from.to_owned(), None);
    let manifest = Manifest::read::<C>(disk, &source).map_err(ReplicaError::of_held)?;
    let manifest = manifest.ok_or_else(|| RestoreError::NothingYet { dir: from.to_owned() })?;
    for (_, dir) in to.sides() {
        refuse_files(disk, dir)?;
    }
    let _locks = lock_directories(disk, to).map_err(|error| ReplicaError::of_open(error, to.data()))?;

    let mut bytes = 0;
    let files = files(disk, from, &manifest, &checkpoint)?;
    for (name, length) in &files {
        copy(disk, &from.join(name), &to.data().join(name), *length)?;
        bytes += length;
    }
    disk.sync_dir(to.data()).map_err(|source| IoFailure::new("sync", to.data(), source))?;
    let (next, _) = check_whole::<C>(disk, to, &manifest)?;
    if next <= checkpoint.position {
        let what = format!("it reaches up to before {next}, the backup had reached {}", checkpoint.position);
        return Err(ReplicaError::Damaged(Damage::new(from, 0, what)).into());
    }
    manifest.replace::<C>(disk, to).map_err(ReplicaError::from)?;
    Ok(Restored { position: Position::new(next.get() - 1), at: checkpoint.at, files: files.len(), bytes })
}

fn refuse_files(disk: &dyn Disk, dir: &Path) -> Result<(), RestoreError> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(IoFailure::new("list", dir, source).into()),
    };
    match names.iter().find(|name| *name != LOCK) {
        Some(name) => Err(RestoreError::NotEmpty { found: dir.join(name) }),
        None => Ok(()),
    }
}

/// What the manifest names, and how much of each counts.
fn files(
    disk: &dyn Disk,
    from: &Path,
    manifest: &Manifest,
    checkpoint: &Checkpoint,
) -> Result<Vec<(String, u64)>, RestoreError> {
    let size = |name: &str| -> Result<u64, RestoreError> {
        let path = from.join(name);
        match disk.open_to_read(&path).and_then(|file| file.size()) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let damage = Damage::new(&path, 0, "the manifest names it, but it is missing");
                Err(ReplicaError::Damaged(damage).into())
            }
            Err(source) => Err(IoFailure::new("read the length of", &path, source).into()),
        }
    };
    let mut files = Vec::new();
    if let Some(snapshot) = &manifest.snapshot {
        let name = snapshot.snapshot_name().to_string();
        let bytes = size(&name)?;
        files.push((name, bytes));
    }
    for (index, segment) in manifest.segments.iter().enumerate() {
        let name = segment.segment_name().to_string();
        let is_last = index + 1 == manifest.segments.len();
        let bytes = if is_last { whole_bytes(disk, from, manifest, segment, checkpoint)? } else { size(&name)? };
        files.push((name, bytes));
    }
    Ok(files)
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path, length: u64) -> Result<(), IoFailure> {
    let source = disk.open_to_read(from).map_err(|error| IoFailure::new("open", from, error))?;
    let target = disk.create(to).map_err(|error| IoFailure::new("create", to, error))?;
    let mut chunk = vec![0; READ_BYTES];
    let mut copied = 0;
    while copied < length {
        let wanted = (length - copied).min(READ_BYTES as u64) as usize;
        let read = read_full_at(&*source, copied, &mut chunk[..wanted])
            .map_err(|error| IoFailure::new("read", from, error))?;
        if read == 0 {
            break;
        }
        write_all_at(&*target, copied, &chunk[..read]).map_err(|error| IoFailure::new("write", to, error))?;
        copied += read as u64;
    }
    target.sync().map_err(|error| IoFailure::new("sync", to, error))
}
