//! A disk on which every sync waits for as long as it is held.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use roster_store::{Disk, DiskFile, DiskLock, FaultyDisk};

#[derive(Debug, Clone)]
pub struct HeldDisk {
    disk: FaultyDisk,
    held: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Debug)]
struct HeldFile {
    file: Box<dyn DiskFile>,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl HeldDisk {
    /// Held by nobody.
    pub fn new(seed: u64) -> Self {
        Self { disk: FaultyDisk::new(seed), held: Arc::default() }
    }

    pub fn hold(&self, is_held: bool) {
        *self.held.0.lock().unwrap() = is_held;
        self.held.1.notify_all();
    }

    fn file(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let held = self.held.clone();
        file.map(|file| -> Box<dyn DiskFile> { Box::new(HeldFile { file, held }) })
    }
}

impl Disk for HeldDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.open(path))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.open_to_read(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.disk.free_bytes(dir)
    }

    fn draw_id(&self) -> u64 {
        self.disk.draw_id()
    }
}

impl DiskFile for HeldFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(offset, bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        let (held, freed) = &*self.held;
        drop(freed.wait_while(held.lock().unwrap(), |held| *held).unwrap());
        self.file.sync()
    }
}
