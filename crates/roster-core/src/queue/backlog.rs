//! One queue: its messages, each in one of three places, and how they move between them.
//!
//! ```text
//!  publish ──► fresh ──fail, release──► failed ──the last attempt──► dead
//!                │                       │  ▲                         │ │
//!                └──────acknowledge──────┘  └─────────requeue─────────┘ └──drop, acknowledge──►
//! ```

use std::collections::BTreeSet;

use super::command::{Attempt, Contents, DeadLetters, Failure, Origin};
use super::effect::{Effects, Fate, Gone, Ready};
use super::fresh::{Fresh, Slot};
use super::ids::{MessageId, QueueName};
use super::message::{Message, Reason};
use super::outcome::{Outcome, Refusal};
use super::producers::Producers;
use super::records::{Record, Records};
use super::settings::Settings;
use super::turn::Turn;
use crate::words::Timestamp;

/// One queue, to be read; commands change it. A copy is cheap: it shares the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub(super) settings: Settings,
    /// The last id that was given out.
    pub(super) last: MessageId,
    pub(super) totals: Totals,
    pub(super) fresh: Fresh,
    pub(super) failed: Records,
    pub(super) dead: Records,
    pub(super) producers: Producers,
}

/// What happened in a queue since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages that were stored.
    pub published: u64,
    /// Messages of producers that were stored already.
    pub duplicates: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that ended without an acknowledgement.
    pub failures: u64,
    /// Messages that became dead letters.
    pub deaths: u64,
    /// Messages that were purged, and dead letters that were dropped.
    pub discarded: u64,
}

/// Messages, or what a dispatcher knew of them, that nobody needs any more: to be dropped where there is time for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discarded(Vec<Kept>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Fresh(Fresh),
    Records(Records),
    Due(BTreeSet<(Timestamp, MessageId)>),
}

impl Discarded {
    pub(super) fn of_due(due: BTreeSet<(Timestamp, MessageId)>) -> Self {
        Self(if due.is_empty() { Vec::new() } else { vec![Kept::Due(due)] })
    }
}

impl Queue {
    /// An empty queue whose messages have ids above `last`.
    pub(super) fn new(settings: Settings, last: MessageId) -> Self {
        Self {
            settings,
            last,
            totals: Totals::default(),
            fresh: Fresh::default(),
            failed: Records::default(),
            dead: Records::default(),
            producers: Producers::default(),
        }
    }

    pub(super) fn publish(
        &mut self,
        turn: &mut Turn<'_>,
        name: QueueName,
        origin: Option<Origin>,
        messages: Vec<Message>,
    ) -> Result<Outcome, Refusal> {
        let all = messages.len() as u64;
        let duplicates = origin.as_ref().map_or(Ok(0), |origin| self.producers.duplicates(origin, all))?;
        let new = messages.get(duplicates as usize..).unwrap_or_default();
        self.check_room(name, new, duplicates)?;

        let first = self.last.plus(1);
        let (stored, enqueued) = (all - duplicates, turn.at);
        let new = messages.into_iter().skip(duplicates as usize);
        self.fresh.push_all(first, new.map(|message| Slot { message, enqueued }));
        self.last = self.last.plus(stored);
        self.totals.published += stored;
        self.totals.duplicates += duplicates;
        if let Some(origin) = origin {
            self.producers.note(origin, all, turn.at, turn.position);
            self.producers.expire(turn.at);
        }
        if stored > 0 {
            turn.effects.ready.push(Ready::Fresh { first, messages: stored });
        }
        Ok(Outcome::Published { first, stored, duplicates })
    }

