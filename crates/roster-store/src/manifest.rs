//! The manifest: which files are the log. Replaced whole, never changed in place.
//!
//! # Always true
//! * **L3, one truth**: the log is what the manifest names, and nothing is chosen by age or by name.
//! * **L4, whole or not**: a manifest is written aside, synced, renamed over the old one, and its
//!   directory synced; so a crash leaves the old one or the new one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use roster_core::{Position, Timestamp};

use crate::codec::Codec;
use crate::disk::{Disk, read_full_at, write_all_at};
use crate::error::{Damage, IoFailure, ReadError};
use crate::file_name::{FileName, MANIFEST, MANIFEST_ASIDE};
use crate::frame::FORMAT_VERSION;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::settings::{Directories, Side};

const TITLE: &str = "roster-manifest";

/// A segment or snapshot that the log consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveFile {
    pub(crate) side: Side,
    pub(crate) generation: u64,
    /// Of a segment the first position, of a snapshot the last one that it includes.
    pub(crate) position: Position,
}

impl LiveFile {
    pub(crate) fn segment_name(&self) -> FileName {
        FileName::Segment { generation: self.generation, first: self.position }
    }

    pub(crate) fn snapshot_name(&self) -> FileName {
        FileName::Snapshot { generation: self.generation, position: self.position }
    }
}

/// A file that is kept for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastFile {
    pub(crate) side: Side,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) superseded: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) log: u64,
    /// Of the last generation begun, finished or not; the next one is higher, so that no name is used twice.
    pub(crate) last_generation: u64,
    pub(crate) snapshot: Option<LiveFile>,
    /// By position, without a gap from the snapshot on.
    pub(crate) segments: Vec<LiveFile>,
    /// Oldest first.
    pub(crate) history: Vec<PastFile>,
}

/// A manifest that could not be replaced.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// The old one is in force.
    NotReplaced(IoFailure),
    /// Which one a crash would leave is not known.
    Unknown(IoFailure),
}

impl Manifest {
    /// Of a new log.
    pub(crate) fn new(log: u64) -> Self {
        Self { log, last_generation: 0, snapshot: None, segments: Vec::new(), history: Vec::new() }
    }

