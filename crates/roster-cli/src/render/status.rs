//! How a node is doing. What an operator should look at stands on top and stands out.

use jiff::Timestamp;
use roster_proto::v1;
use serde::Serialize;

use super::age;
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// How a node is doing.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Takes changes, loses none, and its last start found nothing wrong.
    healthy: bool,
    /// What is not as it should be, a sentence each.
    concerns: Vec<String>,
    version: String,
    process: u64,
    started: String,
    listen: String,
    durability: String,
    read_only: Option<String>,
    /// Why the mass-loss guard holds removals, if it does.
    guard: Option<String>,
    guarded_sessions: u64,
    guarded_instances: u64,
    position: u64,
    sessions: u64,
    sessions_connected: u64,
    services: u64,
    instances: u64,
    watch_streams: u64,
    watches: u64,
    watch_resets: u64,
    connections: u64,
    work: Option<Work>,
    log: Log,
    queues: Option<QueuesStatus>,
    #[serde(skip)]
    started_unix_ms: u64,
}

/// What a node has besides its directory, once it has any.
#[derive(Debug, Serialize)]
struct QueuesStatus {
    read_only: Option<String>,
    queues: u64,
    messages: u64,
    bytes: u64,
    producers: u64,
    consumers: u64,
    log: Option<Log>,
}

/// What is under way, and what was refused since the start because there was too much.
#[derive(Debug, Serialize)]
struct Work {
    calls: u64,
    refused_calls: u64,
    operation_bytes: u64,
    waiting_operation_bytes: u64,
    refused_operations: u64,
    publish_bytes: u64,
    waiting_publish_bytes: u64,
    refused_publications: u64,
}

#[derive(Debug, Default, Serialize)]
struct Log {
    directory: String,
    switch_directory: Option<String>,
    generation: u64,
    snapshot_position: u64,
    snapshot_bytes: u64,
    log_bytes: u64,
    segments: u64,
    history_bytes: u64,
    rebuilding: bool,
    syncs: u64,
    batches: u64,
    commands: u64,
    rebuilds: u64,
    recovery_notes: Vec<String>,
}

impl Status {
    pub(crate) fn new(status: v1::GetStatusResponse) -> Self {
        let concerns = concerns(&status);
        let queues = QueuesStatus::new(&status);
        Self {
            healthy: concerns.is_empty(),
            concerns,
            started: age::stamp(status.started_unix_ms),
            started_unix_ms: status.started_unix_ms,
            version: status.version,
            process: status.process_id,
            listen: status.listen,
            durability: status.durability,
            read_only: (!status.read_only.is_empty()).then_some(status.read_only),
            guard: (!status.guard.is_empty()).then_some(status.guard),
            guarded_sessions: status.guarded_sessions,
            guarded_instances: status.guarded_instances,
            position: status.position,
            sessions: status.sessions,
            sessions_connected: status.sessions_connected,
            services: status.services,
            instances: status.instances,
            watch_streams: status.watch_streams,
            watches: status.watches,
            watch_resets: status.watch_resets,
            connections: status.connections,
            work: status.work.map(Work::new),
            log: status.log.map(Log::new).unwrap_or_default(),
            queues,
        }
    }

