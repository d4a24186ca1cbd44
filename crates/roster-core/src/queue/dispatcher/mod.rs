//! The dispatcher of one queue: who gets which message next, and who holds one until when.
//!
//! Volatile and pure: it has no socket and no clock, it is told the time, and after a restart of the
//! node it begins anew from what the queue keeps. It changes nothing in the queue; what it finds out
//! (a deadline passed, a consumer left) its caller writes into a command.
//!
//! # Always true
//! * **K8, one holder**: a message in flight is with one consumer, and every index says the same of it.
//! * **K9, windows hold**: no delivery goes to a consumer without a free place in its window, nor beyond
//!   the queue's `in-flight-max`.
//! * **K10, most free first**: a delivery goes to the consumer with the most free window; among equals to
//!   the one whose last delivery (or arrival) is longest ago.
//! * **K11, nothing lost**: each message of the queue that is not dead is ahead, due, in flight or settling,
//!   and only one of these; a dead letter is none of them, but for one that is being acknowledged.
//!
//! New messages and those that are due again take turns, so neither stands in the way of the other
//! (M-1, M-5). Work is logarithmic in what is in flight and due, for each message.

mod consumers;
mod flights;
mod id_map;
mod invariants;

use std::collections::{BTreeMap, BTreeSet};

use super::backlog::{Discarded, Queue};
use super::command::{Attempt, Contents};
use super::effect::{Effects, Fate, Gone, Ready};
use super::ids::{ConsumerId, MessageId, Window};
use super::message::Message;
use super::query::{Place, Stored};
use crate::limits::ACK_TIMEOUT_MILLIS_MAX;
use crate::words::Timestamp;

use consumers::{Consumers, Seat};
use flights::Flights;
use id_map::IdMap;

/// Who consumes a queue, and what each of them holds.
#[derive(Debug, Clone, Default)]
pub struct Dispatcher {
    /// The first fresh message that was never delivered has this id or a higher one: those are ahead.
    ahead: MessageId,
    /// What was delivered before and is to be delivered again, by when.
    due: BTreeSet<(Timestamp, MessageId)>,
    flights: Flights,
    /// What is no more in flight, while the command about it is on its way through the log.
    settling: IdMap<Word>,
    consumers: Consumers,
    next: Next,
}

/// What the newest of the commands says that are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The delivery ended without an acknowledgement.
    Ended,
    /// It is done. Whatever commands before this one say of it, it is not delivered again in between.
    Acknowledged,
}

/// Whose turn it is when both are there.
#[derive(Debug, Clone, Copy, Default)]
enum Next {
    #[default]
    Again,
    Fresh,
}

/// One message on its way to a consumer. It says itself what it is: whatever becomes of the message
/// while this waits to be sent, it leaves as what it was (M-15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: MessageId,
    /// The first is 1.
    pub attempt: u32,
    /// When it was published.
    pub enqueued: Timestamp,
    pub message: Message,
}

/// What each consumer gets, in order.
pub type Deliveries = BTreeMap<ConsumerId, Vec<Delivery>>;

/// How much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub consumers: usize,
    /// Messages with consumers.
    pub in_flight: usize,
    /// Messages whose verdict is on its way through the log.
    pub settling: usize,
    /// Messages that wait for their next delivery after a failed one.
    pub due: usize,
}

impl Dispatcher {
    /// Nobody consumes yet, and everything that the queue keeps is to be delivered.
    #[must_use]
    pub fn new(queue: &Queue) -> Self {
        let failed = queue.failed(MessageId::default());
        Self { due: failed.map(|stored| (due(&stored), stored.id)).collect(), ..Self::default() }
    }

    /// A stream begins to consume, or has another window from here on.
    pub fn join(&mut self, consumer: ConsumerId, window: Window) {
        self.consumers.join(consumer, window);
    }

    /// A stream ended. What it held is to be released, by a command with these attempts (M-11).
    #[must_use]
    pub fn leave(&mut self, consumer: ConsumerId) -> Vec<Attempt> {
        let Some(mut held) = self.consumers.leave(consumer) else { return Vec::new() };
        let mut messages: Vec<_> = self.flights.held(&held).collect();
        messages.sort_unstable();
        let mut attempts = Vec::with_capacity(messages.len());
        for message in messages {
            let Some(attempt) = self.flights.remove(&mut held, message) else { continue };
            self.settling.insert(message, Word::Ended);
            attempts.push(Attempt { message, attempt });
        }
        attempts
    }

    /// A consumer acknowledges. What comes back is what the command should name: also what another
    /// consumer holds meanwhile, or what waits to be delivered again. Of that, nothing is delivered any more.
    #[must_use]
    pub fn acknowledge(&mut self, queue: &Queue, consumer: ConsumerId, messages: &[MessageId]) -> Vec<MessageId> {
        let mut named = Vec::with_capacity(messages.len());
        let seat = self.consumers.seat(consumer);
        for &id in messages {
            let holder = self.flights.get(id).map(|flight| flight.consumer);
            if holder.is_some() && holder == seat {
                self.end_flight(id);
                self.settling.insert(id, Word::Acknowledged);
            } else if let Some(stored) = queue.message(id) {
                // With another consumer it stays in flight until the command is applied. A dead letter may
                // be about to be requeued.
                if holder.is_none() {
                    self.due.remove(&(due(&stored), id));
                    self.settling.insert(id, Word::Acknowledged);
                }
            } else {
                continue;
            }
            named.push(id);
        }
        seat.into_iter().for_each(|seat| self.consumers.settle(seat));
        named
    }