    pub(crate) fn encode<C: Codec>(&self) -> String {
        let mut text = format!("{TITLE} {FORMAT_VERSION}\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "content {}", C::CONTENT_NAME);
        let _ = writeln!(text, "log {:016x}", self.log);
        let _ = writeln!(text, "last-generation {}", self.last_generation);
        if let Some(file) = &self.snapshot {
            let _ = writeln!(text, "snapshot {} {}", side_word(file.side), file.snapshot_name());
        }
        for file in &self.segments {
            let _ = writeln!(text, "segment {} {}", side_word(file.side), file.segment_name());
        }
        for PastFile { side, name, bytes, superseded } in &self.history {
            let _ = writeln!(text, "history {} {name} {bytes} {superseded}", side_word(*side));
        }
        let _ = writeln!(text, "crc32c {:08x}", crc32c::crc32c(text.as_bytes()));
        text
    }

    pub(crate) fn decode<C: Codec>(bytes: &[u8], path: &Path) -> Result<Self, ReadError> {
        let damaged = |what: &str| ReadError::Damaged(Damage::new(path, 0, what));
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let summed = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).map_or(0, |end| end + 1);
        let (body, last) = text.split_at(summed);
        // The sum must be spelt as it is written: otherwise a flipped bit could turn `a` into `A` unseen.
        if last != format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err(damaged("its sum is wrong"));
        }
        let mut lines = body.lines();
        let title = lines.next().and_then(|line| line.strip_prefix(TITLE)).map(str::trim);
        match title.map(str::parse::<u32>) {
            Some(Ok(version)) if version == u32::from(FORMAT_VERSION) => {}
            Some(Ok(found)) => {
                return Err(ReadError::Version { file: path.into(), found, readable: FORMAT_VERSION.into() });
            }
            Some(Err(_)) | None => return Err(damaged("it does not begin as a manifest")),
        }
        let mut manifest = Self::new(0);
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let understood = match words[..] {
                ["content", content] if content == C::CONTENT_NAME => Some(()),
                ["content", other] => {
                    let found = other.to_owned();
                    return Err(ReadError::OtherContent { file: path.into(), found, expected: C::CONTENT_NAME });
                }
                ["log", id] => u64::from_str_radix(id, 16).ok().map(|id| manifest.log = id),
                ["last-generation", number] => number.parse().ok().map(|number| manifest.last_generation = number),
                ["snapshot", side, name] => live_file(side, name).map(|file| manifest.snapshot = Some(file)),
                ["segment", side, name] => live_file(side, name).map(|file| manifest.segments.push(file)),
                ["history", side, name, bytes, superseded] => {
                    past_file(side, name, bytes, superseded).map(|file| manifest.history.push(file))
                }
                _ => None,
            };
            understood.ok_or_else(|| damaged(&format!("the line {line:?} means nothing")))?;
        }
        Ok(manifest)
    }

    /// The manifest of a directory; `None` when there is none.
    pub(crate) fn read<C: Codec>(disk: &dyn Disk, directories: &Directories) -> Result<Option<Self>, ReadError> {
        let path = directories.data().join(MANIFEST);
        let file = match disk.open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IoFailure::new("open", &path, source).into()),
        };
        let failed = |source| IoFailure::new("read", &path, source);
        let len = file.size().map_err(failed)?;
        if len > MANIFEST_BYTES_MAX {
            return Err(Damage::new(&path, 0, format!("it has {len} bytes; {MANIFEST_BYTES_MAX} at most")).into());
        }
        let mut bytes = vec![0; len as usize];
        let read = read_full_at(&*file, 0, &mut bytes).map_err(failed)?;
        Self::decode::<C>(&bytes[..read], &path).map(Some)
    }

    /// Puts this one in force (**L4**).
    pub(crate) fn replace<C: Codec>(&self, disk: &dyn Disk, directories: &Directories) -> Result<(), ReplaceError> {
        let aside = directories.data().join(MANIFEST_ASIDE);
        let path = directories.data().join(MANIFEST);
        let write_aside = || {
            let file = disk.create(&aside).map_err(|source| IoFailure::new("create", &aside, source))?;
            write_all_at(&*file, 0, self.encode::<C>().as_bytes())
                .map_err(|source| IoFailure::new("write", &aside, source))?;
            file.sync().map_err(|source| IoFailure::new("sync", &aside, source))
        };
        write_aside().map_err(ReplaceError::NotReplaced)?;
        disk.rename(&aside, &path).map_err(|source| {
            let failure = IoFailure::new("rename to", &path, source);
            // A rename without room has not begun; of any other failure nobody knows.
            if failure.is_full() { ReplaceError::NotReplaced(failure) } else { ReplaceError::Unknown(failure) }
        })?;
        disk.sync_dir(directories.data())
            .map_err(|source| ReplaceError::Unknown(IoFailure::new("sync", directories.data(), source)))
    }

    /// Where the current generation lives.
    pub(crate) fn side(&self) -> Side {
        self.snapshot.as_ref().map_or(Side::Data, |snapshot| snapshot.side)
    }

    /// The path of a live segment; `None` without a switch directory.
    pub(crate) fn path(directories: &Directories, side: Side, name: &str) -> Option<PathBuf> {
        directories.path(side).map(|dir| dir.join(name))
    }

    /// Whether it names the file.
    pub(crate) fn names(&self, side: Side, name: &str) -> bool {
        self.snapshot.iter().any(|file| file.side == side && file.snapshot_name().to_string() == name)
            || self.segments.iter().any(|file| file.side == side && file.segment_name().to_string() == name)
            || self.history.iter().any(|file| file.side == side && file.name == name)
    }
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Data => "data",
        Side::Switch => "switch",
    }
}

fn side_of(word: &str) -> Option<Side> {
    match word {
        "data" => Some(Side::Data),
        "switch" => Some(Side::Switch),
        _ => None,
    }
}

fn live_file(side: &str, name: &str) -> Option<LiveFile> {
    let (generation, position) = match FileName::parse(name)? {
        FileName::Segment { generation, first: position } | FileName::Snapshot { generation, position } => {
            (generation, position)
        }
    };
    Some(LiveFile { side: side_of(side)?, generation, position })
}

fn past_file(side: &str, name: &str, bytes: &str, superseded: &str) -> Option<PastFile> {
    let plain = !name.is_empty() && !name.contains('/') && name != "..";
    Some(PastFile {
        side: side_of(side)?,
        name: plain.then(|| name.to_owned())?,
        bytes: bytes.parse().ok()?,
        superseded: Timestamp::new(superseded.parse().ok()?),
    })
}
