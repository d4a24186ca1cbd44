//! What is in flight: with whom, for which time, and until when.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::{ConsumerId, MessageId};
use crate::words::Timestamp;

#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) consumer: ConsumerId,
    pub(super) attempt: u32,
    pub(super) deadline: Timestamp,
}

/// Flights by message and by deadline.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights {
    by_id: BTreeMap<MessageId, Flight>,
    by_deadline: BTreeSet<(Timestamp, MessageId)>,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Flight> {
        self.by_id.get(&id)
    }

    pub(super) fn insert(&mut self, id: MessageId, flight: Flight) {
        self.by_deadline.insert((flight.deadline, id));
        let before = self.by_id.insert(id, flight);
        debug_assert!(before.is_none(), "K8: message {id} is in flight already");
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Flight> {
        let flight = self.by_id.remove(&id)?;
        self.by_deadline.remove(&(flight.deadline, id));
        Some(flight)
    }

    pub(super) fn set_deadline(&mut self, id: MessageId, deadline: Timestamp) {
        if let Some(flight) = self.by_id.get_mut(&id) {
            self.by_deadline.remove(&(flight.deadline, id));
            self.by_deadline.insert((deadline, id));
            flight.deadline = deadline;
        }
    }

    pub(super) fn postpone(&mut self, millis: u64) {
        for flight in self.by_id.values_mut() {
            flight.deadline = Timestamp::new(flight.deadline.get().saturating_add(millis));
        }
        self.by_deadline = self.by_id.iter().map(|(&id, flight)| (flight.deadline, id)).collect();
    }

    /// The first one whose deadline has passed, and its attempt.
    pub(super) fn expired(&self, now: Timestamp) -> Option<(MessageId, u32)> {
        let &(_, id) = self.by_deadline.first().filter(|(deadline, _)| *deadline <= now)?;
        Some((id, self.by_id.get(&id)?.attempt))
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.by_id.keys().copied()
    }

    /// # Panics
    /// When the two indexes disagree.
    pub(super) fn check_invariants(&self) {
        let by_deadline = self.by_id.iter().map(|(&id, flight)| (flight.deadline, id)).collect();
        assert_eq!(self.by_deadline, by_deadline, "K8: flights by deadline");
    }
}
