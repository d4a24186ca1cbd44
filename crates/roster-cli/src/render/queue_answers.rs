//! What was done to a queue: created, updated, deleted, purged, sent to, its dead letters moved.

use roster_client::queue::{MessageId, Moved, QueueName, Settings};
use serde::Serialize;

use super::paint::{Paint, Tone};
use super::queues::SettingsShown;
use super::screen::Shown;

/// A queue that was created, found, or updated, with its settings.
#[derive(Debug, Serialize)]
pub(crate) struct QueueSet {
    queue: String,
    outcome: &'static str,
    settings: SettingsShown,
}

impl QueueSet {
    pub(crate) fn created(queue: &QueueName, settings: &Settings) -> Self {
        Self::new(queue, "created", settings)
    }

    pub(crate) fn was_there(queue: &QueueName, settings: &Settings) -> Self {
        Self::new(queue, "was there", settings)
    }

    pub(crate) fn updated(queue: &QueueName, settings: &Settings) -> Self {
        Self::new(queue, "updated", settings)
    }

    fn new(queue: &QueueName, outcome: &'static str, settings: &Settings) -> Self {
        Self { queue: queue.as_str().to_owned(), outcome, settings: SettingsShown::new(settings) }
    }
}

impl Shown for QueueSet {
    fn table(&self, _paint: Paint) -> String {
        let verb = if self.outcome == "was there" { "" } else { "is " };
        let mut lines = format!("queue {} {verb}{}\n", self.queue, self.outcome);
        for (name, value) in self.settings.facts() {
            lines.push_str(&format!("  {name:<19}{value}\n"));
        }
        lines
    }

    fn text(&self) -> String {
        format!("{}\t{}\n", self.queue, self.outcome)
    }
}

/// A queue that is gone.
#[derive(Debug, Serialize)]
pub(crate) struct QueueDeleted {
    queue: String,
    messages: u64,
}

impl QueueDeleted {
    pub(crate) fn new(queue: &QueueName, messages: u64) -> Self {
        Self { queue: queue.as_str().to_owned(), messages }
    }
}

impl Shown for QueueDeleted {
    fn table(&self, _paint: Paint) -> String {
        match self.messages {
            0 => format!("queue {} is deleted; it was empty\n", self.queue),
            messages => format!("queue {} is deleted, and {} with it\n", self.queue, counted(messages)),
        }
    }

    fn text(&self) -> String {
        format!("{}\t{}\n", self.queue, self.messages)
    }
}

/// Messages that were removed unread.
#[derive(Debug, Serialize)]
pub(crate) struct Purged {
    queue: String,
    messages: u64,
}

impl Purged {
    pub(crate) fn new(queue: &QueueName, messages: u64) -> Self {
        Self { queue: queue.as_str().to_owned(), messages }
    }
}

impl Shown for Purged {
    fn table(&self, _paint: Paint) -> String {
        format!("{} removed from {}\n", counted(self.messages), self.queue)
    }

    fn text(&self) -> String {
        format!("{}\t{}\n", self.queue, self.messages)
    }
}

/// Dead letters that were requeued or dropped.
#[derive(Debug, Serialize)]
pub(crate) struct DeadMoved {
    queue: String,
    messages: u64,
    /// Of those named, so many were no dead letters.
    unknown: u64,
    #[serde(skip)]
    what: &'static str,
}

impl DeadMoved {
    pub(crate) fn requeued(queue: &QueueName, moved: Moved) -> Self {
        Self::new(queue, moved, "to be delivered again")
    }

    pub(crate) fn dropped(queue: &QueueName, moved: Moved) -> Self {
        Self::new(queue, moved, "removed")
    }

    fn new(queue: &QueueName, moved: Moved, what: &'static str) -> Self {
        Self { queue: queue.as_str().to_owned(), messages: moved.messages, unknown: moved.unknown, what }
    }

    pub(crate) fn are_all_known(&self) -> bool {
        self.unknown == 0
    }
}

impl Shown for DeadMoved {
    fn table(&self, paint: Paint) -> String {
        let letters = if self.messages == 1 { "dead letter" } else { "dead letters" };
        let mut lines = format!("{} {letters} of {} {}\n", self.messages, self.queue, self.what);
        if self.unknown > 0 {
            let unknown = format!("{} of those named are no dead letters of {}", self.unknown, self.queue);
            lines.push_str(&format!("{}\n", paint.text(Tone::Careful, &unknown)));
        }
        lines
    }

    fn text(&self) -> String {
        format!("{}\t{}\t{}\n", self.queue, self.messages, self.unknown)
    }
}

/// What became of what was published.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    pub(crate) queue: String,
    pub(crate) stored: u64,
    /// Stored by an earlier run of the same producer.
    pub(crate) skipped: u64,
    pub(crate) refused: u64,
    /// Not known to be stored.
    pub(crate) unknown: u64,
    pub(crate) first_id: Option<u64>,
    pub(crate) last_id: Option<u64>,
}

impl Sent {
    pub(crate) fn new(queue: &QueueName) -> Self {
        let queue = queue.as_str().to_owned();
        Self { queue, stored: 0, skipped: 0, refused: 0, unknown: 0, first_id: None, last_id: None }
    }

    /// One more is stored; its id is unknown when the answer was lost.
    pub(crate) fn store(&mut self, id: Option<MessageId>) {
        self.stored += 1;
        if let Some(id) = id.map(MessageId::get) {
            self.first_id = Some(self.first_id.map_or(id, |first| first.min(id)));
            self.last_id = Some(self.last_id.map_or(id, |last| last.max(id)));
        }
    }
}

impl Shown for Sent {
    fn table(&self, paint: Paint) -> String {
        let ids = match (self.first_id, self.last_id) {
            (Some(first), Some(last)) if first == last => format!(", id {first}"),
            (Some(first), Some(last)) => format!(", ids {first}\u{2013}{last}"),
            (Some(_) | None, None) | (None, Some(_)) => String::new(),
        };
        let mut lines = format!("{} stored in {}{ids}\n", counted(self.stored), self.queue);
        for (count, what, tone) in [
            (self.skipped, "stored before by this producer, and not sent", Tone::Ordinary),
            (self.refused, "refused", Tone::Careful),
            (self.unknown, "not known to be stored", Tone::Careful),
        ] {
            if count > 0 {
                lines.push_str(&format!("{}\n", paint.text(tone, &format!("{} {what}", counted(count)))));
            }
        }
        lines
    }

    fn text(&self) -> String {
        let id = |id: Option<u64>| id.map(|id| id.to_string()).unwrap_or_default();
        let Self { queue, stored, skipped, refused, unknown, .. } = self;
        format!("{queue}\t{stored}\t{skipped}\t{refused}\t{unknown}\t{}\t{}\n", id(self.first_id), id(self.last_id))
    }
}

fn counted(messages: u64) -> String {
    if messages == 1 { "1 message".to_owned() } else { format!("{messages} messages") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_told_with_its_first_and_last_id() {
        let mut sent = Sent::new(&QueueName::parse("orders").unwrap());
        for id in [7, 3, 5] {
            sent.store(Some(MessageId::new(id)));
        }
        sent.store(None);
        assert_eq!(sent.table(Paint::Plain), "4 messages stored in orders, ids 3\u{2013}7\n");
        sent.refused = 1;
        assert_eq!(sent.table(Paint::Plain).lines().last(), Some("1 message refused"));
        assert_eq!(sent.text(), "orders\t4\t0\t1\t0\t3\t7\n");
    }
}
