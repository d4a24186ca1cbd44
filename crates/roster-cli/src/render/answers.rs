//! The short answers: how far a drain is, what a cutover was set to, what a rebuild has written.

use roster_core::Cutover;
use serde::Serialize;

use super::paint::{Paint, Tone};
use super::screen::Shown;

/// How many watchers have taken in that an instance drains.
#[derive(Debug, Serialize)]
pub(crate) struct DrainLine {
    instance: u64,
    seen: u32,
    watchers: u32,
    finished: bool,
}

impl DrainLine {
    pub(crate) fn new(instance: u64, seen: u32, watchers: u32, finished: bool) -> Self {
        Self { instance, seen, watchers, finished }
    }

    /// Everybody knows.
    pub(crate) fn is_seen_by_all(&self) -> bool {
        self.seen >= self.watchers
    }
}

impl Shown for DrainLine {
    fn table(&self, paint: Paint) -> String {
        let Self { instance, seen, watchers, finished } = self;
        let counted = format!("{seen} of {watchers} watchers have seen that instance {instance} drains");
        match (finished, self.is_seen_by_all()) {
            (true, true) => format!("{}\n", paint.text(Tone::Good, &format!("{counted}; it may stop"))),
            (true, false) => {
                let late = format!("{counted}; the deadline has passed, the others may still call it");
                format!("{}\n", paint.text(Tone::Careful, &late))
            }
            (false, _) => format!("{counted}\n"),
        }
    }

    fn text(&self) -> String {
        let end = if self.finished { "finished" } else { "going on" };
        format!("{}\t{}\t{}\t{end}\n", self.instance, self.seen, self.watchers)
    }
}

/// What an operator has set.
#[derive(Debug, Serialize)]
pub(crate) struct CutoverSet {
    service: String,
    cutover: Option<String>,
    position: u64,
}

impl CutoverSet {
    pub(crate) fn new(service: &str, cutover: Option<Cutover>, position: u64) -> Self {
        Self { service: service.to_owned(), cutover: cutover.map(cutover_word), position }
    }
}

impl Shown for CutoverSet {
    fn table(&self, _paint: Paint) -> String {
        let Self { service, cutover, position } = self;
        match cutover.as_deref() {
            None => format!("{service} follows the cutover of its registrations again (position {position})\n"),
            Some("side-by-side") => format!("versions of {service} live side by side (position {position})\n"),
            Some("1") => format!("one instance of a higher version takes {service} over (position {position})\n"),
            Some(n) => format!("{n} instances of a higher version take {service} over (position {position})\n"),
        }
    }

    fn text(&self) -> String {
        format!("{}\t{}\t{}\n", self.service, self.cutover.as_deref().unwrap_or("clear"), self.position)
    }
}

/// What a rebuild has written.
#[derive(Debug, Serialize)]
pub(crate) struct Rebuilt {
    generation: u64,
    position: u64,
    snapshot_bytes: u64,
}

impl Rebuilt {
    pub(crate) fn new(generation: u64, position: u64, snapshot_bytes: u64) -> Self {
        Self { generation, position, snapshot_bytes }
    }
}

impl Shown for Rebuilt {
    fn table(&self, _paint: Paint) -> String {
        let Self { generation, position, snapshot_bytes } = self;
        format!("generation {generation} is in use: a snapshot of {snapshot_bytes} bytes at position {position}\n")
    }

    fn text(&self) -> String {
        format!("{}\t{}\t{}\n", self.generation, self.position, self.snapshot_bytes)
    }
}

/// Whom the mass-loss guard let go.
#[derive(Debug, Serialize)]
pub(crate) struct Released {
    sessions: u64,
    instances: u64,
}

impl Released {
    pub(crate) fn new(sessions: u64, instances: u64) -> Self {
        Self { sessions, instances }
    }
}

impl Shown for Released {
    fn table(&self, _paint: Paint) -> String {
        match self.sessions {
            0 => "it held nobody; who is lost within the next 10 s is removed\n".to_owned(),
            sessions => format!("{sessions} sessions with {} instances are removed\n", self.instances),
        }
    }

    fn text(&self) -> String {
        format!("{}\t{}\n", self.sessions, self.instances)
    }
}

/// As it is written on the command line.
pub(super) fn cutover_word(cutover: Cutover) -> String {
    match cutover {
        Cutover::After(instances) => instances.to_string(),
        Cutover::SideBySide => "side-by-side".to_owned(),
    }
}
