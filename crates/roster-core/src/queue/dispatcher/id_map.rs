//! A map by message id, for messages that lie close together, as those do that are with consumers.
//!
//! A ring of slots, found by arithmetic: in a tree, each delivery and each acknowledgement cost a descent and often
//! an allocation or two, two fifths of the broker's time (docs/performance.md). What lies behind the ring, or keeps
//! it from moving on, stands in a tree; that is little, or not near to the rest.
//!
//! # Always true
//! * **K12, no wider than it is full**: the ring has at most [`SPARSE`] slots for each entry, or [`SLOTS_LEAST`], so
//!   that one message that stays for long costs an entry and not a slot for each message since.

use std::collections::{BTreeMap, VecDeque};

use super::super::ids::MessageId;

/// Slots of the ring for each entry, at most. What is in flight has holes where one consumer is quicker than another.
const SPARSE: usize = 4;
/// The ring may have so many slots, however few of them are full.
const SLOTS_LEAST: usize = 1024;
/// Beyond a gap of so many ids the ring begins anew.
const GAP_MOST: u64 = 64;

#[derive(Debug, Clone)]
pub(super) struct IdMap<T> {
    /// The id of the first slot.
    first: u64,
    /// Neither the first nor the last one is empty.
    ring: VecDeque<Option<T>>,
    aside: BTreeMap<u64, T>,
    len: usize,
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self { first: 0, ring: VecDeque::new(), aside: BTreeMap::new(), len: 0 }
    }
}

