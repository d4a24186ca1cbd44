//! Who gets the next call. Pure: no clock, and chance only where it is handed in.
//!
//! # Always true
//! * **PK1, one of them**: a pick is the place of a candidate in the list of the last renewal.
//! * **PK2, nobody is skipped**: whoever stays in the list keeps its turn when others come and go.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roster_core::directory::Instance;

use super::member::MemberId;

/// Someone who can be called.
#[derive(Debug, Clone)]
pub struct Candidate {
    member: MemberId,
    instance: Instance,
    load: Arc<AtomicUsize>,
}

impl Candidate {
    pub(super) fn new(member: MemberId, instance: Instance, load: Arc<AtomicUsize>) -> Self {
        Self { member, instance, load }
    }

    /// Its number; lists of candidates ascend by it.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// What the registry knows of it.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Its share of the work.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.instance.registration.weight
    }

    /// Where it runs.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.instance.registration.zone.as_str()
    }

    /// Calls of this process that it has at this moment.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn load(&self) -> Arc<AtomicUsize> {
        self.load.clone()
    }
}

/// Chooses among those who can be called. Each cluster has one of its own.
pub trait Picker: Debug + Send + 'static {
    /// Whether this one is to be called at all; unlike the others it then counts as not usable.
    fn accepts(&self, candidate: &Candidate) -> bool {
        let _ = candidate;
        true
    }

    /// The candidates have changed. They ascend by member, each stands once, and there may be none.
    fn renew(&mut self, candidates: &[Candidate]);

    /// The place, in the list of the last renewal, of who gets the next call. Only asked when that
    /// list was not empty.
    fn pick(&mut self) -> usize;
}

/// The same one so many times, then the next. Good for batches and caches.
#[derive(Debug, Clone)]
pub struct Sticky {
    times: u32,
    left: u32,
    /// Where in the circle it begins, from 0 to below 1.
    start: f64,
    members: Vec<MemberId>,
    /// Who is called; may be away.
    current: Option<MemberId>,
    is_away: bool,
    place: usize,
}

impl Sticky {
    /// That many calls in a row, at least one; begins with the first candidate.
    #[must_use]
    pub fn new(times: u32) -> Self {
        let (members, current, is_away, place) = (Vec::new(), None, false, 0);
        Self { times: times.max(1), left: 0, start: 0.0, members, current, is_away, place }
    }

    /// Begins elsewhere in the circle, from 0 to below 1: so that many processes do not all begin with
    /// the same one.
    #[must_use]
    pub fn starting_at(mut self, start: f64) -> Self {
        self.start = start.clamp(0.0, 1.0);
        self
    }
}

impl Picker for Sticky {
    fn renew(&mut self, candidates: &[Candidate]) {
        self.members.clear();
        self.members.extend(candidates.iter().map(Candidate::member));
        let Some(current) = self.current else { return };
        let found = self.members.binary_search(&current);
        self.is_away = found.is_err();
        self.place = match found {
            Ok(place) => place,
            // `pick` steps on from the one before the place where it would stand.
            Err(place) => place.checked_sub(1).unwrap_or(self.members.len().saturating_sub(1)),
        };
    }

    fn pick(&mut self) -> usize {
        if self.left == 0 || self.is_away {
            self.left = self.times;
            self.is_away = false;
            self.place = match self.current {
                Some(_) => (self.place + 1) % self.members.len(),
                // Truncated on purpose: a place in the list.
                None => ((self.members.len() as f64 * self.start) as usize).min(self.members.len() - 1),
            };
        }
        self.left -= 1;
        debug_assert!(self.place < self.members.len(), "PK1: {} of {}", self.place, self.members.len());
        self.current = self.members.get(self.place).copied();
        self.place
    }
}

/// Each in turn.
#[derive(Debug, Clone)]
pub struct RoundRobin(Sticky);

impl RoundRobin {
    /// Begins with the first candidate.
    #[must_use]
    pub fn new() -> Self {
        Self(Sticky::new(1))
    }

    /// As [`Sticky::starting_at`].
    #[must_use]
    pub fn starting_at(self, start: f64) -> Self {
        Self(self.0.starting_at(start))
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Picker for RoundRobin {
    fn renew(&mut self, candidates: &[Candidate]) {
        self.0.renew(candidates);
    }

    fn pick(&mut self) -> usize {
        self.0.pick()
    }
}
