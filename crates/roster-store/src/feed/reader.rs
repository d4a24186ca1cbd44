//! One reader of a feed: what to send next, from files that may go away meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use roster_core::{Position, Timestamp};

use super::piece::{CHUNK_BYTES_MAX, FileSet, HeldFile, Piece, tail_crc};
use super::{Live, LogFeed, Look};
use crate::disk::read_full_at;
use crate::error::{Damage, IoFailure};
use crate::manifest::LiveFile;

/// Why a feed cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("the log is kept in memory only (durability \"none\"); there are no files to copy")]
    NoFiles,
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// Reads a log as it grows, piece by piece. Each piece blocks for one read of the disk.
pub struct FeedReader {
    feed: LogFeed,
    /// Of which the source has not yet been asked.
    held: Vec<HeldFile>,
    live: Option<Arc<Live>>,
    /// How much of each live file the copy has.
    sent: BTreeMap<String, u64>,
    told: Option<Position>,
    /// What is said after the files, and then nothing more.
    diverged: Option<Piece>,
    seen: u64,
}

/// A live file as it is read.
struct Source {
    name: String,
    path: PathBuf,
    bytes: u64,
}

impl FeedReader {
    pub(super) fn new(feed: LogFeed, held: Vec<HeldFile>) -> Self {
        Self { feed, held, live: None, sent: BTreeMap::new(), told: None, diverged: None, seen: 0 }
    }

    /// The version of the feed that was last looked at, for [`LogFeed::changed`].
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Says again where the log stands when there is nothing else to say.
    pub fn tell_again(&mut self) {
        self.told = None;
    }

    /// The next piece; `None` when the copy has everything and was told so. `now` is the time at the source.
    ///
    /// # Errors
    /// [`FeedError`] when a live file cannot be read.
    pub fn next(&mut self, now: Timestamp) -> Result<Option<Piece>, FeedError> {
        if let Some(piece) = &self.diverged {
            return Ok(Some(piece.clone()));
        }
        loop {
            let look = self.feed.look();
            self.seen = look.version;
            let live = look.live.clone().ok_or(FeedError::NoFiles)?;
            let is_new = !self.live.as_ref().is_some_and(|known| Arc::ptr_eq(known, &live));
            match if is_new { self.begin(&live, &look) } else { self.read(&live, &look) } {
                Ok(Some(piece)) => return Ok(Some(piece)),
                Ok(None) => {}
                // What was superseded meanwhile may be gone; what is live must be there.
                Err(FeedError::Io(failure)) if failure.source.kind() == io::ErrorKind::NotFound => {
                    let is_live = self.feed.look().live.is_some_and(|present| Arc::ptr_eq(&present, &live));
                    if is_live {
                        return Err(failure.into());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            if self.told == Some(look.position) {
                return Ok(None);
            }
            self.told = Some(look.position);
            return Ok(Some(Piece::CaughtUp { position: look.position, at: now }));
        }
    }

    /// Other files than before are in force. What the copy holds is compared when it is first of use; that it is
    /// another log altogether shows in the list of files, which comes first.
    fn begin(&mut self, live: &Arc<Live>, look: &Look) -> Result<Option<Piece>, FeedError> {
        let sources = self.sources(live, look)?;
        self.sent.retain(|name, _| sources.iter().any(|source| source.name == *name));
        for source in &sources {
            let Some(index) = self.held.iter().position(|held| held.name == source.name) else { continue };
            let held = &self.held[index];
            if let Some(why) = self.difference(source, held)? {
                self.diverged = Some(Piece::Diverged { file: source.name.clone(), why });
                break;
            }
            self.sent.insert(source.name.clone(), held.bytes);
            self.held.swap_remove(index);
        }
        self.live = Some(Arc::clone(live));
        self.told = None;
        Ok(Some(Piece::Files(FileSet {
            content: self.feed.0.content.to_owned(),
            log: live.log,
            last_generation: live.last_generation,
            snapshot: live.snapshot.map(|(file, _)| file.snapshot_name().to_string()),
            segments: live.segments.iter().map(|(file, _)| file.segment_name().to_string()).collect(),
            bytes: sources.iter().map(|source| source.bytes).sum(),
        })))
    }

    fn difference(&self, source: &Source, held: &HeldFile) -> Result<Option<String>, FeedError> {
        if held.bytes > source.bytes {
            let why = format!("the copy has {} bytes of it, the source {}", held.bytes, source.bytes);
            return Ok(Some(why));
        }
        let file = self.feed.0.disk.open_to_read(&source.path).map_err(opening(&source.path))?;
        let sum = tail_crc(&*file, held.bytes).map_err(|error| IoFailure::new("read", &source.path, error))?;
        let is_same = sum == Some(held.tail_crc);
        Ok((!is_same).then(|| format!("copy and source differ before byte {}", held.bytes)))
    }

    fn read(&mut self, live: &Live, look: &Look) -> Result<Option<Piece>, FeedError> {
        for source in self.sources(live, look)? {
            let offset = self.sent.get(&source.name).copied().unwrap_or(0);
            if offset >= source.bytes {
                continue;
            }
            let wanted = (source.bytes - offset).min(CHUNK_BYTES_MAX as u64) as usize;
            let file = self.feed.0.disk.open_to_read(&source.path).map_err(opening(&source.path))?;
            let mut bytes = BytesMut::zeroed(wanted);
            let read = read_full_at(&*file, offset, &mut bytes)
                .map_err(|error| IoFailure::new("read", &source.path, error))?;
            if read < wanted {
                let what = format!("the file ends here; it had {} bytes", source.bytes);
                return Err(Damage::new(&source.path, offset + read as u64, what).into());
            }
            self.sent.insert(source.name.clone(), offset + wanted as u64);
            return Ok(Some(Piece::Chunk { file: source.name, offset, bytes: bytes.freeze() }));
        }
        Ok(None)
    }

    fn sources(&self, live: &Live, look: &Look) -> Result<Vec<Source>, FeedError> {
        let source = |file: &LiveFile, name: String, bytes| {
            let path = self.feed.path(file, &name);
            // A live file is in a directory that the log has.
            let path = path.ok_or_else(|| opening(Path::new(&name))(io::ErrorKind::NotFound.into()))?;
            Ok(Source { name, path, bytes })
        };
        let snapshot = live.snapshot.iter().map(|(file, bytes)| source(file, file.snapshot_name().to_string(), *bytes));
        let last = live.segments.len().saturating_sub(1);
        let segments = live.segments.iter().enumerate().map(|(index, (file, bytes))| {
            let bytes = if index == last { look.active_bytes } else { *bytes };
            source(file, file.segment_name().to_string(), bytes)
        });
        snapshot.chain(segments).collect()
    }
}

fn opening(path: &Path) -> impl Fn(io::Error) -> IoFailure {
    move |source| IoFailure::new("open", path, source)
}

impl std::fmt::Debug for FeedReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedReader").field("feed", &self.feed).field("sent", &self.sent).finish_non_exhaustive()
    }
}
