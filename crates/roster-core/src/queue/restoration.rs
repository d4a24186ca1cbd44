//! The queues from a list of facts. What comes in is not trusted: it may be another program's, or a
//! good file's bad neighbour, and every fault of it is an error that says what.

use super::backlog::{Queue, Totals};
use super::fresh::Slot;
use super::ids::{MessageId, ProducerId, QueueName};
use super::machine::Queues;
use super::message::Message;
use super::producers::Remembered;
use super::records::Record;
use super::settings::{SettingOutOfRange, Settings};
use super::state::StateItem;
use crate::limits::{PRODUCERS_PER_QUEUE_MAX, QUEUES_MAX};
use crate::words::Position;

/// Counters stay below this, so that none of them ever runs over.
const COUNTER_MAX: u64 = 1 << 62;

/// Why a list of facts is not the queues.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("the counters do not stand first and once")]
    Counters,
    #[error("{what} stands after what should follow it, or twice")]
    Disorder { what: String },
    #[error("{what} belongs to no queue")]
    NoQueue { what: String },
    #[error("{what} is {found}, beyond {counter}")]
    BeyondCounter { what: String, found: u64, counter: u64 },
    #[error("queue {queue} breaks a rule: {why}")]
    Queue { queue: QueueName, why: &'static str },
    #[error("the settings of queue {queue} are not possible")]
    Settings { queue: QueueName, source: SettingOutOfRange },
}

impl Queues {
    /// The queues that a list of facts describes; see [`Restoration`] to feed them one by one.
    ///
    /// # Errors
    /// [`RestoreError`] at the first fact that cannot be.
    pub fn restore(items: impl IntoIterator<Item = StateItem>) -> Result<Self, RestoreError> {
        let mut restoration = Restoration::new();
        for item in items {
            restoration.take(item)?;
        }
        restoration.finish()
    }
}

/// Queues that are being put together from their facts.
#[derive(Debug, Default)]
pub struct Restoration {
    queues: Queues,
    begun: bool,
    open: Option<Open>,
}

/// The queue that was named last.
#[derive(Debug)]
struct Open {
    name: QueueName,
    queue: Queue,
    stage: Stage,
}

/// The kind of fact that came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Producers,
    Fresh,
    Failed,
    Dead,
}

impl Restoration {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next fact, in the order of [`StateItem`].
    ///
    /// # Errors
    /// [`RestoreError`] when it cannot be; what was taken before is then of no use either.
    pub fn take(&mut self, item: StateItem) -> Result<(), RestoreError> {
        if self.begun == matches!(item, StateItem::Counters { .. }) {
            return Err(RestoreError::Counters);
        }
        let revision = self.queues.revision;
        match item {
            StateItem::Counters { revision, deleted } => {
                check_counter("the revision", revision.get(), COUNTER_MAX)?;
                check_counter("the last id of deleted queues", deleted.get(), COUNTER_MAX)?;
                self.begun = true;
                self.queues = Queues { revision, deleted, ..Queues::default() };
                Ok(())
            }
            StateItem::Queue { name, settings, last, totals } => self.take_queue(name, settings, last, totals),
            StateItem::Producer { producer, last, used, position } => {
                let open = self.enter(Stage::Producers, || format!("producer {:?}", producer.as_str()))?;
                open.take_producer(producer, Remembered { last, used, position }, revision)
            }
            StateItem::Fresh { id, enqueued, message } => {
                let open = self.enter(Stage::Fresh, || format!("message {id}"))?;
                open.check_id(id, open.queue.fresh.last_id())?;
                open.check_size(&message)?;
                open.queue.fresh.push(id, Slot { message, enqueued });
                Ok(())
            }
            StateItem::Failed { id, enqueued, attempts, due, reason, message } => {
                let open = self.enter(Stage::Failed, || format!("message {id}"))?;
                open.check_id(id, open.queue.failed.last_id())?;
                open.check_size(&message)?;
                let slot = Slot { message, enqueued };
                open.queue.failed.insert(id, Record { slot, attempts, when: due, reason });
                Ok(())
            }
            StateItem::Dead { id, enqueued, attempts, since, reason, message } => {
                let open = self.enter(Stage::Dead, || format!("message {id}"))?;
                open.check_id(id, open.queue.dead.last_id())?;
                open.check_size(&message)?;
                let slot = Slot { message, enqueued };
                open.queue.dead.insert(id, Record { slot, attempts, when: since, reason });
                Ok(())
            }
        }
    }

