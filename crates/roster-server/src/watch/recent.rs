//! The latest events, so that a watch that was away briefly gets just what it missed.
//!
//! They are kept as the core told them and encoded only when somebody asks: most never are. They stand in
//! one ring, each with its position, for a list per command cost an allocation of four events.

use std::collections::VecDeque;

use bytes::Bytes;
use roster_core::directory::Event;
use roster_core::{Position, Selector};
use roster_proto::convert::put_events;

/// What one event weighs, with its share of what the instance says about itself.
const EVENT_BYTES: usize = 512;
/// What the encoded events of a command take at most, mostly.
const GROUP_BYTES_USUAL: usize = 512;
/// The ring begins with room for so many.
const EVENTS_MIN: usize = 64;

#[derive(Debug)]
pub(crate) struct Recent {
    /// Those of one command stand together.
    entries: VecDeque<(Position, Event)>,
    /// Everything after this position is here.
    floor: Position,
    events_max: usize,
}

impl Recent {
    pub(crate) fn new(floor: Position, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), floor, events_max: (bytes_max / EVENT_BYTES).max(1) }
    }

    pub(crate) fn push(&mut self, position: Position, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.make_room();
            self.entries.push_back((position, event));
        }
        // Not all of a command's events are here any more, so none is.
        while self.entries.front().is_some_and(|(at, _)| *at == self.floor) {
            self.entries.pop_front();
        }
    }

    /// Room for one more: a ring that grows by doubling would be twice as long as it may be.
    fn make_room(&mut self) {
        let len = self.entries.len();
        if len == self.events_max {
            if let Some((position, _)) = self.entries.pop_front() {
                self.floor = position;
            }
        } else if len == self.entries.capacity() {
            self.entries.reserve_exact(len.max(EVENTS_MIN).min(self.events_max - len));
        }
    }

    /// The encoded groups that a selector missed since `from`; nothing when not all of them are kept,
    /// or they are more than `groups_max`.
    pub(crate) fn since(&self, from: Position, selector: &Selector, groups_max: usize) -> Option<Vec<Bytes>> {
        if from < self.floor {
            return None;
        }
        let first = self.entries.partition_point(|(position, _)| *position <= from);
        let mut meant = self.entries.range(first..).filter(|(_, event)| selector.matches(event.service())).peekable();
        let mut groups = Vec::new();
        while let Some((position, event)) = meant.next() {
            if groups.len() == groups_max {
                return None;
            }
            let same = std::iter::from_fn(|| meant.next_if(|(next, _)| next == position).map(|(_, event)| event));
            groups.push(encoded_events(*position, std::iter::once(event).chain(same)));
        }
        Some(groups)
    }
}

/// The events of one command as an encoded group.
pub(crate) fn encoded_events<'a>(position: Position, events: impl IntoIterator<Item = &'a Event>) -> Bytes {
    let mut bytes = Vec::with_capacity(GROUP_BYTES_USUAL);
    put_events(position, events, &mut bytes);
    Bytes::copy_from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use roster_core::ServiceName;
    use roster_proto::v1;

    use super::*;

    fn no_main(service: &str) -> Event {
        Event::MainChanged { service: ServiceName::parse(service).unwrap(), main: None }
    }

    fn missed(recent: &Recent, from: u64, selector: &str) -> Option<Vec<(u64, usize)>> {
        let groups = recent.since(Position::new(from), &Selector::parse(selector).unwrap(), 3)?;
        let read = |bytes: Bytes| {
            let group = v1::EventGroup::decode(bytes).unwrap();
            (group.position, group.events.len())
        };
        Some(groups.into_iter().map(read).collect())
    }

    #[test]
    fn a_watch_gets_what_it_missed_of_its_selector_only() {
        let mut recent = Recent::new(Position::new(10), 100 * EVENT_BYTES);
        recent.push(Position::new(11), vec![no_main("a/x")]);
        recent.push(Position::new(12), vec![no_main("a/x"), no_main("b"), no_main("b")]);
        assert_eq!(missed(&recent, 10, "b"), Some(vec![(12, 2)]));
        assert_eq!(missed(&recent, 10, ""), Some(vec![(11, 1), (12, 3)]));
        assert_eq!(missed(&recent, 11, "a/"), Some(vec![(12, 1)]));
        assert_eq!(missed(&recent, 12, ""), Some(vec![]));
        assert_eq!(missed(&recent, 9, ""), None);
    }

    #[test]
    fn the_oldest_go_when_the_bytes_are_used_up() {
        let mut recent = Recent::new(Position::new(0), 3 * EVENT_BYTES);
        for position in 1..=5 {
            recent.push(Position::new(position), vec![no_main("a")]);
        }
        assert_eq!(missed(&recent, 1, ""), None);
        assert_eq!(missed(&recent, 2, ""), Some(vec![(3, 1), (4, 1), (5, 1)]));
    }

    #[test]
    fn the_ring_has_room_for_no_more_than_it_may_hold() {
        let mut recent = Recent::new(Position::new(0), 1_100 * EVENT_BYTES);
        for position in 1..=3_000 {
            recent.push(Position::new(position), vec![no_main("a"), no_main("b")]);
        }
        assert_eq!(recent.entries.len(), 1_100);
        assert!(recent.entries.capacity() <= 1_100, "{}", recent.entries.capacity());
    }

    #[test]
    fn a_command_that_tells_more_than_is_kept_is_not_kept_in_part() {
        let mut recent = Recent::new(Position::new(0), 3 * EVENT_BYTES);
        recent.push(Position::new(1), vec![no_main("a")]);
        recent.push(Position::new(2), vec![no_main("a"), no_main("b"), no_main("c"), no_main("d")]);
        assert_eq!(missed(&recent, 1, ""), None);
        assert_eq!(missed(&recent, 2, ""), Some(vec![]));
    }

    #[test]
    fn who_missed_more_than_a_stream_holds_gets_the_state() {
        let mut recent = Recent::new(Position::new(0), 100 * EVENT_BYTES);
        for position in 1..=4 {
            recent.push(Position::new(position), vec![no_main("a")]);
        }
        assert_eq!(missed(&recent, 1, "a").map(|groups| groups.len()), Some(3));
        assert_eq!(missed(&recent, 0, "a"), None);
    }
}
