//! The consumers of a queue, in the order in which they get messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::{ConsumerId, MessageId, Window};
use super::flights::Flights;

#[derive(Debug, Clone, Default)]
pub(super) struct Consumers {
    by_id: BTreeMap<ConsumerId, Consumer>,
    /// Those with a free place.
    free: BTreeSet<Rank>,
    /// Counts deliveries and arrivals.
    clock: u64,
}

#[derive(Debug, Clone)]
struct Consumer {
    window: Window,
    held: BTreeSet<MessageId>,
    /// The clock at its last delivery or its arrival.
    served: u64,
    /// What stands in the order of the free ones.
    rank: Option<Rank>,
}

/// Most free first, then who waited longest.
type Rank = (Reverse<usize>, u64, ConsumerId);

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn join(&mut self, id: ConsumerId, window: Window) {
        self.clock += 1;
        let served = self.clock;
        let new = || Consumer { window, held: BTreeSet::new(), served, rank: None };
        self.by_id.entry(id).or_insert_with(new).window = window;
        self.settle(id);
    }

    /// What it held, by ascending id.
    pub(super) fn leave(&mut self, id: ConsumerId) -> BTreeSet<MessageId> {
        let Some(consumer) = self.by_id.remove(&id) else { return BTreeSet::new() };
        if let Some(rank) = consumer.rank {
            self.free.remove(&rank);
        }
        consumer.held
    }

    pub(super) fn most_free(&self) -> Option<ConsumerId> {
        self.free.first().map(|&(_, _, id)| id)
    }

    pub(super) fn gave(&mut self, id: ConsumerId, message: MessageId) {
        self.clock += 1;
        if let Some(consumer) = self.by_id.get_mut(&id) {
            consumer.held.insert(message);
            consumer.served = self.clock;
        }
        self.settle(id);
    }

    /// It does not hold this message any more. Its rank is to be settled when all such words are said.
    pub(super) fn took_back(&mut self, id: ConsumerId, message: MessageId) {
        if let Some(consumer) = self.by_id.get_mut(&id) {
            consumer.held.remove(&message);
        }
    }

    /// Puts a consumer where it belongs among the free ones.
    pub(super) fn settle(&mut self, id: ConsumerId) {
        let Some(consumer) = self.by_id.get_mut(&id) else { return };
        let rank = consumer.rank_of(id);
        if rank != consumer.rank {
            let before = std::mem::replace(&mut consumer.rank, rank);
            before.map(|rank| self.free.remove(&rank));
            self.free.extend(rank);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConsumerId, Window, usize)> {
        self.by_id.iter().map(|(&id, consumer)| (id, consumer.window, consumer.held.len()))
    }

    /// # Panics
    /// When the indexes disagree, or with what is in flight.
    pub(super) fn check_invariants(&self, flights: &Flights) {
        let ranks = self.by_id.iter().filter_map(|(&id, consumer)| consumer.rank_of(id)).collect();
        assert_eq!(self.free, ranks, "K10: who is free");
        let held: usize = self.by_id.values().map(|consumer| consumer.held.len()).sum();
        assert_eq!(held, flights.len(), "K8: what consumers hold is not what is in flight");
        for (&id, consumer) in &self.by_id {
            let own = |message: &MessageId| flights.get(*message).is_some_and(|flight| flight.consumer == id);
            assert!(consumer.held.iter().all(own), "K8: consumer {id} holds what is not in flight to it");
        }
    }
}

impl Consumer {
    fn rank_of(&self, id: ConsumerId) -> Option<Rank> {
        let free = (self.window.messages() as usize).saturating_sub(self.held.len());
        (free > 0).then_some((Reverse(free), self.served, id))
    }
}
