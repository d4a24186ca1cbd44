//! The page cache, the names, and what a power cut makes of both.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::{Operation, Survival};

/// The smallest unit that is old or new as a whole.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Model {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Not synced, in order.
    name_changes: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) random: Rng,
    pub(super) operations: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) faults: Vec<(Operation, u64, io::ErrorKind)>,
    pub(super) fault_at: Option<(u64, io::ErrorKind)>,
    pub(super) write_max: usize,
    pub(super) capacity: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As every process sees it.
    data: Vec<u8>,
    /// As it was when it was last synced.
    durable: Vec<u8>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

/// What an operation is to do.
#[derive(PartialEq)]
enum Fate {
    Whole,
    /// The power goes while it is under way.
    Crash,
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            dirs: BTreeSet::new(),
            locks: BTreeSet::new(),
            random: Rng::with_seed(seed),
            operations: 0,
            crash_at: None,
            crashed: false,
            faults: Vec::new(),
            fault_at: None,
            write_max: usize::MAX,
            capacity: None,
        }
    }

    /// Counts an operation and says whether it is to fail.
    fn begin(&mut self, kind: Operation) -> io::Result<Fate> {
        self.check_power()?;
        self.operations += 1;
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            self.crashed = true;
            return Ok(Fate::Crash);
        }
        if let Some((_, error)) = self.fault_at.take_if(|(at, _)| *at == self.operations) {
            return Err(error.into());
        }
        let mut due = None;
        self.faults.retain_mut(|(of, left, error)| {
            if *of == kind {
                *left -= 1;
                if *left == 0 {
                    due = Some(*error);
                }
            }
            *left > 0
        });
        due.map_or(Ok(Fate::Whole), |error| Err(error.into()))
    }

    fn check_power(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the machine has lost power")) } else { Ok(()) }
    }

    /// The answer to an operation: none comes back from a machine that has lost power.
    fn end(&self) -> io::Result<()> {
        self.check_power()
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        change.apply(&mut self.names);
        self.name_changes.push(change);
        self.end()
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.begin(Operation::Create)?;
        self.check_dir(path)?;
        if let Some(&inode) = self.names.get(path) {
            self.inodes[inode].data.clear();
            return self.end().map(|()| inode);
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.change_name(NameChange::Link(path.to_owned(), inode))?;
        Ok(inode)
    }

    fn check_dir(&self, path: &Path) -> io::Result<()> {
        let there = path.parent().is_some_and(|dir| self.dirs.contains(dir));
        if there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    pub(super) fn lookup(&self, path: &Path) -> io::Result<usize> {
        self.check_power()?;
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Operation::Rename)?;
        self.check_dir(to)?;
        let inode = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), inode))
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.begin(Operation::Remove)?;
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_name(NameChange::Unlink(path.to_owned()))
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.check_power()?;
        if !self.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        self.check_power()?;
        if self.dirs.contains(dir) {
            return Ok(());
        }
        self.begin(Operation::CreateDir)?;
        self.dirs.extend(dir.ancestors().map(Path::to_owned));
        self.end()
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let fate = self.begin(Operation::SyncDir)?;
        if !self.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if fate == Fate::Whole || self.random.bool() {
            let (synced, left): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.name_changes).into_iter().partition(|change| change.dir() == Some(dir));
            for change in synced {
                change.apply(&mut self.durable_names);
            }
            self.name_changes = left;
        }
        self.end()
    }

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<()> {
        self.check_power()?;
        if self.locks.insert(path.to_owned()) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    pub(super) fn read_at(&self, inode: usize, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.check_power()?;
        let data = &self.inodes[inode].data;
        let from = (offset as usize).min(data.len());
        let count = into.len().min(data.len() - from);
        into[..count].copy_from_slice(&data[from..from + count]);
        Ok(count)
    }

    pub(super) fn write_at(&mut self, inode: usize, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let fate = self.begin(Operation::Write)?;
        let mut count = bytes.len().min(self.write_max);
        if let Some(capacity) = self.capacity {
            let growth_max = capacity.saturating_sub(self.used_bytes());
            let len = self.inodes[inode].data.len() as u64;
            count = count.min((len + growth_max).saturating_sub(offset) as usize);
            if count == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        if fate == Fate::Crash {
            count = self.random.usize(0..=count);
        }
        let data = &mut self.inodes[inode].data;
        let end = offset as usize + count;
        if data.len() < end {
            data.resize(end, 0);
        }
        data[offset as usize..end].copy_from_slice(&bytes[..count]);
        self.end().map(|()| count)
    }

    pub(super) fn truncate(&mut self, inode: usize, len: u64) -> io::Result<()> {
        let fate = self.begin(Operation::Truncate)?;
        if fate == Fate::Whole || self.random.bool() {
            self.inodes[inode].data.resize(len as usize, 0);
        }
        self.end()
    }

    pub(super) fn size(&self, inode: usize) -> io::Result<u64> {
        self.check_power()?;
        Ok(self.inodes[inode].data.len() as u64)
    }

    pub(super) fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fate = self.begin(Operation::Sync)?;
        if fate == Fate::Whole || self.random.bool() {
            let inode = &mut self.inodes[inode];
            inode.durable.clone_from(&inode.data);
        }
        self.end()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|&inode| self.inodes[inode].data.len() as u64).sum()
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.names.iter().map(|(path, &inode)| (path.clone(), self.inodes[inode].data.clone())).collect()
    }

    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        self.dirs.extend(path.ancestors().skip(1).map(Path::to_owned));
        self.inodes.push(Inode { data: bytes.to_vec(), durable: bytes.to_vec() });
        let inode = self.inodes.len() - 1;
        self.names.insert(path.to_owned(), inode);
        self.durable_names.insert(path.to_owned(), inode);
    }

    pub(super) fn take(&mut self, path: &Path) {
        self.names.remove(path);
        self.durable_names.remove(path);
    }

    pub(super) fn restart_process(&mut self) {
        self.crashed = false;
        self.crash_at = None;
        self.locks.clear();
    }

    pub(super) fn reboot(&self, survival: Survival) -> Self {
        let mut random = Rng::with_seed(match survival {
            Survival::Lost | Survival::Kept => 0,
            Survival::Torn(seed) => seed,
        });
        let mut survives = || match survival {
            Survival::Lost => false,
            Survival::Kept => true,
            Survival::Torn(_) => random.bool(),
        };
        let mut names = self.durable_names.clone();
        for change in &self.name_changes {
            if survives() {
                change.apply(&mut names);
            }
        }
        let torn = self.inodes.iter().map(|inode| {
            let data = match survival {
                Survival::Lost => inode.durable.clone(),
                Survival::Kept => inode.data.clone(),
                Survival::Torn(_) => inode.tear(&mut random),
            };
            Inode { durable: data.clone(), data }
        });
        let inodes = torn.collect();
        let mut rebooted = Self::new(random.u64(..));
        rebooted.inodes = inodes;
        rebooted.names.clone_from(&names);
        rebooted.durable_names = names;
        rebooted.dirs.clone_from(&self.dirs);
        rebooted
    }
}

impl Inode {
    /// Some length between the synced and the last one, and in each sector the synced or the last bytes.
    fn tear(&self, random: &mut Rng) -> Vec<u8> {
        let (short, long) = (self.data.len().min(self.durable.len()), self.data.len().max(self.durable.len()));
        let len = match random.u8(0..3) {
            0 => self.durable.len(),
            1 => self.data.len(),
            _ => random.usize(short..=long),
        };
        let mut torn = vec![0; len];
        for from in (0..len).step_by(SECTOR_BYTES) {
            let source = if random.bool() { &self.data } else { &self.durable };
            let to = (from + SECTOR_BYTES).min(len);
            let held = source.get(from..to.min(source.len())).unwrap_or_default();
            torn[from..from + held.len()].copy_from_slice(held);
        }
        torn
    }
}
