//! One queue at work: its dispatcher, the streams that publish to it and consume from it, and what is
//! gathered for the log. Exists while somebody has to do with the queue; its messages are elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roster_core::Timestamp;
use roster_core::queue::{ConsumerId, Deliveries, Dispatcher, Failure, Queue, QueueName, Reason, Window};
use tonic::Status;

use super::chance::Chance;
use super::deliveries::DeliveryBox;
use super::gathered::Gathered;
use super::mail::{Nack, Words};
use super::rates::Rates;
use super::results::ResultBox;
use super::room::Room;

/// A lane is made from all that is due again: with more than this it stays, and with it what it knows of that.
const DUE_FORGOTTEN_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) dispatcher: Dispatcher,
    pub(super) room: Arc<Room>,
    pub(super) consumers: BTreeMap<ConsumerId, Consumer>,
    /// By the number of their stream.
    pub(super) producers: HashMap<u64, Arc<ResultBox>>,
    pub(super) gathered: Gathered,
    pub(super) rates: Rates,
    /// What stands in the order of wakes.
    pub(super) wake: Option<Timestamp>,
    /// Something happened this turn.
    pub(super) is_touched: bool,
    /// It stands among those that have something for the log.
    pub(super) is_eager: bool,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) deliveries: Arc<DeliveryBox>,
    window: Window,
    /// It has more unread than its window: it gets nothing until it has read.
    is_paused: bool,
}

impl Lane {
    pub(super) fn new(name: &QueueName, queue: &Queue) -> Self {
        let room = Room::new(name.clone());
        room.look_at(queue);
        Self {
            dispatcher: Dispatcher::new(queue),
            room,
            consumers: BTreeMap::new(),
            producers: HashMap::new(),
            gathered: Gathered::default(),
            rates: Rates::default(),
            wake: None,
            is_touched: false,
            is_eager: false,
        }
    }

    /// Nothing would be lost with it but the rates, and it is soon made again.
    pub(super) fn is_idle(&self) -> bool {
        let traffic = self.dispatcher.traffic();
        let is_small = traffic.due <= DUE_FORGOTTEN_MAX;
        let is_quiet = traffic.in_flight == 0 && traffic.settling == 0 && self.gathered.is_empty() && is_small;
        let is_alone = self.consumers.is_empty() && self.producers.is_empty() && Arc::strong_count(&self.room) == 1;
        is_quiet && is_alone
    }

    pub(super) fn join(&mut self, consumer: ConsumerId, window: Window, deliveries: Arc<DeliveryBox>) {
        self.dispatcher.join(consumer, window);
        self.consumers.insert(consumer, Consumer { deliveries, window, is_paused: false });
    }

    /// A stream ended: what it holds is released.
    pub(super) fn leave(&mut self, consumer: ConsumerId) {
        self.gathered.released.extend(self.dispatcher.leave(consumer));
        if let Some(consumer) = self.consumers.remove(&consumer) {
            consumer.deliveries.finish();
        }
    }

    pub(super) fn take_words(
        &mut self,
        now: Timestamp,
        queue: &Queue,
        consumer: ConsumerId,
        words: Words,
        chance: &mut Chance,
    ) {
        let Words { acknowledged, failed, handed_back, extended, window, confirm, permit } = words;
        let named = self.dispatcher.acknowledge(queue, consumer, &acknowledged);
        if self.gathered.acknowledged.is_empty() {
            self.gathered.acknowledged = named;
        } else {
            self.gathered.acknowledged.extend(named);
        }
        for Nack { message, reason, delay } in failed {
            if let Some(attempt) = self.dispatcher.fail(consumer, message) {
                let back_off = || queue.settings().back_off(attempt.attempt, chance.next());
                let delay = delay.unwrap_or_else(back_off);
                self.gathered.failures.push(Failure { attempt, delay, reason });
            }
        }
        self.dispatcher.hand_back(queue, consumer, &handed_back);
        for (message, millis) in extended {
            let until = Timestamp::new(now.get().saturating_add(millis.into()));
            // What it does not hold any more it learns when it acknowledges.
            let _ = self.dispatcher.extend(now, consumer, message, until);
        }
        let Some(known) = self.consumers.get_mut(&consumer) else { return };
        if let Some(window) = window {
            known.window = window;
            if !known.is_paused {
                self.dispatcher.join(consumer, window);
            }
        }
        if confirm > 0 {
            self.gathered.said.confirms.push((known.deliveries.clone(), confirm));
        }
        self.gathered.said.permits.extend(permit);
    }

    /// What nobody answered in time has failed.
    pub(super) fn expire(&mut self, now: Timestamp, queue: &Queue, chance: &mut Chance) {
        for attempt in self.dispatcher.expire(now) {
            let delay = queue.settings().back_off(attempt.attempt, chance.next());
            let reason = Reason::new("not acknowledged in time");
            self.gathered.failures.push(Failure { attempt, delay, reason });
        }
    }

    /// Hands out what can be handed out. Who has more unread than its window is paused and named.
    pub(super) fn deliver(
        &mut self,
        now: Timestamp,
        queue: &Queue,
        to_wake: &mut Vec<Arc<DeliveryBox>>,
        paused: &mut Vec<ConsumerId>,
    ) {
        let mut deliveries = Deliveries::new();
        self.dispatcher.deliver(now, queue, &mut deliveries);
        for (id, deliveries) in deliveries {
            let Some(consumer) = self.consumers.get_mut(&id) else { continue };
            let (unread, is_first) = consumer.deliveries.put(deliveries);
            if is_first {
                to_wake.push(consumer.deliveries.clone());
            }
            if unread > consumer.window.messages() as usize && !consumer.is_paused {
                consumer.is_paused = true;
                self.dispatcher.join(id, closed_window());
                paused.push(id);
            }
        }
    }

    /// Lets a paused consumer go on when it has read everything. Whether it stays paused.
    pub(super) fn stays_paused(&mut self, id: ConsumerId) -> bool {
        let Some(consumer) = self.consumers.get_mut(&id) else { return false };
        if consumer.deliveries.unread() > 0 {
            return true;
        }
        consumer.is_paused = false;
        self.dispatcher.join(id, consumer.window);
        false
    }

    /// Every stream of it ends so, and nobody waits for room.
    pub(super) fn close(&mut self, status: &Status) {
        for consumer in self.consumers.values() {
            consumer.deliveries.end(status.clone());
        }
        for results in self.producers.values() {
            results.end(status.clone());
        }
    }
}

fn closed_window() -> Window {
    Window::of_messages(0).unwrap_or_default()
}
