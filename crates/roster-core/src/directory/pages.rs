//! The records of all instances, by id, in pages.
//!
//! Ids ascend, so pages are full; a tree of single entries would be half empty and need a piece of memory
//! for each record. A copy of all shares the pages: taking one is a step for each page, not for each
//! record, and what commands change meanwhile is copied then, a page at a time. The directory is not
//! stopped for a snapshot any longer than that takes (docs/performance.md).
//!
//! # Always true
//! * **D14, pages ascend**: each page has 1 to [`PAGE_MAX`] slots by ascending id, none below the key of its
//!   page or at the key of the next; more than half of them have a record; what is counted is there.

use std::collections::BTreeMap;
use std::ops::{Bound, Index};
use std::sync::Arc;

use crate::words::InstanceId;

use super::record::Record;

/// More would make a change beside a snapshot dearer; fewer, the tree larger. A page then has a little
/// less than 4 KiB, a size that the allocator does not round up.
const PAGE_MAX: usize = 56;

#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    pages: BTreeMap<InstanceId, Arc<Page>>,
    len: usize,
}

/// What is removed leaves an empty slot: to move the rest up would touch the whole page.
#[derive(Debug, Clone)]
struct Page {
    slots: Vec<(InstanceId, Option<Record>)>,
    len: usize,
}

impl Pages {
    /// Of records by ascending id.
    pub(super) fn of_sorted(records: Vec<(InstanceId, Record)>) -> Self {
        let mut pages = Self::default();
        for (id, record) in records {
            pages.push(id, record);
        }
        pages
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, id: &InstanceId) -> Option<&Record> {
        self.page_of(*id)?.get(*id)
    }

    /// Those that are there of several. Where one is in the page of the one before it, that page is not looked up.
    pub(super) fn get_each(
        &self,
        ids: impl IntoIterator<Item = InstanceId>,
    ) -> impl Iterator<Item = (InstanceId, &Record)> {
        let mut near: Option<&Page> = None;
        ids.into_iter().filter_map(move |id| {
            if !near.is_some_and(|page| page.spans(id)) {
                near = self.page_of(id);
            }
            Some((id, near?.get(id)?))
        })
    }

    fn page_of(&self, id: InstanceId) -> Option<&Page> {
        self.pages.range(..=id).next_back().map(|(_, page)| &**page)
    }

    pub(super) fn get_mut(&mut self, id: &InstanceId) -> Option<&mut Record> {
        let (_, page) = self.pages.range_mut(..=*id).next_back()?;
        // A page is copied when a snapshot shares it: look first.
        let at = page.find(*id)?;
        Arc::make_mut(page).slots[at].1.as_mut()
    }

    /// Adds one whose id is above all that are there.
    pub(super) fn push(&mut self, id: InstanceId, record: Record) {
        self.len += 1;
        let mut capacity = 1;
        if let Some(mut last) = self.pages.last_entry() {
            let page = last.get_mut();
            debug_assert!(page.slots.last().is_none_or(|slot| slot.0 < id), "D14: instance {id} is not the newest");
            if page.slots.len() < PAGE_MAX {
                let page = Arc::make_mut(page);
                page.len += 1;
                page.slots.push((id, Some(record)));
                return;
            }
            capacity = PAGE_MAX;
        }
        let mut slots = Vec::with_capacity(capacity);
        slots.push((id, Some(record)));
        self.pages.insert(id, Arc::new(Page { slots, len: 1 }));
    }

    pub(super) fn remove(&mut self, id: &InstanceId) -> Option<Record> {
        let (&first, page) = self.pages.range_mut(..=*id).next_back()?;
        let at = page.find(*id)?;
        let page = Arc::make_mut(page);
        let record = page.slots[at].1.take()?;
        page.len -= 1;
        self.len -= 1;
        if page.len == 0 {
            self.pages.remove(&first);
        } else if page.len * 2 <= page.slots.len() {
            page.slots.retain(|slot| slot.1.is_some());
            page.slots.shrink_to_fit();
            self.join(first);
        }
        Some(record)
    }

    /// Joins a page that has become shorter with the next or the one before, if they fit in half a page.
    fn join(&mut self, first: InstanceId) {
        let Some(own) = self.pages.get(&first).map(|page| page.len) else { return };
        let next = self.pages.range((Bound::Excluded(first), Bound::Unbounded)).next();
        let before = self.pages.range(..first).next_back();
        let next = next.map(|(&next, page)| (first, next, page.len));
        let before = before.map(|(&before, page)| (before, first, page.len));
        let short = |&(_, _, len): &(InstanceId, InstanceId, usize)| own + len <= PAGE_MAX / 2;
        if let Some((kept, joined, _)) = next.filter(short).or(before.filter(short))
            && let Some(joined) = self.pages.remove(&joined)
            && let Some(page) = self.pages.get_mut(&kept)
        {
            let page = Arc::make_mut(page);
            page.slots.retain(|slot| slot.1.is_some());
            page.slots.extend(Arc::unwrap_or_clone(joined).slots.into_iter().filter(|slot| slot.1.is_some()));
            page.len = page.slots.len();
        }
    }

