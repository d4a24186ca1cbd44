//! What the log needs of a file system, and nothing more.
//!
//! Nothing here is durable by itself: bytes are after [`DiskFile::sync`], names (created, renamed,
//! removed) after [`Disk::sync_dir`] of their directory. Directories are the exception: they are
//! durable when [`Disk::create_dir_all`] returns.

mod faulty;
mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use faulty::{FaultyDisk, Operation, Survival};
pub use real::RealDisk;

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// A new empty file, open to read and write; one of that name is emptied.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file that exists, open to read and write.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file that exists, open to read.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames within one file system; a file of the new name is replaced atomically.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and what is missing above it, durably.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a directory for one holder by a lock file of this path, until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;

    /// Bytes that an ordinary user could still write to the file system of this directory, if that is known.
    ///
    /// # Errors
    /// As the system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>>;

    /// A number that hardly anybody else draws: the id of a new log.
    fn draw_id(&self) -> u64;
}

/// An open file. Reads and writes name their place, so that one handle can be shared.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at most `into.len()` bytes; fewer, and 0 at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes and says how many, at least one.
    ///
    /// # Errors
    /// `StorageFull` when the disk is full, else as the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn size(&self) -> io::Result<u64>;

    /// Makes its bytes and its length durable (fdatasync).
    ///
    /// # Errors
    /// As the system says; what was written since the last sync may then be lost, and a second sync proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// Holds a lock until it is dropped.
pub trait DiskLock: Send + Sync + Debug {}

/// Whether the disk, or the quota, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes all, however short the single writes are.
pub(crate) fn write_all_at(file: &dyn DiskFile, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = &bytes[written.min(bytes.len())..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills as much of `into` as the file has from `offset` on, and says how much.
pub(crate) fn read_full_at(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(offset + filled as u64, &mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
