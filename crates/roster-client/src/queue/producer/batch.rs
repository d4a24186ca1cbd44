//! Messages that are sent together.

use std::time::Instant;

use roster_core::queue::Message;

/// One message and who waits for it.
#[derive(Debug)]
pub(super) struct Entry<K> {
    pub(super) message: Message,
    /// Nobody, when it waited for too long.
    pub(super) key: Option<K>,
    /// Until when.
    pub(super) due: Option<Instant>,
}

/// Messages with sequences in a row.
#[derive(Debug)]
pub(super) struct Batch<K> {
    pub(super) first: u64,
    /// At least one, in a batch that is under way.
    pub(super) entries: Vec<Entry<K>>,
    pub(super) bytes: u64,
    /// The earliest moment at which somebody has waited for too long.
    pub(super) due: Option<Instant>,
    /// Sent once or more, under whatever id.
    pub(super) ever_sent: bool,
    /// Sent under the present id on a stream that broke before the answer.
    pub(super) doubtful: bool,
}

impl<K> Batch<K> {
    pub(super) fn new(first: u64) -> Self {
        Self { first, entries: Vec::new(), bytes: 0, due: None, ever_sent: false, doubtful: false }
    }

    pub(super) fn push(&mut self, entry: Entry<K>) {
        self.bytes += entry.message.bytes();
        self.due = self.due.or(entry.due);
        self.entries.push(entry);
    }

    /// The sequence of the last message.
    pub(super) fn last(&self) -> u64 {
        (self.first + self.entries.len() as u64).saturating_sub(1)
    }

    /// Keeps so many; the rest is a batch of its own. `None` when either would be empty.
    pub(super) fn split_off(&mut self, at: usize) -> Option<Self> {
        if at == 0 || at >= self.entries.len() {
            return None;
        }
        let entries = self.entries.split_off(at);
        let bytes = entries.iter().map(|entry| entry.message.bytes()).sum();
        self.bytes -= bytes;
        let first = self.last() + 1;
        let due_of = |entries: &[Entry<K>]| entries.iter().find(|e| e.key.is_some()).and_then(|e| e.due);
        self.due = due_of(&self.entries);
        Some(Self { first, bytes, due: due_of(&entries), entries, ..*self })
    }

    /// Those who have waited for too long, and what for. The messages stay.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(K, Message)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let late = self.entries.iter_mut().filter(|entry| entry.due.is_some_and(|due| due <= now));
        let late = late.filter_map(|entry| Some((entry.key.take()?, entry.message.clone()))).collect();
        self.due = self.entries.iter().find(|entry| entry.key.is_some()).and_then(|entry| entry.due);
        late
    }
}
