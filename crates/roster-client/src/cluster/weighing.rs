//! Pickers that look at what a candidate is: its weight, its load, its zone.

use super::member::MemberId;
use super::picker::{Candidate, Picker};

/// By weight, smoothly: of weights 3 and 1 the calls go `a a b a`, not `a a a b`. Who has weight 0
/// gets none.
#[derive(Debug, Clone, Default)]
pub struct Weighted {
    shares: Vec<Share>,
    total: i64,
}

#[derive(Debug, Clone)]
struct Share {
    member: MemberId,
    weight: i64,
    /// What it is owed; the sum over all is 0 between picks as long as nobody comes or goes.
    credit: i64,
}

impl Weighted {
    /// Nobody is owed anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Picker for Weighted {
    fn accepts(&self, candidate: &Candidate) -> bool {
        candidate.weight() > 0
    }

    fn renew(&mut self, candidates: &[Candidate]) {
        let former = std::mem::take(&mut self.shares);
        let credit = |member| former.binary_search_by_key(&member, |share| share.member).map(|at| former[at].credit);
        self.shares.extend(candidates.iter().map(|candidate| {
            let member = candidate.member();
            Share { member, weight: candidate.weight().into(), credit: credit(member).unwrap_or(0) }
        }));
        self.total = self.shares.iter().map(|share| share.weight).sum();
        // A debt from a time of greater weights would keep it from its turn for long.
        for share in &mut self.shares {
            share.credit = share.credit.clamp(-self.total, self.total);
        }
    }

    fn pick(&mut self) -> usize {
        let mut best = 0;
        for index in 0..self.shares.len() {
            self.shares[index].credit += self.shares[index].weight;
            if self.shares[index].credit > self.shares[best].credit {
                best = index;
            }
        }
        self.shares[best].credit -= self.total;
        best
    }
}

/// Who has the fewest calls of this process; among equals each in turn.
#[derive(Debug, Clone, Default)]
pub struct LeastInFlight {
    candidates: Vec<Candidate>,
    /// Where the search begins.
    next: usize,
}

impl LeastInFlight {
    /// Begins with the first candidate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Picker for LeastInFlight {
    fn renew(&mut self, candidates: &[Candidate]) {
        let turn = self.candidates.get(self.next).map(Candidate::member);
        self.candidates = candidates.to_vec();
        self.next = turn.map_or(0, |turn| self.candidates.partition_point(|candidate| candidate.member() < turn));
    }

    fn pick(&mut self) -> usize {
        let all = self.candidates.len();
        let places = (0..all).map(|step| (self.next + step) % all);
        let best = places.min_by_key(|&place| self.candidates[place].in_flight()).unwrap_or(0);
        self.next = (best + 1) % all;
        best
    }
}

/// Those of its own zone as long as there is one, else all; which of them says `P`.
#[derive(Debug, Clone)]
pub struct ZoneFirst<P> {
    zone: String,
    picker: P,
    /// The places of those who are picked from.
    places: Vec<usize>,
}

impl<P: Picker> ZoneFirst<P> {
    /// This process runs in `zone`.
    #[must_use]
    pub fn new(zone: impl Into<String>, picker: P) -> Self {
        Self { zone: zone.into(), picker, places: Vec::new() }
    }
}

impl<P: Picker> Picker for ZoneFirst<P> {
    fn accepts(&self, candidate: &Candidate) -> bool {
        self.picker.accepts(candidate)
    }

    fn renew(&mut self, candidates: &[Candidate]) {
        self.places = (0..candidates.len()).filter(|&place| candidates[place].zone() == self.zone).collect();
        if self.places.is_empty() {
            self.places = (0..candidates.len()).collect();
        }
        let near: Vec<_> = self.places.iter().map(|&place| candidates[place].clone()).collect();
        self.picker.renew(&near);
    }

    fn pick(&mut self) -> usize {
        self.places[self.picker.pick()]
    }
}
