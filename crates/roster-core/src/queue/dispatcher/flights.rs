//! What is in flight: with whom, for which time, and until when.
//!
//! Flights stand in two rows, each threaded through the flights themselves: those of one consumer, and all in the
//! order of their deadlines. Deadlines rise with the time of hand-over, so that a flight joins the row of deadlines
//! at its end; one that does not fit there (its deadline was moved, the clock set back, the time shortened) stands in
//! a tree beside it.

use std::collections::BTreeSet;

use super::super::ids::MessageId;
use super::consumers::Seat;
use super::id_map::IdMap;
use crate::words::Timestamp;

#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) consumer: Seat,
    pub(super) attempt: u32,
    deadline: Timestamp,
    /// Whether it stands in the row of deadlines.
    in_row: bool,
    /// Its neighbours with the same consumer, and by deadline.
    links: [Links; 2],
}

/// Neighbours in a row. 0, which is no message, stands for none.
#[derive(Debug, Clone, Copy, Default)]
struct Links {
    before: MessageId,
    after: MessageId,
}

/// Which of its links a row goes by.
#[derive(Debug, Clone, Copy)]
enum Thread {
    Consumer,
    Deadline,
}

/// The ends of a row of flights.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    first: MessageId,
    last: MessageId,
    len: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Flights {
    by_id: IdMap<Flight>,
    /// By deadline, ascending.
    row: Row,
    /// Those that stand not in the row.
    moved: BTreeSet<(Timestamp, MessageId)>,
}

const NOBODY: MessageId = MessageId::new(0);

impl Row {
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Flight> {
        self.by_id.get(id)
    }

    /// `held` is the row of its consumer.
    pub(super) fn insert(&mut self, held: &mut Row, id: MessageId, consumer: Seat, attempt: u32, deadline: Timestamp) {
        let flight = Flight { consumer, attempt, deadline, in_row: false, links: [Links::default(); 2] };
        let before = self.by_id.insert(id, flight);
        debug_assert!(before.is_none() && id != NOBODY, "K8: message {id} is in flight already");
        append(&mut self.by_id, held, Thread::Consumer, id);
        self.line_up(id, deadline);
    }

    /// `held` is the row of its consumer.
    pub(super) fn remove(&mut self, held: &mut Row, id: MessageId) -> Option<u32> {
        let flight = self.by_id.remove(id)?;
        unlink(&mut self.by_id, held, Thread::Consumer, &flight);
        self.step_out(id, &flight);
        Some(flight.attempt)
    }

    pub(super) fn set_deadline(&mut self, id: MessageId, deadline: Timestamp) {
        let Some(flight) = self.by_id.get(id).cloned() else { return };
        self.step_out(id, &flight);
        if let Some(flight) = self.by_id.get_mut(id) {
            (flight.deadline, flight.in_row) = (deadline, false);
        }
        self.line_up(id, deadline);
    }

    pub(super) fn postpone(&mut self, millis: u64) {
        let later = |deadline: Timestamp| Timestamp::new(deadline.get().saturating_add(millis));
        self.by_id.values_mut().for_each(|flight| flight.deadline = later(flight.deadline));
        self.moved = self.moved.iter().map(|&(deadline, id)| (later(deadline), id)).collect();
    }

    /// The first one whose deadline has passed.
    pub(super) fn expired(&self, now: Timestamp) -> Option<MessageId> {
        self.next().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| id)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.next().map(|(deadline, _)| deadline)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.by_id.iter().map(|(id, _)| id)
    }

    /// What a consumer holds, as it was given.
    pub(super) fn held<'a>(&'a self, held: &Row) -> impl Iterator<Item = MessageId> + 'a {
        self.along(*held, Thread::Consumer)
    }

    fn along(&self, row: Row, thread: Thread) -> impl Iterator<Item = MessageId> {
        let first = Some(row.first).filter(|id| *id != NOBODY);
        std::iter::successors(first, move |&id| {
            let after = self.by_id.get(id)?.links[thread as usize].after;
            Some(after).filter(|id| *id != NOBODY)
        })
    }

    fn next(&self) -> Option<(Timestamp, MessageId)> {
        let first = self.by_id.get(self.row.first).map(|flight| (flight.deadline, self.row.first));
        first.into_iter().chain(self.moved.first().copied()).min()
    }

    fn line_up(&mut self, id: MessageId, deadline: Timestamp) {
        if self.by_id.get(self.row.last).is_none_or(|last| last.deadline <= deadline) {
            append(&mut self.by_id, &mut self.row, Thread::Deadline, id);
            if let Some(flight) = self.by_id.get_mut(id) {
                flight.in_row = true;
            }
        } else {
            self.moved.insert((deadline, id));
        }
    }

    fn step_out(&mut self, id: MessageId, flight: &Flight) {
        if flight.in_row {
            unlink(&mut self.by_id, &mut self.row, Thread::Deadline, flight);
        } else {
            self.moved.remove(&(flight.deadline, id));
        }
    }

    /// # Panics
    /// When the rows disagree with what is in flight.
    pub(super) fn check_invariants(&self) {
        self.by_id.check_invariants();
        let in_row = self.by_id.iter().filter(|(_, flight)| flight.in_row).count();
        let row: Vec<_> = self.along(self.row, Thread::Deadline).filter_map(|id| self.by_id.get(id)).collect();
        assert_eq!((row.len(), self.row.len), (in_row, in_row), "K8: flights in the row of deadlines");
        assert!(row.is_sorted_by_key(|flight| flight.deadline), "K8: the row of deadlines is in no order");
        let moved = self.by_id.iter().filter(|(_, flight)| !flight.in_row).map(|(id, flight)| (flight.deadline, id));
        assert_eq!(self.moved, moved.collect(), "K8: flights beside the row of deadlines");
    }
}

/// Adds a flight at the end of a row.
fn append(flights: &mut IdMap<Flight>, row: &mut Row, thread: Thread, id: MessageId) {
    if let Some(last) = flights.get_mut(row.last) {
        last.links[thread as usize].after = id;
    }
    if let Some(flight) = flights.get_mut(id) {
        flight.links[thread as usize] = Links { before: row.last, after: NOBODY };
    }
    if row.first == NOBODY {
        row.first = id;
    }
    row.last = id;
    row.len += 1;
}

/// Takes a flight out of a row.
fn unlink(flights: &mut IdMap<Flight>, row: &mut Row, thread: Thread, flight: &Flight) {
    let Links { before, after } = flight.links[thread as usize];
    match flights.get_mut(before) {
        Some(before) => before.links[thread as usize].after = after,
        None => row.first = after,
    }
    match flights.get_mut(after) {
        Some(after) => after.links[thread as usize].before = before,
        None => row.last = before,
    }
    row.len -= 1;
}
