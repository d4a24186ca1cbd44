//! The feed: which files make up a log at this moment, and how much of each is durable, for whoever copies it.
//!
//! The log writes it down after every batch; readers look at it and read the files themselves. A log
//! knows nothing of its readers: none can hold it up, and none keeps a file from being removed.
//!
//! # Always true
//! * **Y1, only what was told**: a feed shows no byte of a batch before `append` returned, and ends at
//!   the end of a whole frame.
//! * **Y2, nothing pinned**: between two pieces a reader has no file open and no lock taken.

mod piece;
mod reader;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use roster_core::Position;

pub(crate) use piece::tail_crc;
pub use piece::{CHUNK_BYTES_MAX, FileSet, HeldFile, Piece};
pub use reader::{FeedError, FeedReader};

use crate::disk::Disk;
use crate::file_header::FILE_HEADER_BYTES;
use crate::manifest::{LiveFile, Manifest};
use crate::settings::Directories;

/// The files of a log, seen from outside. Cheap to clone; outlives the log.
#[derive(Clone)]
pub struct LogFeed(Arc<Shared>);

struct Shared {
    disk: Arc<dyn Disk>,
    directories: Directories,
    content: &'static str,
    state: Mutex<State>,
}

struct State {
    /// Grows with every change.
    version: u64,
    /// `None` while the log keeps no files.
    live: Option<Arc<Live>>,
    /// Of the last segment, up to the end of its last whole frame.
    active_bytes: u64,
    /// The last one that is durable.
    position: Position,
    waiting: Vec<Waker>,
}

/// The files between two changes of the manifest.
#[derive(Debug, PartialEq, Eq)]
struct Live {
    log: u64,
    last_generation: u64,
    snapshot: Option<(LiveFile, u64)>,
    /// With their bytes; of the last one the feed has the present number.
    segments: Vec<(LiveFile, u64)>,
}

/// What a reader sees at one moment.
struct Look {
    version: u64,
    live: Option<Arc<Live>>,
    active_bytes: u64,
    position: Position,
}

impl LogFeed {
    pub(crate) fn new(disk: Arc<dyn Disk>, directories: Directories, content: &'static str) -> Self {
        let state =
            State { version: 0, live: None, active_bytes: 0, position: Position::default(), waiting: Vec::new() };
        Self(Arc::new(Shared { disk, directories, content, state: Mutex::new(state) }))
    }

    /// A reader for a copy that holds this already.
    ///
    /// # Errors
    /// [`FeedError::NoFiles`] when the log is kept in memory only.
    pub fn reader(&self, held: Vec<HeldFile>) -> Result<FeedReader, FeedError> {
        match self.state().live {
            Some(_) => Ok(FeedReader::new(self.clone(), held)),
            None => Err(FeedError::NoFiles),
        }
    }

    /// Returns when the feed has changed since it was seen in this version.
    pub async fn changed(&self, seen: u64) {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.version != seen {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// What is durable from here on.
    pub(crate) fn publish(&self, manifest: &Manifest, snapshot_bytes: u64, active_bytes: u64, position: Position) {
        let mut state = self.state();
        let is_same = state.live.as_ref().is_some_and(|live| {
            live.snapshot.map(|(file, _)| file) == manifest.snapshot
                && live.segments.iter().map(|(file, _)| file).eq(&manifest.segments)
        });
        if !is_same {
            state.live = Some(Arc::new(self.live(&state, manifest, snapshot_bytes)));
        }
        debug_assert!(active_bytes >= FILE_HEADER_BYTES as u64, "Y1");
        state.active_bytes = active_bytes;
        state.position = position;
        state.version += 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn live(&self, before: &State, manifest: &Manifest, snapshot_bytes: u64) -> Live {
        let known = |file: &LiveFile| {
            let live = before.live.as_ref()?;
            let index = live.segments.iter().position(|(known, _)| known == file)?;
            let is_last = index + 1 == live.segments.len();
            Some(if is_last { before.active_bytes } else { live.segments[index].1 })
        };
        // After a start nothing is known: a segment that is not the last is whole, and grows no more.
        let on_disk = |file: &LiveFile| {
            let path = self.path(file, &file.segment_name().to_string())?;
            self.0.disk.open_to_read(&path).and_then(|file| file.size()).ok()
        };
        Live {
            log: manifest.log,
            last_generation: manifest.last_generation,
            snapshot: manifest.snapshot.map(|file| (file, snapshot_bytes)),
            segments: manifest
                .segments
                .iter()
                .map(|file| (*file, known(file).or_else(|| on_disk(file)).unwrap_or(FILE_HEADER_BYTES as u64)))
                .collect(),
        }
    }

    fn path(&self, file: &LiveFile, name: &str) -> Option<PathBuf> {
        Manifest::path(&self.0.directories, file.side, name)
    }

    fn look(&self) -> Look {
        let state = self.state();
        Look {
            version: state.version,
            live: state.live.clone(),
            active_bytes: state.active_bytes,
            position: state.position,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFeed").field("content", &self.0.content).finish_non_exhaustive()
    }
}