    /// A consumer says that it failed: the attempt for the command, or nothing when it does not hold the
    /// message any more.
    #[must_use]
    pub fn fail(&mut self, consumer: ConsumerId, message: MessageId) -> Option<Attempt> {
        if !self.is_with(consumer, message) {
            return None;
        }
        let attempt = self.end_flight_of(message)?;
        self.settling.insert(message, Word::Ended);
        Some(Attempt { message, attempt })
    }

    /// A consumer gives back what it never began: others get it at once, and it counts as no attempt. Nothing
    /// is to be logged of that.
    pub fn hand_back(&mut self, queue: &Queue, consumer: ConsumerId, messages: &[MessageId]) {
        for &id in messages {
            if self.is_with(consumer, id) {
                self.end_flight_of(id);
                if let Some(stored) = queue.message(id) {
                    self.due.insert((due(&stored), id));
                }
            }
        }
    }

    /// A consumer needs longer (M-12): until this moment, or 12 hours from now. The new deadline, or nothing
    /// when it does not hold the message any more.
    pub fn extend(
        &mut self,
        now: Timestamp,
        consumer: ConsumerId,
        message: MessageId,
        until: Timestamp,
    ) -> Option<Timestamp> {
        if !self.is_with(consumer, message) {
            return None;
        }
        let deadline = until.min(later(now, ACK_TIMEOUT_MILLIS_MAX));
        self.flights.set_deadline(message, deadline);
        Some(deadline)
    }