    /// The queues, when all of their facts were taken.
    ///
    /// # Errors
    /// [`RestoreError`] when something is missing, or a queue is in a state that no command leaves.
    pub fn finish(mut self) -> Result<Queues, RestoreError> {
        if !self.begun {
            return Err(RestoreError::Counters);
        }
        self.close()?;
        Ok(self.queues)
    }

    fn take_queue(
        &mut self,
        name: QueueName,
        settings: Settings,
        last: MessageId,
        totals: Totals,
    ) -> Result<(), RestoreError> {
        self.close()?;
        if self.queues.by_name.last_key_value().is_some_and(|(before, _)| *before >= name) {
            return Err(RestoreError::Disorder { what: format!("queue {name}") });
        }
        if self.queues.by_name.len() >= QUEUES_MAX {
            return Err(RestoreError::Queue { queue: name, why: "there are too many before it" });
        }
        let settings = settings.check().map_err(|source| RestoreError::Settings { queue: name.clone(), source })?;
        check_counter("the last message id", last.get(), COUNTER_MAX)?;
        check_counter("the messages published", totals.published, last.get())?;
        for total in [totals.duplicates, totals.acknowledged, totals.failures, totals.deaths, totals.discarded] {
            check_counter("a total", total, COUNTER_MAX)?;
        }
        let queue = Queue { totals, ..Queue::new(settings, last) };
        self.open = Some(Open { name, queue, stage: Stage::Producers });
        Ok(())
    }

    fn enter(&mut self, stage: Stage, what: impl Fn() -> String) -> Result<&mut Open, RestoreError> {
        let Some(open) = &mut self.open else { return Err(RestoreError::NoQueue { what: what() }) };
        if open.stage > stage {
            return Err(RestoreError::Disorder { what: what() });
        }
        open.stage = stage;
        Ok(open)
    }

    /// The queue named last has all its facts.
    fn close(&mut self) -> Result<(), RestoreError> {
        let Some(Open { name, queue, .. }) = self.open.take() else { return Ok(()) };
        let Totals { published, acknowledged, discarded, .. } = queue.totals;
        if published != queue.kept() + acknowledged + discarded {
            let why = "what was published is not what is kept, acknowledged or discarded";
            return Err(RestoreError::Queue { queue: name, why });
        }
        self.queues.by_name.insert(name, queue);
        Ok(())
    }
}

impl Open {
    fn take_producer(
        &mut self,
        producer: ProducerId,
        known: Remembered,
        revision: Position,
    ) -> Result<(), RestoreError> {
        check_counter("the position of a producer", known.position.get(), revision.get())?;
        check_counter("the sequence of a producer", known.last, u64::MAX - 1)?;
        let producers = &mut self.queue.producers;
        if producers.contains(&producer) || producers.last_position().is_some_and(|last| last >= known.position) {
            return Err(RestoreError::Disorder { what: format!("producer {:?}", producer.as_str()) });
        }
        if producers.len() >= PRODUCERS_PER_QUEUE_MAX {
            return Err(RestoreError::Queue { queue: self.name.clone(), why: "it remembers too many producers" });
        }
        producers.insert(producer, known);
        Ok(())
    }

    fn check_id(&self, id: MessageId, before: Option<MessageId>) -> Result<(), RestoreError> {
        check_counter("a message", id.get(), self.queue.last.get())?;
        if before.is_some_and(|before| before >= id) || self.queue.message(id).is_some() || id.get() == 0 {
            return Err(RestoreError::Disorder { what: format!("message {id}") });
        }
        Ok(())
    }

    /// The settings may have been others when it was published; what no settings allow cannot be.
    fn check_size(&self, message: &Message) -> Result<(), RestoreError> {
        check_counter("the size of a message", message.bytes(), u64::from(crate::limits::MESSAGE_BYTES_MAX))
    }
}

fn check_counter(what: &str, found: u64, counter: u64) -> Result<(), RestoreError> {
    if found > counter {
        return Err(RestoreError::BeyondCounter { what: what.into(), found, counter });
    }
    Ok(())
}
