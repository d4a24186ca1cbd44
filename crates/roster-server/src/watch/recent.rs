//! The latest events, so that a watch that was away briefly gets just what it missed.
//!
//! They are kept as the core told them and encoded only when somebody asks: most never are. They stand in
//! one ring, each with its position, for a list per command cost an allocation of four events.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use roster_core::directory::Event;
use roster_core::{Position, Selector};
use roster_proto::convert::encode_events;

/// What one event weighs, with its share of what the instance says about itself.
const EVENT_BYTES: usize = 512;

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
        Self { entries: VecDeque::new(), floor, events_max: bytes_max / EVENT_BYTES }
    }

    pub(crate) fn push(&mut self, position: Position, events: impl IntoIterator<Item = Event>) {
        self.entries.extend(events.into_iter().map(|event| (position, event)));
        while self.entries.len() > self.events_max || self.entries.front().is_some_and(|(at, _)| *at == self.floor) {
            let Some((position, _)) = self.entries.pop_front() else { return };
            self.floor = position;
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
            groups.push(encode_events(*position, std::iter::once(event).chain(same)).encode_to_vec().into());
        }
        Some(groups)
    }
}

/// The events of one command as an encoded group.
pub(crate) fn encoded_events(position: Position, events: &[Event]) -> Bytes {
    encode_events(position, events).encode_to_vec().into()
}

#[cfg(test)]
mod tests {
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
    fn who_missed_more_than_a_stream_holds_gets_the_state() {
        let mut recent = Recent::new(Position::new(0), 100 * EVENT_BYTES);
        for position in 1..=4 {
            recent.push(Position::new(position), vec![no_main("a")]);
        }
        assert_eq!(missed(&recent, 1, "a").map(|groups| groups.len()), Some(3));
        assert_eq!(missed(&recent, 0, "a"), None);
    }
}