    fn check_room(&self, name: QueueName, new: &[Message], duplicates: u64) -> Result<(), Refusal> {
        let max = u64::from(self.settings.message_bytes_max);
        let mut bytes = 0;
        for (message, index) in new.iter().zip(duplicates..) {
            let size = message.bytes();
            if size > max {
                return Err(Refusal::MessageTooLarge { index, bytes: size, max });
            }
            bytes += size;
        }
        let full = |unit, kept, dead, max| Err(Refusal::QueueFull { queue: name, unit, kept, dead, max });
        if !new.is_empty() && self.kept() + new.len() as u64 > self.settings.waiting_max {
            return full("messages", self.kept(), self.dead.len(), self.settings.waiting_max);
        }
        if bytes > 0 && self.bytes() + bytes > self.settings.waiting_bytes_max {
            return full("bytes", self.bytes(), self.dead.bytes(), self.settings.waiting_bytes_max);
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, effects: &mut Effects, messages: &[MessageId]) -> Outcome {
        let before = effects.gone.len();
        let mut gone = |message, due| effects.gone.push(Gone { message, due, fate: Fate::Removed });
        let mut rest = messages;
        while let [message, others @ ..] = rest {
            let run = self.fresh.remove_run(rest, |message, _| gone(message, None));
            if run == 0 {
                if let Some(record) = self.failed.remove(*message) {
                    gone(*message, Some(record.when));
                } else if self.dead.remove(*message).is_some() {
                    gone(*message, None);
                }
            }
            rest = if run == 0 { others } else { &rest[run..] };
        }
        let removed = (effects.gone.len() - before) as u64;
        self.totals.acknowledged += removed;
        Outcome::Acknowledged { removed, unknown: messages.len() as u64 - removed }
    }

    pub(super) fn fail(&mut self, turn: &mut Turn<'_>, failures: Vec<Failure>) -> Outcome {
        let mut ended = Ended::default();
        for Failure { attempt, delay, reason } in failures {
            let due = Timestamp::new(turn.at.get().saturating_add(u64::from(delay.millis())));
            self.end(turn, attempt, due, reason, &mut ended);
        }
        ended.outcome()
    }

    pub(super) fn release(&mut self, turn: &mut Turn<'_>, attempts: &[Attempt]) -> Outcome {
        let mut ended = Ended::default();
        let reason = Reason::new("its consumer left without a verdict");
        for &attempt in attempts {
            self.end(turn, attempt, turn.at, reason.clone(), &mut ended);
        }
        ended.outcome()
    }

    /// A delivery ended without an acknowledgement.
    fn end(&mut self, turn: &mut Turn<'_>, ending: Attempt, due: Timestamp, reason: Reason, ended: &mut Ended) {
        let Attempt { message, attempt } = ending;
        let (slot, was_due) = match self.failed.get(message).map(|record| record.attempts) {
            Some(attempts) if attempts.saturating_add(1) == attempt => {
                let Some(record) = self.failed.remove(message) else { return };
                (record.slot, Some(record.when))
            }
            Some(_) => return ended.stale += 1,
            None if attempt == 1 => match self.fresh.remove(message) {
                Some(Slot { message, enqueued }) => (Slot { message: message.detached(), enqueued }, None),
                None => return ended.stale += 1,
            },
            None => return ended.stale += 1,
        };
        self.totals.failures += 1;
        if attempt >= self.settings.attempts_max {
            ended.dead += 1;
            self.totals.deaths += 1;
            self.dead.insert(message, Record { slot, attempts: attempt, when: turn.at, reason });
            turn.effects.gone.push(Gone { message, due: was_due, fate: Fate::Dead });
        } else {
            ended.again += 1;
            self.failed.insert(message, Record { slot, attempts: attempt, when: due, reason });
            turn.effects.ready.push(Ready::Again { message, due, before: was_due });
        }
    }

    pub(super) fn purge(&mut self, effects: &mut Effects, contents: Contents) -> Outcome {
        let before = self.kept();
        let (waiting, failed, dead) = match contents {
            Contents::Waiting => (true, false, false),
            Contents::Failed => (false, true, false),
            Contents::Dead => (false, false, true),
            Contents::All => (true, true, true),
        };
        if waiting {
            effects.discarded.0.push(Kept::Fresh(std::mem::take(&mut self.fresh)));
        }
        if failed {
            effects.discarded.0.push(Kept::Records(std::mem::take(&mut self.failed)));
        }
        if dead {
            effects.discarded.0.push(Kept::Records(std::mem::take(&mut self.dead)));
        }
        let messages = before - self.kept();
        self.totals.discarded += messages;
        effects.emptied = Some(contents);
        Outcome::Moved { messages, unknown: 0 }
    }

    pub(super) fn requeue_dead(&mut self, turn: &mut Turn<'_>, dead: DeadLetters) -> Outcome {
        let due = turn.at;
        let take_back = |queue: &mut Self, message, record: Record| {
            queue.failed.insert(message, Record { attempts: 0, when: due, ..record });
            turn.effects.ready.push(Ready::Again { message, due, before: None });
        };
        self.take_dead(dead, take_back)
    }

    pub(super) fn drop_dead(&mut self, effects: &mut Effects, dead: DeadLetters) -> Outcome {
        match dead {
            DeadLetters::All => self.purge(effects, Contents::Dead),
            DeadLetters::These(_) => self.take_dead(dead, |queue, message, _| {
                queue.totals.discarded += 1;
                effects.gone.push(Gone { message, due: None, fate: Fate::Removed });
            }),
        }
    }

    fn take_dead(&mut self, dead: DeadLetters, mut take: impl FnMut(&mut Self, MessageId, Record)) -> Outcome {
        let ids = match dead {
            DeadLetters::All => self.dead.from(MessageId::default()).map(|(id, _)| id).collect(),
            DeadLetters::These(ids) => ids,
        };
        let mut messages = 0;
        for &id in &ids {
            if let Some(record) = self.dead.remove(id) {
                messages += 1;
                take(self, id, record);
            }
        }
        Outcome::Moved { messages, unknown: ids.len() as u64 - messages }
    }

    /// Messages in all three places.
    pub(super) fn kept(&self) -> u64 {
        self.fresh.len() + self.failed.len() + self.dead.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.fresh.bytes() + self.failed.bytes() + self.dead.bytes()
    }
}

/// What became of deliveries.
#[derive(Default)]
struct Ended {
    again: u64,
    dead: u64,
    stale: u64,
}

impl Ended {
    fn outcome(self) -> Outcome {
        Outcome::Ended { again: self.again, dead: self.dead, stale: self.stale }
    }
}
