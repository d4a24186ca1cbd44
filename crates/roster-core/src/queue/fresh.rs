//! The messages that never failed, in the order in which they were published.
//!
//! Segments of contiguous ids: a message costs its slot and nothing else, finding one is a look into a
//! tree of segments, and a segment goes when its last message goes, so a drained queue gives its memory
//! back. Messages leave from near the front; those few that stay behind (in flight for long) hold a
//! segment each at worst, and are copied out of the buffers in which they came. Segments are shared with snapshots and copied only when written to meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ids::MessageId;
use super::message::Message;
use crate::words::Timestamp;

/// More would make a straggler dearer and a write beside a snapshot slower; fewer, the tree larger.
const SEGMENT_SLOTS: u64 = 128;

/// A segment of which so small a share is left lets go of the buffers that its messages shared with others. Consumers
/// that go on side by side leave more than that behind; what is left below it stays for longer.
const STRAGGLERS: u64 = 8;

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

#[derive(Debug, Clone, Default)]
struct Segment {
    messages: u64,
    bytes: u64,
    /// The most bytes that it had since its messages let go of their buffers.
    bytes_most: u64,
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
        self.push_all(id, [slot].into_iter());
    }

    /// Adds some with ids from `first` on, which is above all that are there.
    pub(super) fn push_all(&mut self, first: MessageId, mut slots: impl ExactSizeIterator<Item = Slot>) {
        let (mut id, end) = (first.get(), first.get() + slots.len() as u64);
        while id < end {
            let last = self.segments.last_key_value().map(|(&first, _)| first);
            let begin = last.filter(|first| id - first < SEGMENT_SLOTS).unwrap_or(id);
            let segment = self.segments.entry(begin).or_default();
            // One copy at most, and one allocation, for all that a segment is given at a time.
            let segment = Arc::make_mut(segment);
            let until = end.min(begin + SEGMENT_SLOTS);
            let (length, capacity) = (segment.slots.len(), segment.slots.capacity());
            if capacity < (until - begin) as usize {
                let doubled = (2 * capacity).min(SEGMENT_SLOTS as usize).max((until - begin) as usize);
                segment.slots.reserve_exact(doubled - length);
            }
            segment.slots.resize_with((id - begin) as usize, || None);
            for slot in slots.by_ref().take((until - id) as usize) {
                let bytes = slot.message.bytes();
                self.bytes += bytes;
                segment.bytes += bytes;
                segment.slots.push(Some(slot));
            }
            segment.bytes_most = segment.bytes_most.max(segment.bytes);
            segment.messages += until - id;
            self.messages += until - id;
            id = until;
        }
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Slot> {
        let (first, segment) = self.segments.range(..=id.get()).next_back()?;
        segment.slots.get((id.get() - first) as usize)?.as_ref()
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Slot> {
        let mut removed = None;
        self.remove_run(&[id], |_, slot| removed = Some(slot));
        removed
    }

    /// Removes the first of these, and those after it, as far as they stand in one segment. How many it removed;
    /// none when the first one is not there.
    pub(super) fn remove_run(&mut self, ids: &[MessageId], mut removed: impl FnMut(MessageId, Slot)) -> usize {
        let Some(&id) = ids.first() else { return 0 };
        let Some((&first, shared)) = self.segments.range_mut(..=id.get()).next_back() else { return 0 };
        let at = |id: MessageId| usize::try_from(id.get().checked_sub(first)?).ok();
        // A segment is copied when a snapshot shares it: look first.
        if at(id).and_then(|at| shared.slots.get(at)?.as_ref()).is_none() {
            return 0;
        }
        let segment = Arc::make_mut(shared);
        let (mut count, mut bytes) = (0, 0);
        for &id in ids {
            let Some(slot) = at(id).and_then(|at| segment.slots.get_mut(at)?.take()) else { break };
            count += 1;
            bytes += slot.message.bytes();
            removed(id, slot);
        }
        self.messages -= count;
        self.bytes -= bytes;
        segment.messages -= count;
        segment.bytes -= bytes;
        if segment.messages == 0 {
            self.segments.remove(&first);
        } else if segment.bytes * STRAGGLERS < segment.bytes_most {
            segment.let_go();
        }
        count as usize
    }

    pub(super) fn last_id(&self) -> Option<MessageId> {
        let (first, segment) = self.segments.last_key_value()?;
        Some(MessageId::new(first + segment.slots.len() as u64 - 1))
    }

    /// By ascending id, from `from` on.
    pub(super) fn from(&self, from: MessageId) -> impl Iterator<Item = (MessageId, &Slot)> {
        let from = from.get();
        let begin = self.segments.range(..=from).next_back().map_or(from, |(&first, _)| first);
        self.segments.range(begin..).flat_map(move |(&first, segment)| segment.from(from.saturating_sub(first), first))
    }

    /// By ascending id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MessageId, &Slot)> {
        self.segments.iter().flat_map(|(&first, segment)| segment.from(0, first))
    }

    /// # Panics
    /// When what is counted is not what is there.
    pub(super) fn check_invariants(&self) {
        let mut beyond = 0;
        for (&first, segment) in &self.segments {
            let messages = segment.slots.iter().flatten().count() as u64;
            assert!(messages > 0, "K7: the segment at {first} is empty");
            assert_eq!(messages, segment.messages, "K3: messages of the segment at {first}");
            let bytes: u64 = segment.slots.iter().flatten().map(|slot| slot.message.bytes()).sum();
            assert_eq!(bytes, segment.bytes, "K3: bytes of the segment at {first}");
            assert!(first >= beyond, "K2: segments overlap at {first}");
            assert!(segment.slots.len() as u64 <= SEGMENT_SLOTS, "K7: the segment at {first} is too long");
            beyond = first + segment.slots.len() as u64;
        }
        assert_eq!(self.iter().count() as u64, self.messages, "K3: fresh messages");
        assert_eq!(self.iter().map(|(_, slot)| slot.message.bytes()).sum::<u64>(), self.bytes, "K3: fresh bytes");
    }
}

impl Segment {
    /// One message that stays must not keep a buffer alive in which it came with a thousand others.
    fn let_go(&mut self) {
        for slot in &mut self.slots {
            *slot = slot.take().map(|slot| Slot { message: slot.message.detached(), ..slot });
        }
        self.bytes_most = self.bytes;
    }

    /// Its messages from the slot `at` on; its first slot has the id `first`.
    fn from(&self, at: u64, first: u64) -> impl Iterator<Item = (MessageId, &Slot)> {
        let slots = usize::try_from(at).ok().and_then(|at| self.slots.get(at..)).unwrap_or_default();
        slots.iter().zip(first + at..).filter_map(|(slot, id)| Some((MessageId::new(id), slot.as_ref()?)))
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
