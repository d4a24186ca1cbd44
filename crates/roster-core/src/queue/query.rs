//! What can be read of the queues. Reading changes nothing, and its order is that of names and ids.

use std::ops::Bound;

use super::backlog::{Queue, Totals};
use super::fresh::Slot;
use super::ids::{MessageId, ProducerId, QueueName};
use super::machine::Queues;
use super::message::Message;
use super::records::Record;
use super::settings::Settings;
use crate::words::Timestamp;

/// How much a queue keeps. Who consumes and what is in flight the dispatcher knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that never failed, those in flight included.
    pub waiting: u64,
    /// Messages that failed and are not dead, those in flight included.
    pub failed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Payloads, content types and headers of all of these.
    pub bytes: u64,
    /// Producers that are remembered.
    pub producers: usize,
}

/// A message as its queue keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    pub id: MessageId,
    pub message: &'a Message,
    /// When it was published.
    pub enqueued: Timestamp,
    /// Deliveries that ended without an acknowledgement.
    pub attempts: u32,
    pub place: Place<'a>,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// It never failed.
    Fresh,
    /// It failed and may be delivered again from `due` on.
    Failed { due: Timestamp, reason: &'a str },
    /// It is a dead letter.
    Dead { since: Timestamp, reason: &'a str },
}

impl Queues {
    /// One queue.
    #[must_use]
    pub fn queue(&self, name: &QueueName) -> Option<&Queue> {
        self.by_name.get(name)
    }

    /// The queues by name, beyond `after` (which need not exist any more).
    pub fn queues<'a>(&'a self, after: Option<&QueueName>) -> impl Iterator<Item = (&'a QueueName, &'a Queue)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_name.range((from, Bound::Unbounded))
    }
}

impl Queue {
    /// What it was created with, or given since.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What happened since it was created.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How much it keeps.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            waiting: self.fresh.len(),
            failed: self.failed.len(),
            dead: self.dead.len(),
            bytes: self.bytes(),
            producers: self.producers.len(),
        }
    }

    /// The last id that it gave out; 0 before the first.
    #[must_use]
    pub fn last_id(&self) -> MessageId {
        self.last
    }

    /// When the oldest message was published that is not a dead letter.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        let fresh = self.fresh.iter().next().map(|(_, slot)| slot.enqueued);
        let failed = self.failed.first().map(|record| record.slot.enqueued);
        fresh.into_iter().chain(failed).min()
    }

    /// Bytes of the dead letters.
    #[must_use]
    pub fn dead_bytes(&self) -> u64 {
        self.dead.bytes()
    }

    /// The last sequence that is stored of a producer; 0 of one that is not known (any more).
    #[must_use]
    pub fn last_sequence(&self, producer: &ProducerId) -> u64 {
        self.producers.last_sequence(producer)
    }

    /// One message.
    #[must_use]
    pub fn message(&self, id: MessageId) -> Option<Stored<'_>> {
        if let Some(slot) = self.fresh.get(id) {
            return Some(fresh(id, slot));
        }
        if let Some(record) = self.failed.get(id) {
            return Some(failed(id, record));
        }
        self.dead.get(id).map(|record| dead(id, record))
    }

    /// The messages that never failed, by id, from `from` on.
    pub fn waiting_from(&self, from: MessageId) -> impl Iterator<Item = Stored<'_>> {
        self.fresh.from(from).map(|(id, slot)| fresh(id, slot))
    }

    /// The messages that never failed, by id.
    pub fn waiting(&self) -> impl Iterator<Item = Stored<'_>> {
        self.fresh.iter().map(|(id, slot)| fresh(id, slot))
    }

    /// The messages that failed, by id, from `from` on.
    pub fn failed(&self, from: MessageId) -> impl Iterator<Item = Stored<'_>> {
        self.failed.from(from).map(|(id, record)| failed(id, record))
    }

    /// The dead letters by id, from `from` on.
    pub fn dead(&self, from: MessageId) -> impl Iterator<Item = Stored<'_>> {
        self.dead.from(from).map(|(id, record)| dead(id, record))
    }
}

fn fresh(id: MessageId, slot: &Slot) -> Stored<'_> {
    Stored { id, message: &slot.message, enqueued: slot.enqueued, attempts: 0, place: Place::Fresh }
}

fn failed(id: MessageId, record: &Record) -> Stored<'_> {
    let place = Place::Failed { due: record.when, reason: record.reason.as_str() };
    Stored { attempts: record.attempts, place, ..fresh(id, &record.slot) }
}

fn dead(id: MessageId, record: &Record) -> Stored<'_> {
    let place = Place::Dead { since: record.when, reason: record.reason.as_str() };
    Stored { attempts: record.attempts, place, ..fresh(id, &record.slot) }
}
