//! Reading a log for people, while it is in use or not.

use std::sync::Arc;

use roster_core::Position;

use crate::codec::Codec;
use crate::disk::Disk;
use crate::error::{Damage, ReadError};
use crate::file_name::MANIFEST;
use crate::local::{TailIter, segment_ranges};
use crate::manifest::Manifest;
use crate::ordered::{Batches, SnapshotInfo};
use crate::settings::Directories;
use crate::snapshot::read_snapshot;

/// The batches from a position on, or from the oldest that the history still has, to the end.
///
/// # Errors
/// [`ReadError`] when there is no log, or its manifest cannot be read.
pub fn inspect<C: Codec>(
    disk: &Arc<dyn Disk>,
    directories: &Directories,
    from: Position,
) -> Result<Batches<C>, ReadError> {
    let manifest = manifest::<C>(&**disk, directories)?;
    let ranges = segment_ranges(&**disk, directories, &manifest);
    Ok(Box::new(TailIter::<C>::new(Arc::clone(disk), manifest.log, ranges, from, None)))
}

/// The items of the snapshot in force, one by one; `None` when there is no snapshot yet.
///
/// # Errors
/// [`ReadError`] when there is no log, or the manifest or the snapshot cannot be read.
pub fn inspect_snapshot<C: Codec>(
    disk: &dyn Disk,
    directories: &Directories,
    mut take: impl FnMut(C::Item),
) -> Result<Option<SnapshotInfo>, ReadError> {
    let manifest = manifest::<C>(disk, directories)?;
    let Some(snapshot) = manifest.snapshot else { return Ok(None) };
    let name = snapshot.snapshot_name().to_string();
    let Some(path) = Manifest::path(directories, snapshot.side, &name) else {
        let what = format!("it names {name} in the switch directory; say which directory that is");
        return Err(Damage::new(&directories.data().join(MANIFEST), 0, what).into());
    };
    let read = read_snapshot::<C>(disk, &path, |_, item| {
        take(item);
        Ok(())
    })?;
    let (generation, position) = (read.header.generation, read.header.position);
    Ok(Some(SnapshotInfo { generation, position, items: read.items, bytes: read.bytes }))
}

fn manifest<C: Codec>(disk: &dyn Disk, directories: &Directories) -> Result<Manifest, ReadError> {
    let missing = || Damage::new(&directories.data().join(MANIFEST), 0, "there is no manifest").into();
    Manifest::read::<C>(disk, directories)?.ok_or_else(missing)
}
