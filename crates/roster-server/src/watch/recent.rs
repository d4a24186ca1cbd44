//! The latest events, encoded, so that a watch that was away briefly gets just what it missed.

use std::collections::VecDeque;

use bytes::Bytes;
use roster_core::{Position, Selector, ServiceName};

/// What a command changed in one service, as an encoded group.
pub(crate) type Segment = (ServiceName, Bytes);

/// What an entry weighs beside its encoded bytes.
const ENTRY_OVERHEAD: usize = 96;

#[derive(Debug)]
pub(crate) struct Recent {
    entries: VecDeque<(Position, Box<[Segment]>)>,
    /// Everything after this position is here.
    floor: Position,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    pub(crate) fn new(floor: Position, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), floor, bytes: 0, bytes_max }
    }

    pub(crate) fn push(&mut self, position: Position, segments: Box<[Segment]>) {
        self.bytes += weight(&segments);
        self.entries.push_back((position, segments));
        while self.bytes > self.bytes_max {
            let Some((position, segments)) = self.entries.pop_front() else { return };
            self.bytes -= weight(&segments);
            self.floor = position;
        }
    }

    /// The groups that a selector missed since `from`, or nothing when not all of them are kept.
    pub(crate) fn since(&self, from: Position, selector: &Selector) -> Option<Vec<Bytes>> {
        if from < self.floor {
            return None;
        }
        let first = self.entries.partition_point(|(position, _)| *position <= from);
        let missed = self.entries.range(first..).filter_map(|(_, segments)| join(segments, selector));
        Some(missed.collect())
    }
}

/// The segments that a selector is about as one group. Encoded messages of one type merge by
/// standing one behind the other (protobuf, "Last One Wins" and repeated fields append).
pub(crate) fn join(segments: &[Segment], selector: &Selector) -> Option<Bytes> {
    let mut matching = segments.iter().filter(|(service, _)| selector.matches(service)).map(|(_, bytes)| bytes);
    let first = matching.next()?;
    let Some(second) = matching.next() else { return Some(first.clone()) };
    let mut joined = Vec::with_capacity(first.len() + second.len());
    joined.extend_from_slice(first);
    joined.extend_from_slice(second);
    matching.for_each(|bytes| joined.extend_from_slice(bytes));
    Some(joined.into())
}

fn weight(segments: &[Segment]) -> usize {
    segments.iter().map(|(_, bytes)| bytes.len() + ENTRY_OVERHEAD).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(service: &str, bytes: usize) -> Segment {
        (ServiceName::parse(service).unwrap(), Bytes::from(vec![7; bytes]))
    }

    #[test]
    fn a_watch_gets_what_it_missed_of_its_selector_only() {
        let mut recent = Recent::new(Position::new(10), 10_000);
        recent.push(Position::new(11), Box::new([segment("a/x", 1)]));
        recent.push(Position::new(12), Box::new([segment("a/x", 1), segment("b", 2)]));
        let missed = |from, selector: &str| {
            let selector = Selector::parse(selector).unwrap();
            recent.since(Position::new(from), &selector).map(|groups| groups.iter().map(Bytes::len).collect::<Vec<_>>())
        };
        assert_eq!(missed(10, "b"), Some(vec![2]));
        assert_eq!(missed(10, ""), Some(vec![1, 3]));
        assert_eq!(missed(11, "a/"), Some(vec![1]));
        assert_eq!(missed(12, ""), Some(vec![]));
        assert_eq!(missed(9, ""), None);
    }

    #[test]
    fn the_oldest_go_when_the_bytes_are_used_up() {
        let mut recent = Recent::new(Position::new(0), 3 * (ENTRY_OVERHEAD + 10));
        for position in 1..=5 {
            recent.push(Position::new(position), Box::new([segment("a", 10)]));
        }
        assert_eq!(recent.since(Position::new(1), &Selector::All), None);
        assert_eq!(recent.since(Position::new(2), &Selector::All).map(|groups| groups.len()), Some(3));
    }
}