    /// Each fact with its name; the same in the table and in the text.
    fn facts(&self, uptime: String) -> Vec<(&'static str, String)> {
        let log = &self.log;
        let mut facts = vec![
            ("version", self.version.clone()),
            ("process", self.process.to_string()),
            ("listen", self.listen.clone()),
            ("started", uptime),
            ("durability", self.durability.clone()),
            ("position", self.position.to_string()),
            ("services", self.services.to_string()),
            ("instances", self.instances.to_string()),
            ("sessions", format!("{}, {} connected", self.sessions, self.sessions_connected)),
            ("watches", format!("{} on {} streams, {} resets", self.watches, self.watch_streams, self.watch_resets)),
            ("connections", self.connections.to_string()),
            ("data dir", log.directory.clone()),
        ];
        if let Some(switch) = &log.switch_directory {
            facts.push(("switch dir", switch.clone()));
        }
        let counted =
            |count: u64, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        let rebuilding = if log.rebuilding { ", being rebuilt" } else { "" };
        facts.push(("generation", format!("{}{rebuilding}", log.generation)));
        facts.push(("snapshot", format!("{} at position {}", size(log.snapshot_bytes), log.snapshot_position)));
        facts.push(("log", format!("{} in {}", size(log.log_bytes), counted(log.segments, "segment"))));
        facts.push(("history", size(log.history_bytes)));
        let work = format!(
            "{} commands in {} batches, {} syncs, {} rebuilds",
            log.commands, log.batches, log.syncs, log.rebuilds
        );
        facts.push(("since start", work));
        facts.extend(self.work.iter().flat_map(Work::facts));
        if let Some(queues) = &self.queues {
            facts.extend(queues.facts());
        }
        facts
    }
}

impl Work {
    fn new(work: v1::Work) -> Self {
        Self {
            calls: work.calls,
            refused_calls: work.refused_calls,
            operation_bytes: work.operation_bytes,
            waiting_operation_bytes: work.waiting_operation_bytes,
            refused_operations: work.refused_operations,
            publish_bytes: work.publish_bytes,
            waiting_publish_bytes: work.waiting_publish_bytes,
            refused_publications: work.refused_publications,
        }
    }

    fn facts(&self) -> [(&'static str, String); 3] {
        let line = |under_way, waiting, refused| {
            format!("{} under way, {} waiting, {refused} messages refused", size(under_way), size(waiting))
        };
        [
            ("calls", format!("{} under way, {} refused", self.calls, self.refused_calls)),
            ("operations", line(self.operation_bytes, self.waiting_operation_bytes, self.refused_operations)),
            ("publishing", line(self.publish_bytes, self.waiting_publish_bytes, self.refused_publications)),
        ]
    }
}

impl QueuesStatus {
    fn new(status: &v1::GetStatusResponse) -> Option<Self> {
        let is_worth_showing = status.queues > 0 || !status.queues_read_only.is_empty();
        is_worth_showing.then(|| Self {
            read_only: (!status.queues_read_only.is_empty()).then(|| status.queues_read_only.clone()),
            queues: status.queues,
            messages: status.queue_messages,
            bytes: status.queue_bytes,
            producers: status.queue_producers,
            consumers: status.queue_consumers,
            log: status.queue_log.clone().map(Log::new),
        })
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let Self { queues, messages, producers, consumers, .. } = self;
        let kept = format!("{queues}, {messages} messages of {}", size(self.bytes));
        let mut facts = vec![("queues", kept), ("at queues", format!("{producers} producers, {consumers} consumers"))];
        if let Some(log) = &self.log {
            let rebuilding = if log.rebuilding { ", being rebuilt" } else { "" };
            let length =
                format!("{} after a snapshot of {}{rebuilding}", size(log.log_bytes), size(log.snapshot_bytes));
            facts.push(("queue dir", log.directory.clone()));
            facts.push(("queue log", length));
        }
        facts
    }
}

impl Log {
    fn new(log: v1::LogStatus) -> Self {
        Self {
            directory: log.directory,
            switch_directory: (!log.switch_directory.is_empty()).then_some(log.switch_directory),
            generation: log.generation,
            snapshot_position: log.snapshot_position,
            snapshot_bytes: log.snapshot_bytes,
            log_bytes: log.log_bytes,
            segments: log.segments,
            history_bytes: log.history_bytes,
            rebuilding: log.rebuilding,
            syncs: log.syncs,
            batches: log.batches,
            commands: log.commands,
            rebuilds: log.rebuilds,
            recovery_notes: log.recovery_notes,
        }
    }
}

fn concerns(status: &v1::GetStatusResponse) -> Vec<String> {
    let mut concerns = Vec::new();
    if !status.read_only.is_empty() {
        concerns.push(format!("takes no changes: {}", status.read_only));
    }
    if !status.queues_read_only.is_empty() {
        concerns.push(format!("its queues take no changes: {}", status.queues_read_only));
    }
    if !status.guard.is_empty() {
        concerns.push(format!(
            "the mass-loss guard holds {} sessions with {} instances: {}; `roster guard release` removes them",
            status.guarded_sessions, status.guarded_instances, status.guard
        ));
    }
    match status.durability.as_str() {
        "synced" => {}
        "os" => concerns.push("what was answered may be lost in a crash of the machine (durability os)".to_owned()),
        "none" => concerns.push("what was answered is lost at a restart (durability none)".to_owned()),
        other => concerns.push(format!("durability {other} is not known to this version")),
    }
    let notes = status.log.iter().chain(&status.queue_log).flat_map(|log| &log.recovery_notes);
    concerns.extend(notes.map(|note| format!("at its start: {note}")));
    concerns
}

impl Shown for Status {
    fn table(&self, paint: Paint) -> String {
        let queues_read_only = self.queues.as_ref().is_some_and(|queues| queues.read_only.is_some());
        let mut lines = match (self.read_only.is_some() || queues_read_only, self.healthy) {
            (true, _) => format!("{}\n", paint.text(Tone::Bad, "DEGRADED")),
            (false, false) => format!("{}\n", paint.text(Tone::Careful, "serving, but look at this")),
            (false, true) => format!("{}\n", paint.text(Tone::Good, "healthy")),
        };
        for concern in &self.concerns {
            lines.push_str(&paint.text(Tone::Careful, &format!("  ! {concern}")));
            lines.push('\n');
        }
        lines.push('\n');
        let uptime = format!("{} ({} ago)", self.started, age::since(self.started_unix_ms, Timestamp::now()));
        for (name, value) in self.facts(uptime) {
            lines.push_str(&format!("{name:<12}{value}\n"));
        }
        lines
    }

