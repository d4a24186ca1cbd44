//! The messages that never failed, in the order in which they were published.
//!
//! Segments of contiguous ids: a message costs its slot and nothing else, finding one is a look into a
//! tree of segments, and a segment goes when its last message goes, so a drained queue gives its memory
//! back. Messages leave from near the front; those few that stay behind (in flight for long) hold a
//! segment each at worst. Segments are shared with snapshots and copied only when written to meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ids::MessageId;
use super::message::Message;
use crate::words::Timestamp;

/// More would make a straggler dearer and a write beside a snapshot slower; fewer, the tree larger.
const SEGMENT_SLOTS: u64 = 128;

/// A message and when it was published. 48 bytes, and an empty slot takes no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) message: Message,
    pub(super) enqueued: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fresh {
    /// By the id of the first slot. None is without messages.
    segments: BTreeMap<u64, Arc<Segment>>,
    messages: u64,
    bytes: u64,
}

#[derive(Debug, Clone)]
struct Segment {
    messages: u64,
    slots: Vec<Option<Slot>>,
}

/// By what is there: where segments begin is history.
impl PartialEq for Fresh {
    fn eq(&self, other: &Self) -> bool {
        self.messages == other.messages && self.bytes == other.bytes && self.iter().eq(other.iter())
    }
}

impl Eq for Fresh {}

impl Fresh {
    pub(super) fn len(&self) -> u64 {
        self.messages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds one whose id is above all that are there.
    pub(super) fn push(&mut self, id: MessageId, slot: Slot) {
        self.messages += 1;
        self.bytes += slot.message.bytes();
        if let Some(mut last) = self.segments.last_entry() {
            let at = id.get() - last.key();
            if at < SEGMENT_SLOTS {
                let segment = Arc::make_mut(last.get_mut());
                segment.messages += 1;
                segment.slots.resize_with(at as usize, || None);
                segment.slots.push(Some(slot));
                return;
            }
        }
        self.segments.insert(id.get(), Arc::new(Segment { messages: 1, slots: vec![Some(slot)] }));
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Slot> {
        let (first, segment) = self.segments.range(..=id.get()).next_back()?;
        segment.slots.get((id.get() - first) as usize)?.as_ref()
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Slot> {
        let (&first, segment) = self.segments.range_mut(..=id.get()).next_back()?;
        let at = (id.get() - first) as usize;
        // A segment is copied when a snapshot shares it: look first.
        segment.slots.get(at)?.as_ref()?;
        let segment = Arc::make_mut(segment);
        let slot = segment.slots[at].take()?;
        segment.messages -= 1;
        if segment.messages == 0 {
            self.segments.remove(&first);
        }
        self.messages -= 1;
        self.bytes -= slot.message.bytes();
        Some(slot)
    }

    /// The first one whose id is `from` or above.
    pub(super) fn next_from(&self, from: MessageId) -> Option<(MessageId, &Slot)> {
        let from = from.get();
        let within = self.segments.range(..=from).next_back();
        let here = within.and_then(|(&first, segment)| segment.first_at((from - first) as usize, first));
        here.or_else(|| {
            let (&first, segment) = self.segments.range(from.checked_add(1)?..).next()?;
            segment.first_at(0, first)
        })
    }

    pub(super) fn last_id(&self) -> Option<MessageId> {
        let (first, segment) = self.segments.last_key_value()?;
        Some(MessageId::new(first + segment.slots.len() as u64 - 1))
    }

    /// By ascending id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, &Slot)> {
        self.segments.iter().flat_map(|(&first, segment)| {
            let numbered = segment.slots.iter().zip(first..);
            numbered.filter_map(|(slot, id)| Some((MessageId::new(id), slot.as_ref()?)))
        })
    }

    /// # Panics
    /// When what is counted is not what is there.
    pub(super) fn check_invariants(&self) {
        let mut beyond = 0;
        for (&first, segment) in &self.segments {
            let messages = segment.slots.iter().flatten().count() as u64;
            assert!(messages > 0, "K7: the segment at {first} is empty");
            assert_eq!(messages, segment.messages, "K3: messages of the segment at {first}");
            assert!(first >= beyond, "K2: segments overlap at {first}");
            assert!(segment.slots.len() as u64 <= SEGMENT_SLOTS, "K7: the segment at {first} is too long");
            beyond = first + segment.slots.len() as u64;
        }
        assert_eq!(self.iter().count() as u64, self.messages, "K3: fresh messages");
        assert_eq!(self.iter().map(|(_, slot)| slot.message.bytes()).sum::<u64>(), self.bytes, "K3: fresh bytes");
    }
}

impl Segment {
    fn first_at(&self, at: usize, first: u64) -> Option<(MessageId, &Slot)> {
        let slots = self.slots.get(at..)?;
        let (index, slot) = slots.iter().enumerate().find_map(|(index, slot)| Some((index, slot.as_ref()?)))?;
        Some((MessageId::new(first + (at + index) as u64), slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_costs_what_its_head_says() {
        assert_eq!(size_of::<Option<Slot>>(), 48);
    }
}
