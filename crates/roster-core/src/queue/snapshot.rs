//! The queues as a list of facts. Taking a snapshot copies tables of references, not messages; the list
//! is made while it is read, on the thread that reads it.

use super::backlog::Queue;
use super::ids::QueueName;
use super::machine::Queues;
use super::records::Record;
use super::state::StateItem;
use crate::words::Position;

/// The queues as they were at one position.
#[derive(Debug, Clone)]
pub struct Snapshot(Queues);

impl Queues {
    /// The queues as they are. What commands change meanwhile is copied then, a hundred messages at a time.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }
}

impl Snapshot {
    /// The position of the last command that it contains.
    #[must_use]
    pub fn revision(&self) -> Position {
        self.0.revision
    }

    /// Every fact, in the order that [`Queues::restore`] takes.
    pub fn items(&self) -> impl Iterator<Item = StateItem> {
        let counters = StateItem::Counters { revision: self.0.revision, deleted: self.0.deleted };
        std::iter::once(counters).chain(self.0.by_name.iter().flat_map(|(name, queue)| items_of(name, queue)))
    }
}

fn items_of<'a>(name: &'a QueueName, queue: &'a Queue) -> impl Iterator<Item = StateItem> + 'a {
    let Queue { settings, last, totals, fresh, failed, dead, producers } = queue;
    let head = StateItem::Queue { name: name.clone(), settings: *settings, last: *last, totals: *totals };
    let producers = producers.iter().map(|(producer, known)| StateItem::Producer {
        producer: producer.clone(),
        last: known.last,
        used: known.used,
        position: known.position,
    });
    let fresh =
        fresh.iter().map(|(id, slot)| StateItem::Fresh { id, enqueued: slot.enqueued, message: slot.message.clone() });
    let failed = failed.from(Default::default()).map(|(id, record)| {
        let Record { slot, attempts, when: due, reason } = record.clone();
        StateItem::Failed { id, enqueued: slot.enqueued, attempts, due, reason, message: slot.message }
    });
    let dead = dead.from(Default::default()).map(|(id, record)| {
        let Record { slot, attempts, when: since, reason } = record.clone();
        StateItem::Dead { id, enqueued: slot.enqueued, attempts, since, reason, message: slot.message }
    });
    std::iter::once(head).chain(producers).chain(fresh).chain(failed).chain(dead)
}