    fn text(&self) -> String {
        let mut lines = format!("healthy\t{}\n", self.healthy);
        for concern in &self.concerns {
            lines.push_str(&format!("concern\t{concern}\n"));
        }
        for (name, value) in self.facts(self.started.clone()) {
            lines.push_str(&format!("{name}\t{value}\n"));
        }
        lines
    }
}

/// Bytes in the largest unit that they fill.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        // Tenths by whole numbers: no rounding up to the next unit.
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_takes_no_changes_stands_out() {
        let status = v1::GetStatusResponse {
            durability: "synced".into(),
            read_only: "the disk is full".into(),
            ..Default::default()
        };
        let shown = Status::new(status).table(Paint::Plain);
        assert!(shown.starts_with("DEGRADED\n  ! takes no changes: the disk is full\n"), "{shown}");
    }

    #[test]
    fn a_node_that_may_lose_what_it_answered_is_not_healthy() {
        let of = |durability: &str| v1::GetStatusResponse { durability: durability.into(), ..Default::default() };
        assert!(Status::new(of("synced")).healthy);
        assert!(!Status::new(of("os")).healthy);
        assert!(!Status::new(of("none")).healthy);
    }

    #[test]
    fn queues_are_shown_where_there_are_any() {
        let mut status = v1::GetStatusResponse { durability: "synced".into(), ..Default::default() };
        assert!(!Status::new(status.clone()).text().contains("queues"));
        (status.queues, status.queue_messages, status.queue_bytes) = (2, 30, 3072);
        let shown = Status::new(status.clone()).text();
        assert!(shown.contains("queues\t2, 30 messages of 3.0 KiB\n"), "{shown}");
        status.queues_read_only = "the disk is full".into();
        let shown = Status::new(status).table(Paint::Plain);
        assert!(shown.starts_with("DEGRADED\n  ! its queues take no changes: the disk is full\n"), "{shown}");
    }

    #[test]
    fn sizes_are_in_their_unit() {
        assert_eq!([0, 1023, 1536, 5 << 20].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 MiB"]);
    }
}
