//! The producers that a queue remembers, so that what one of them sends again is stored once.
//!
//! Forgotten are those that were silent for a day, and beyond 10 000 the one that was silent longest.
//! A forgotten producer that goes on is told of a gap and takes another id; its messages are never
//! mistaken for duplicates.

use std::collections::BTreeMap;

use super::command::Origin;
use super::ids::ProducerId;
use super::outcome::Refusal;
use crate::limits::{PRODUCER_MEMORY_MILLIS, PRODUCERS_PER_QUEUE_MAX};
use crate::words::{Position, Timestamp};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Producers {
    by_id: BTreeMap<ProducerId, Remembered>,
    /// By the position of their last batch: the silent ones first.
    by_use: BTreeMap<Position, ProducerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The sequence of the last message that was stored; all before it were, too.
    pub(super) last: u64,
    pub(super) used: Timestamp,
    pub(super) position: Position,
}

impl Producers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// 0 of one that is not known.
    pub(super) fn last_sequence(&self, producer: &ProducerId) -> u64 {
        self.by_id.get(producer).map_or(0, |known| known.last)
    }

    /// How many messages at the head of a batch are stored already.
    ///
    /// # Errors
    /// [`Refusal::SequenceGap`] when something between them and the last batch is missing. A batch after
    /// one that was refused must not count as the newer one, or the retry of that one would be lost.
    pub(super) fn duplicates(&self, origin: &Origin, messages: u64) -> Result<u64, Refusal> {
        let expected = self.last_sequence(&origin.producer) + 1;
        let is_possible = origin.first >= 1 && origin.first.checked_add(messages).is_some_and(|end| end < u64::MAX);
        if origin.first > expected || !is_possible {
            return Err(Refusal::SequenceGap { expected, found: origin.first });
        }
        Ok((expected - origin.first).min(messages))
    }

    /// A batch was taken, its duplicates included.
    pub(super) fn note(&mut self, origin: Origin, messages: u64, used: Timestamp, position: Position) {
        let Origin { producer, first } = origin;
        let last = (first + messages).saturating_sub(1);
        let known = self.by_id.get(&producer).copied();
        if let Some(known) = known {
            self.by_use.remove(&known.position);
        } else if self.by_id.len() >= PRODUCERS_PER_QUEUE_MAX {
            self.forget_first();
        }
        let last = known.map_or(last, |known| known.last.max(last));
        self.insert(producer, Remembered { last, used, position });
    }

    pub(super) fn insert(&mut self, producer: ProducerId, remembered: Remembered) {
        self.by_use.insert(remembered.position, producer.clone());
        self.by_id.insert(producer, remembered);
    }

    /// Forgets those that were silent for too long.
    pub(super) fn expire(&mut self, at: Timestamp) {
        while let Some((_, silent)) = self.by_use.first_key_value() {
            let used = self.by_id.get(silent).map_or(0, |known| known.used.get());
            if at.get().saturating_sub(used) <= PRODUCER_MEMORY_MILLIS {
                return;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, producer)) = self.by_use.pop_first() {
            self.by_id.remove(&producer);
        }
    }

    pub(super) fn last_position(&self) -> Option<Position> {
        self.by_use.last_key_value().map(|(&position, _)| position)
    }

    pub(super) fn contains(&self, producer: &ProducerId) -> bool {
        self.by_id.contains_key(producer)
    }

    /// The silent ones first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ProducerId, Remembered)> {
        self.by_use.values().filter_map(|producer| Some((producer, *self.by_id.get(producer)?)))
    }

    /// # Panics
    /// When the two indexes disagree, or there are too many.
    pub(super) fn check_invariants(&self) {
        let by_use = self.by_id.iter().map(|(producer, known)| (known.position, producer.clone())).collect();
        assert_eq!(self.by_use, by_use, "K6: producers by use");
        assert!(self.by_id.len() <= PRODUCERS_PER_QUEUE_MAX, "K6: {} producers", self.by_id.len());
    }
}