    /// What was not acknowledged in time, for a command that says so.
    #[must_use]
    pub fn expire(&mut self, now: Timestamp) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        while let Some(message) = self.flights.expired(now)
            && let Some(attempt) = self.end_flight_of(message)
        {
            self.settling.insert(message, Word::Ended);
            attempts.push(Attempt { message, attempt });
        }
        attempts
    }

    /// Everything was at a standstill for so long: whoever holds a message has it for as much longer.
    pub fn postpone(&mut self, millis: u64) {
        self.flights.postpone(millis);
    }

    /// A command about this queue was applied; this is the queue after it. What it gives back is forgotten, perhaps
    /// millions of entries: to be dropped on a thread that has time.
    pub fn take_in(&mut self, queue: &Queue, effects: &Effects) -> Discarded {
        for ready in &effects.ready {
            match *ready {
                // It is ahead.
                Ready::Fresh { .. } => {}
                Ready::Again { message, due, before } => {
                    self.end_flight_of(message);
                    self.due.remove(&(before.unwrap_or_default(), message));
                    if !self.is_acknowledged(message) {
                        self.settling.remove(message);
                        self.due.insert((due, message));
                    }
                }
            }
        }
        for &Gone { message, due, fate } in &effects.gone {
            // What settles is neither in flight nor due (K11).
            if fate == Fate::Removed && self.settling.remove(message).is_some() {
                continue;
            }
            if self.end_flight_of(message).is_none() {
                self.due.remove(&(due.unwrap_or_default(), message));
            }
            if !self.is_acknowledged(message) {
                self.settling.remove(message);
            }
        }
        effects.emptied.map(|contents| self.forget(queue, contents)).unwrap_or_default()
    }

    /// This part of the queue was emptied. Looks at what is with consumers or on its way, and never at all that is due.
    fn forget(&mut self, queue: &Queue, contents: Contents) -> Discarded {
        let is_there = |id: MessageId| queue.message(id).is_some();
        let flown: Vec<_> = self.flights.ids().filter(|&id| !is_there(id)).collect();
        for id in flown {
            self.end_flight_of(id);
        }
        self.settling.retain(is_there);
        // What never failed and was handed back stands first, for it is due at once.
        let is_first = |&&(due, _): &&(Timestamp, MessageId)| due == Timestamp::default();
        let first: Vec<_> = self.due.iter().take_while(is_first).copied().collect();
        match contents {
            Contents::Waiting => {
                for entry in first.iter().filter(|(_, id)| !is_there(*id)) {
                    self.due.remove(entry);
                }
                Discarded::default()
            }
            Contents::Failed | Contents::All => {
                let stays = first.into_iter().filter(|(_, id)| is_there(*id)).collect();
                Discarded::of_due(std::mem::replace(&mut self.due, stays))
            }
            Contents::Dead => Discarded::default(),
        }
    }

    /// All that it knows, perhaps millions of entries: to be dropped on a thread that has time.
    #[must_use]
    pub fn into_discarded(self) -> Discarded {
        Discarded::of_due(self.due)
    }

    /// The log did not take the command about these: they are delivered again.
    pub fn withdraw(&mut self, queue: &Queue, messages: &[MessageId]) {
        for &id in messages {
            if self.settling.remove(id).is_some()
                && let Some(stored) = queue.message(id)
                && !self.is_ahead(&stored)
                && !matches!(stored.place, Place::Dead { .. })
            {
                self.due.insert((due(&stored), id));
            }
        }
    }

    /// Hands out what can be handed out now.
    pub fn deliver(&mut self, now: Timestamp, queue: &Queue, deliveries: &mut Deliveries) {
        let settings = queue.settings();
        let deadline = later(now, settings.ack_timeout_millis);
        let mut fresh = queue.waiting_from(self.ahead);
        while self.flights.len() < settings.in_flight_max as usize
            && let Some(seat) = self.consumers.most_free()
            && let Some(consumer) = self.consumers.id(seat)
            && let Some(Stored { id, message, enqueued, attempts, .. }) = self.take_next(now, queue, &mut fresh)
        {
            let attempt = attempts.saturating_add(1);
            if let Some(held) = self.consumers.held_mut(seat) {
                self.flights.insert(held, id, seat, attempt, deadline);
            }
            self.consumers.served(seat);
            let delivery = Delivery { id, attempt, enqueued, message: message.clone() };
            deliveries.entry(consumer).or_default().push(delivery);
        }
    }

    /// When to come back, if nothing else happens: something expires, or is due and somebody is free.
    #[must_use]
    pub fn next_wake(&self, queue: &Queue) -> Option<Timestamp> {
        let room = self.flights.len() < queue.settings().in_flight_max as usize;
        let due = self.due.first().filter(|_| room && self.consumers.is_anyone_free());
        self.flights.next_deadline().into_iter().chain(due.map(|&(due, _)| due)).min()
    }

    /// How much is under way.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            consumers: self.consumers.len(),
            in_flight: self.flights.len(),
            settling: self.settling.len(),
            due: self.due.len(),
        }
    }

    /// Whether a consumer has this message.
    #[must_use]
    pub fn is_in_flight(&self, message: MessageId) -> bool {
        self.flights.get(message).is_some()
    }

    /// Every consumer by number: its window, and how many messages it holds.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, Window, usize)> {
        self.consumers.iter()
    }

    fn take_next<'a>(
        &mut self,
        now: Timestamp,
        queue: &'a Queue,
        fresh: &mut impl Iterator<Item = Stored<'a>>,
    ) -> Option<Stored<'a>> {
        match self.next {
            Next::Again => self.take_again(now, queue).or_else(|| self.take_fresh(fresh)),
            Next::Fresh => self.take_fresh(fresh).or_else(|| self.take_again(now, queue)),
        }
    }

    fn take_again<'a>(&mut self, now: Timestamp, queue: &'a Queue) -> Option<Stored<'a>> {
        while let Some(&(due, id)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            if let Some(stored) = queue.message(id) {
                self.next = Next::Fresh;
                return Some(stored);
            }
        }
        None
    }

    fn take_fresh<'a>(&mut self, fresh: &mut impl Iterator<Item = Stored<'a>>) -> Option<Stored<'a>> {
        for stored in fresh {
            self.ahead = stored.id.plus(1);
            // A late acknowledgement of before a restart may be on its way.
            if !self.settling.contains(stored.id) {
                self.next = Next::Again;
                return Some(stored);
            }
        }
        None
    }

    fn is_ahead(&self, stored: &Stored<'_>) -> bool {
        stored.place == Place::Fresh && stored.id >= self.ahead
    }

    fn is_acknowledged(&self, message: MessageId) -> bool {
        self.settling.get(message) == Some(&Word::Acknowledged)
    }

    fn is_with(&self, consumer: ConsumerId, message: MessageId) -> bool {
        let holder = self.flights.get(message).map(|flight| flight.consumer);
        holder.is_some() && holder == self.consumers.seat(consumer)
    }

    /// Ends a flight, if there is one: its attempt and its consumer, whose rank is to be settled.
    fn end_flight(&mut self, message: MessageId) -> Option<(u32, Seat)> {
        let seat = self.flights.get(message)?.consumer;
        let attempt = self.flights.remove(self.consumers.held_mut(seat)?, message)?;
        Some((attempt, seat))
    }

    /// Ends a flight, if there is one: its attempt.
    fn end_flight_of(&mut self, message: MessageId) -> Option<u32> {
        let (attempt, seat) = self.end_flight(message)?;
        self.consumers.settle(seat);
        Some(attempt)
    }
}

/// When a message may be delivered again; one that never failed, at once.
fn due(stored: &Stored<'_>) -> Timestamp {
    match stored.place {
        Place::Failed { due, .. } => due,
        Place::Fresh | Place::Dead { .. } => Timestamp::default(),
    }
}

fn later(now: Timestamp, millis: u32) -> Timestamp {
    Timestamp::new(now.get().saturating_add(u64::from(millis)))
}
