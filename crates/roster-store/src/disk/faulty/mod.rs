//! A file system in memory that loses power, runs full and fails, as it is told and by seed.
//!
//! It models what a page cache may do at a power cut, and is stricter than most real file systems: of
//! what was not synced, any sector may be old or new or zeros, any length between may remain, and each
//! change of a name may be lost or kept on its own, whatever happened to the ones before.

mod model;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, DiskLock};
use model::Model;

/// What changes a disk; each one counts as one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    CreateDir,
    Create,
    Write,
    Sync,
    Truncate,
    Rename,
    Remove,
    SyncDir,
}

/// What of the unsynced is there after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Lost,
    /// Everything.
    Kept,
    /// Some of it, in sectors, by this seed.
    Torn(u64),
}

/// A file system in memory that fails as it is told. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    model: Arc<Mutex<Model>>,
}

impl FaultyDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Model::new(seed))
    }

    fn of(model: Model) -> Self {
        Self { model: Arc::new(Mutex::new(model)) }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        // A test that failed while it held the lock has said why already.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.model().operations
    }

    /// Loses power at this operation, counted from the first of all as 1: it may take effect in part,
    /// and every operation from it on fails.
    pub fn crash_at(&self, operation: u64) {
        self.model().crash_at = Some(operation);
    }

    /// Loses power now.
    pub fn crash(&self) {
        self.model().crashed = true;
    }

    /// Whether it has lost power.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.model().crashed
    }

    /// Fails the `nth` operation of this kind from now on, 1 being the next one, without any effect.
    pub fn fail(&self, kind: Operation, nth: u64, error: io::ErrorKind) {
        self.model().faults.push((kind, nth, error));
    }

    /// Fails this operation of whatever kind, counted from the first of all as 1, without any effect.
    pub fn fail_at(&self, operation: u64, error: io::ErrorKind) {
        self.model().fault_at = Some((operation, error));
    }

    /// From now on a write takes at most this many bytes.
    pub fn limit_writes(&self, bytes: usize) {
        self.model().write_max = bytes.max(1);
    }

    /// How many bytes fit into all files together; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.model().capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.model().used_bytes()
    }

    /// The disk after a power cut and a restart of the machine, without faults. This one stays as it is,
    /// so that several outcomes of one crash can be looked at.
    #[must_use]
    pub fn reboot(&self, survival: Survival) -> Self {
        Self::of(self.model().reboot(survival))
    }

    /// The same disk after the process that used it was killed at [`crash_at`](Self::crash_at) and the machine was
    /// not: nothing is lost, and nothing more is synced.
    pub fn restart_process(&self) {
        self.model().restart_process();
    }

    /// Every file with its bytes, synced or not.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.model().files()
    }

    /// Puts a file there, durably, as somebody from outside would: no operation is counted.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.model().put(path, bytes);
    }

    /// Takes a file away, durably, as somebody from outside would.
    pub fn take(&self, path: &Path) {
        self.model().take(path);
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.model().create(path)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.model().lookup(path)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), inode }))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.model().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.model().remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.model().list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.model().create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.model().sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.model().lock(path)?;
        Ok(Box::new(FaultyLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<Option<u64>> {
        let model = self.model();
        Ok(model.capacity.map(|capacity| capacity.saturating_sub(model.used_bytes())))
    }

    fn draw_id(&self) -> u64 {
        self.model().random.u64(..)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    inode: usize,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.model().read_at(self.inode, offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.model().write_at(self.inode, offset, bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.model().truncate(self.inode, len)
    }

    fn size(&self) -> io::Result<u64> {
        self.disk.model().size(self.inode)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.model().sync(self.inode)
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: FaultyDisk,
    path: PathBuf,
}

impl DiskLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.disk.model().locks.remove(&self.path);
    }
}