impl<T> IdMap<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&T> {
        match self.slot(id).and_then(|at| self.ring.get(at)) {
            Some(Some(entry)) => Some(entry),
            Some(None) | None => self.aside.get(&id.get()),
        }
    }

    pub(super) fn get_mut(&mut self, id: MessageId) -> Option<&mut T> {
        match self.slot(id).and_then(|at| self.ring.get_mut(at)) {
            Some(Some(entry)) => Some(entry),
            Some(None) | None => self.aside.get_mut(&id.get()),
        }
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.get(id).is_some()
    }

    /// What stood there before.
    pub(super) fn insert(&mut self, id: MessageId, entry: T) -> Option<T> {
        if let Some(known) = self.get_mut(id) {
            return Some(std::mem::replace(known, entry));
        }
        self.len += 1;
        let id = id.get();
        if self.ring.is_empty() {
            self.first = id;
        }
        if id < self.first {
            self.aside.insert(id, entry);
            return None;
        }
        let is_far = id >= self.first + self.ring.len() as u64 + GAP_MOST;
        // Each entry is put aside once at most, and paid for when it came.
        while !self.ring.is_empty() && (is_far || id - self.first >= self.slots_max() as u64) {
            self.put_first_aside();
        }
        if self.ring.is_empty() {
            self.first = id;
        }
        let at = (id - self.first) as usize;
        if at >= self.ring.len() {
            self.ring.resize_with(at, || None);
            self.ring.push_back(Some(entry));
        } else {
            self.ring[at] = Some(entry);
        }
        None
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<T> {
        let in_ring = self.slot(id).and_then(|at| self.ring.get_mut(at)?.take());
        let removed = in_ring.or_else(|| self.aside.remove(&id.get()))?;
        self.len -= 1;
        self.trim();
        Some(removed)
    }

    pub(super) fn retain(&mut self, mut stays: impl FnMut(MessageId) -> bool) {
        for (slot, id) in self.ring.iter_mut().zip(self.first..) {
            if slot.is_some() && !stays(MessageId::new(id)) {
                *slot = None;
            }
        }
        self.aside.retain(|&id, _| stays(MessageId::new(id)));
        self.len = self.ring.iter().flatten().count() + self.aside.len();
        self.trim();
    }

    /// In no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, &T)> {
        let in_ring = self.ring.iter().zip(self.first..).filter_map(|(slot, id)| Some((id, slot.as_ref()?)));
        in_ring.chain(self.aside.iter().map(|(&id, entry)| (id, entry))).map(|(id, entry)| (MessageId::new(id), entry))
    }

    /// In no order that means anything.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.ring.iter_mut().flatten().chain(self.aside.values_mut())
    }

    fn slot(&self, id: MessageId) -> Option<usize> {
        usize::try_from(id.get().checked_sub(self.first)?).ok()
    }

    fn slots_max(&self) -> usize {
        (SPARSE * self.len).max(SLOTS_LEAST)
    }

    fn put_first_aside(&mut self) {
        if let Some(Some(entry)) = self.ring.pop_front() {
            self.aside.insert(self.first, entry);
        }
        self.first += 1;
        self.trim_front();
    }

    fn trim_front(&mut self) {
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.first += 1;
        }
    }

    /// After something was removed.
    fn trim(&mut self) {
        self.trim_front();
        while let Some(None) = self.ring.back() {
            self.ring.pop_back();
        }
        let slots_max = self.slots_max();
        while self.ring.len() > slots_max {
            self.put_first_aside();
        }
        // Memory follows by halves, so that it does not come and go with each message.
        if self.ring.capacity() > 2 * slots_max {
            self.ring.shrink_to(slots_max);
        }
    }

    /// # Panics
    /// When the ring is wider than it may be, or something stands in two places.
    pub(super) fn check_invariants(&self) {
        assert!(self.ring.len() <= self.slots_max(), "K12: {} slots for {}", self.ring.len(), self.len);
        let in_ring = self.ring.iter().flatten().count();
        assert_eq!(in_ring + self.aside.len(), self.len, "K12: entries are not what is counted");
        let is_aside = |id: u64| self.slot(MessageId::new(id)).and_then(|at| self.ring.get(at)?.as_ref()).is_none();
        assert!(self.aside.keys().all(|&id| is_aside(id)), "K12: a message stands in two places");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(id: u64) -> MessageId {
        MessageId::new(id)
    }

    #[test]
    fn one_message_that_stays_does_not_widen_the_ring() {
        let mut map = IdMap::default();
        map.insert(id(7), 7);
        for next in 8..20_000 {
            assert_eq!(map.insert(id(next), next), None);
            map.check_invariants();
            if next >= 18 {
                assert_eq!(map.remove(id(next - 10)), Some(next - 10));
            }
        }
        map.check_invariants();
        assert_eq!((map.get(id(7)), map.len()), (Some(&7), 11));
        assert_eq!((map.aside.len(), map.ring.len()), (1, 10), "K12");
        assert!(map.ring.capacity() <= 2 * SLOTS_LEAST, "K12: {}", map.ring.capacity());
    }

    #[test]
    fn messages_far_apart_cost_no_slots_between_them() {
        let mut map = IdMap::default();
        for next in (1..=1_000).rev().chain(1_001..=2_000) {
            map.insert(id(next * 1_000_000_000), next);
            assert!(map.ring.len() <= SLOTS_LEAST, "K12: {} slots", map.ring.len());
        }
        map.check_invariants();
        assert_eq!(map.len(), 2_000);
        assert_eq!((1..=2_000).filter_map(|next| map.remove(id(next * 1_000_000_000))).sum::<u64>(), 2_001_000);
        assert_eq!((map.len(), map.ring.len(), map.aside.len()), (0, 0, 0));
    }

    #[test]
    fn a_ring_that_was_wide_once_gives_its_memory_back() {
        let mut map = IdMap::default();
        (1..=100_000).for_each(|next| assert_eq!(map.insert(id(next), next), None));
        (2..100_000).for_each(|next| assert_eq!(map.remove(id(next)), Some(next)));
        map.check_invariants();
        assert_eq!((map.get(id(1)), map.get(id(100_000)), map.len()), (Some(&1), Some(&100_000), 2));
        assert!(map.ring.capacity() <= 2 * SLOTS_LEAST, "K12: {}", map.ring.capacity());
    }

    proptest! {
        #[test]
        fn it_is_a_map_like_any_other(steps in prop::collection::vec((0..3, 1..400_u64, any::<bool>()), 0..800)) {
            let (mut map, mut book, mut base) = (IdMap::default(), BTreeMap::new(), 0);
            for (step, near, is_on) in steps {
                base += if is_on { near / 8 } else { 0 };
                let key = base + near;
                match step {
                    0 | 1 => prop_assert_eq!(map.insert(id(key), key), book.insert(key, key)),
                    _ => prop_assert_eq!(map.remove(id(key)), book.remove(&key)),
                }
                prop_assert_eq!((map.len(), map.get(id(key)).copied()), (book.len(), book.get(&key).copied()));
                map.check_invariants();
            }
            let mut all: Vec<_> = map.iter().map(|(_, entry)| *entry).collect();
            all.sort_unstable();
            prop_assert_eq!(all, book.values().copied().collect::<Vec<_>>());
            map.retain(|id| id.get() % 3 == 0);
            book.retain(|id, _| id % 3 == 0);
            prop_assert!(book.iter().all(|(&key, entry)| map.get(id(key)) == Some(entry)));
            prop_assert_eq!(map.len(), book.len());
            map.check_invariants();
        }
    }
}