    /// By ascending id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InstanceId, &Record)> {
        self.pages.values().flat_map(|page| page.slots.iter()).filter_map(|(id, slot)| Some((*id, slot.as_ref()?)))
    }

    /// # Panics
    /// When D14 does not hold.
    pub(super) fn check_invariants(&self) {
        let next = self.pages.keys().skip(1).map(Some).chain([None]);
        for ((first, page), next) in self.pages.iter().zip(next) {
            let slots = &page.slots;
            assert!((1..=PAGE_MAX).contains(&slots.len()), "D14: the page at {first} has {} slots", slots.len());
            assert!(slots.is_sorted_by(|one, other| one.0 < other.0), "D14: the page at {first} is not in order");
            assert!(slots[0].0 >= *first, "D14: the page at {first} begins below");
            assert!(next.is_none_or(|next| slots[slots.len() - 1].0 < *next), "D14: the page at {first} ends beyond");
            let records = slots.iter().filter(|slot| slot.1.is_some()).count();
            assert_eq!(records, page.len, "D14: the records of the page at {first}");
            assert!(records * 2 > slots.len(), "D14: the page at {first} is half empty");
        }
        assert_eq!(self.iter().count(), self.len, "D14: the number of records");
    }
}

impl Index<&InstanceId> for Pages {
    type Output = Record;

    fn index(&self, id: &InstanceId) -> &Record {
        self.get(id).expect("D2: an instance of an index has its record")
    }
}

impl Page {
    fn get(&self, id: InstanceId) -> Option<&Record> {
        self.slots[self.find(id)?].1.as_ref()
    }

    /// Whether an id can be in no other page.
    fn spans(&self, id: InstanceId) -> bool {
        let ends = self.slots.first().zip(self.slots.last());
        ends.is_some_and(|(first, last)| first.0 <= id && id <= last.0)
    }

    /// Where an id has its slot. No slot stands further on than ids without a gap would have it, and
    /// mostly they have none.
    fn find(&self, id: InstanceId) -> Option<usize> {
        let (first, _) = self.slots.first()?;
        let furthest = usize::try_from(id.get().checked_sub(first.get())?).ok()?.min(self.slots.len() - 1);
        if self.slots[furthest].0 == id {
            return Some(furthest);
        }
        self.slots[..furthest].binary_search_by_key(&id, |slot| slot.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::record::Seat;
    use crate::directory::service::ServiceNumber;
    use crate::words::{
        Address, Kind, Label, Metadata, Position, Registration, ServiceName, SessionId, Tags, Timestamp,
    };

    fn record(changed: u64) -> Record {
        let registration = Arc::new(Registration {
            service: ServiceName::parse("orders").unwrap(),
            address: Address::parse("10.0.0.1", 80).unwrap(),
            kind: Kind::Member,
            node_index: 0,
            version: 0,
            weight: 100,
            zone: Label::default(),
            tags: Tags::default(),
            metadata: Metadata::default(),
        });
        Record {
            registration,
            session: SessionId::new(1),
            service: ServiceNumber::of_seat(0),
            place: 1,
            seat: Seat::Listed,
            draining: false,
            registered: Timestamp::new(1),
            changed: Position::new(changed),
        }
    }

    /// Every third id, from 1 on.
    fn of(records: u64) -> Pages {
        let mut pages = Pages::default();
        for nth in 0..records {
            pages.push(InstanceId::new(3 * nth + 1), record(nth));
        }
        pages
    }

    fn ids(pages: &Pages) -> Vec<u64> {
        pages.iter().map(|(id, _)| id.get()).collect()
    }

    #[test]
    fn pages_find_what_is_there_and_nothing_else() {
        let pages = of(1_000);
        pages.check_invariants();
        let id = InstanceId::new;
        assert!((0..1_000).all(|nth| pages.get(&id(3 * nth + 1)).is_some_and(|record| record.changed.get() == nth)));
        assert!((0..=1_000).all(|nth| pages.get(&id(3 * nth)).is_none()));
        let scattered = (0..3_003).map(|nth| id(nth * 389 % 3_003));
        let found = pages.get_each(scattered.clone()).map(|(id, record)| (id, record.changed));
        assert!(found.eq(scattered.filter_map(|id| Some((id, pages.get(&id)?.changed)))));
        assert!(pages.get_each((0..3_003).map(id)).map(|(id, _)| id.get()).eq(ids(&pages)));
        let restored = Pages::of_sorted(pages.iter().map(|(id, record)| (id, record.clone())).collect());
        restored.check_invariants();
        assert_eq!((ids(&restored), restored.len()), (ids(&pages), pages.len()));
    }

    #[test]
    fn pages_that_empty_are_joined_and_go() {
        let (mut pages, id) = (of(20 * PAGE_MAX as u64), InstanceId::new);
        assert_eq!(pages.pages.len(), 20, "ids that ascend fill pages");
        // What is left stands far apart.
        for nth in (0..20 * PAGE_MAX as u64).filter(|nth| nth % 16 != 5) {
            assert!(pages.remove(&id(3 * nth + 1)).is_some_and(|record| record.changed.get() == nth));
            assert!(pages.remove(&id(3 * nth + 1)).is_none());
            pages.check_invariants();
        }
        assert!((2..=6).contains(&pages.pages.len()), "{}", pages.pages.len());
        for left in ids(&pages) {
            pages.remove(&id(left));
            pages.check_invariants();
        }
        assert!(pages.is_empty() && pages.pages.is_empty());
    }

    #[test]
    fn an_empty_slot_costs_nothing_more() {
        assert_eq!(size_of::<(InstanceId, Option<Record>)>(), 72);
    }

    #[test]
    fn a_copy_shares_all_pages_but_those_that_are_written_to() {
        let mut pages = of(10 * PAGE_MAX as u64);
        let copy = pages.clone();
        let before = ids(&copy);
        pages.remove(&InstanceId::new(1));
        pages.get_mut(&InstanceId::new(4)).unwrap().draining = true;
        pages.push(InstanceId::new(9_999), record(7));
        assert!(!copy[&InstanceId::new(4)].draining && ids(&copy) == before);
        let shared = copy.pages.values().filter(|page| Arc::strong_count(page) == 2).count();
        assert_eq!(shared, 9);
    }
}
