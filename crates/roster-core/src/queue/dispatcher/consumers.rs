//! The consumers of a queue, in the order in which they get messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::super::ids::{ConsumerId, MessageId, Window};
use super::flights::{Flights, Row};

/// Where a consumer sits: found by arithmetic, for each delivery and each acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat(u32);

#[derive(Debug, Clone, Default)]
pub(super) struct Consumers {
    by_id: BTreeMap<ConsumerId, Seat>,
    seats: Vec<Option<Consumer>>,
    vacant: Vec<Seat>,
    /// The ranks of those with a free place, among ranks that are no more: what a consumer's rank is stands with
    /// itself, and others are thrown away when they come up.
    ranks: BinaryHeap<(Rank, Seat)>,
    /// How many have a free place.
    free: usize,
    /// Counts deliveries and arrivals.
    clock: u64,
}

#[derive(Debug, Clone)]
struct Consumer {
    id: ConsumerId,
    window: Window,
    held: Row,
    /// The clock at its last delivery or its arrival; no other one has the same.
    served: u64,
    /// What stands in the order of the free ones.
    rank: Option<Rank>,
}

/// So few ranks that are no more need not be looked for.
const RANKS_LEAST: usize = 16;

/// Most free first, then who waited longest.
type Rank = (usize, Reverse<u64>);

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn join(&mut self, id: ConsumerId, window: Window) {
        self.clock += 1;
        let seat = match self.by_id.get(&id) {
            Some(&seat) => seat,
            None => self.sit_down(Consumer { id, window, held: Row::default(), served: self.clock, rank: None }),
        };
        if let Some(consumer) = self.at_mut(seat) {
            consumer.window = window;
        }
        self.settle(seat);
    }

    fn sit_down(&mut self, consumer: Consumer) -> Seat {
        let seat = self.vacant.pop().unwrap_or_else(|| {
            self.seats.push(None);
            Seat((self.seats.len() - 1) as u32)
        });
        self.by_id.insert(consumer.id, seat);
        self.seats[seat.0 as usize] = Some(consumer);
        seat
    }

    /// The row of what it held.
    pub(super) fn leave(&mut self, id: ConsumerId) -> Option<Row> {
        let seat = self.by_id.remove(&id)?;
        let consumer = self.seats.get_mut(seat.0 as usize)?.take()?;
        self.free -= usize::from(consumer.rank.is_some());
        self.vacant.push(seat);
        self.sift_ranks();
        Some(consumer.held)
    }

    pub(super) fn seat(&self, id: ConsumerId) -> Option<Seat> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn id(&self, seat: Seat) -> Option<ConsumerId> {
        self.at(seat).map(|consumer| consumer.id)
    }

    /// What it holds, to be changed. Its rank is to be settled when all such changes are made.
    pub(super) fn held_mut(&mut self, seat: Seat) -> Option<&mut Row> {
        self.at_mut(seat).map(|consumer| &mut consumer.held)
    }

    pub(super) fn is_anyone_free(&self) -> bool {
        self.free > 0
    }

    pub(super) fn most_free(&mut self) -> Option<Seat> {
        while let Some(&(rank, seat)) = self.ranks.peek() {
            if self.at(seat).is_some_and(|consumer| consumer.rank == Some(rank)) {
                return Some(seat);
            }
            self.ranks.pop();
        }
        None
    }

    /// It was given something.
    pub(super) fn served(&mut self, seat: Seat) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(consumer) = self.at_mut(seat) {
            consumer.served = clock;
        }
        self.settle(seat);
    }

    /// Puts a consumer where it belongs among the free ones.
    pub(super) fn settle(&mut self, seat: Seat) {
        let Some(consumer) = self.at_mut(seat) else { return };
        let rank = consumer.rank_now();
        let before = std::mem::replace(&mut consumer.rank, rank);
        if rank == before {
            return;
        }
        self.free = self.free + usize::from(rank.is_some()) - usize::from(before.is_some());
        let Some(rank) = rank else { return };
        if let Some(mut first) = self.ranks.peek_mut()
            && Some(first.0) == before
            && first.1 == seat
        {
            first.0 = rank;
            return;
        }
        self.ranks.push((rank, seat));
        self.sift_ranks();
    }

    /// Throws away the ranks that are no more, when they are as many as the consumers.
    fn sift_ranks(&mut self) {
        if self.ranks.len() > 2 * self.by_id.len() + RANKS_LEAST {
            let ranks = self.by_id.values().filter_map(|&seat| Some((self.at(seat)?.rank?, seat)));
            self.ranks = ranks.collect();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConsumerId, Window, usize)> {
        let consumers = self.by_id.iter().filter_map(|(&id, &seat)| Some((id, self.at(seat)?)));
        consumers.map(|(id, consumer)| (id, consumer.window, consumer.held.len()))
    }

    fn at(&self, seat: Seat) -> Option<&Consumer> {
        self.seats.get(seat.0 as usize)?.as_ref()
    }

    fn at_mut(&mut self, seat: Seat) -> Option<&mut Consumer> {
        self.seats.get_mut(seat.0 as usize)?.as_mut()
    }

    /// # Panics
    /// When the indexes disagree, or with what is in flight.
    pub(super) fn check_invariants(&self, flights: &Flights) {
        let seated: Vec<_> =
            self.seats.iter().zip(0..).filter_map(|(one, at)| Some((Seat(at), one.as_ref()?))).collect();
        assert_eq!(seated.len(), self.by_id.len(), "K8: consumers by seat");
        assert_eq!(seated.len() + self.vacant.len(), self.seats.len(), "K8: vacant seats");
        assert_eq!(self.free, seated.iter().filter(|(_, one)| one.rank.is_some()).count(), "K10: how many are free");
        assert!(self.ranks.len() <= 2 * self.by_id.len() + RANKS_LEAST, "K10: {} ranks", self.ranks.len());
        let mut held = 0;
        for (seat, one) in seated {
            assert_eq!(self.by_id.get(&one.id), Some(&seat), "K8: consumer {} is not where it sits", one.id);
            assert_eq!(one.rank, one.rank_now(), "K10: the rank of consumer {}", one.id);
            let is_there = one.rank.is_none_or(|rank| self.ranks.iter().any(|&entry| entry == (rank, seat)));
            assert!(is_there, "K10: consumer {} is free and stands not among them", one.id);
            let own = |message: &MessageId| flights.get(*message).is_some_and(|flight| flight.consumer == seat);
            assert_eq!(flights.held(&one.held).filter(own).count(), one.held.len(), "K8: what {} holds", one.id);
            held += one.held.len();
        }
        assert_eq!(held, flights.len(), "K8: what consumers hold is not what is in flight");
    }
}

impl Consumer {
    fn rank_now(&self) -> Option<Rank> {
        let free = (self.window.messages() as usize).saturating_sub(self.held.len());
        (free > 0).then_some((free, Reverse(self.served)))
    }
}
