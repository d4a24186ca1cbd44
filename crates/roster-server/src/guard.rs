//! The mass-loss guard: when too many would be removed because nothing was heard of them, it is more
//! likely the node or the network that is wrong. Then nobody is removed until somebody says so.
//!
//! Pure: it is told of each expiry that is due and answers whether it may go on.
//!
//! # Always true
//! * **G1, held is not lost**: what the guard holds stays suspect until it returns, says goodbye, or is released.
//! * **G2, a few may go**: fewer than `least` instances are never held.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use roster_core::{Position, ServiceName, SessionId};

use crate::awake::Awake;

/// Losses count for each other when they come within so long.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardSettings {
    /// The share of all instances, or of those of one service, that may go within ten seconds.
    pub(crate) fraction: f64,
    /// … and the number that it takes before the share is looked at.
    pub(crate) least: u64,
}

/// How many of how many would be gone, if everybody of whom nothing is heard now is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Toll {
    pub(crate) silent: u64,
    pub(crate) instances: u64,
}

/// What a session would take with it.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) attachment: Position,
    /// Its instances by service, with the toll of each of these services.
    pub(crate) services: BTreeMap<ServiceName, (u64, Toll)>,
    /// Over all services.
    pub(crate) all: Toll,
}

#[derive(Debug)]
pub(crate) struct Guard {
    settings: GuardSettings,
    recent: VecDeque<(Awake, BTreeMap<ServiceName, u64>)>,
    lost: HashMap<ServiceName, u64>,
    lost_in_all: u64,
    held: BTreeMap<SessionId, (Position, u64)>,
    why: Option<String>,
    /// An operator has released it: until then losses are let through.
    released_until: Awake,
}

impl Guard {
    pub(crate) fn new(settings: GuardSettings) -> Self {
        Self {
            settings,
            recent: VecDeque::new(),
            lost: HashMap::new(),
            lost_in_all: 0,
            held: BTreeMap::new(),
            why: None,
            released_until: Awake::default(),
        }
    }

    /// Whether the session may expire. If not it is held.
    pub(crate) fn admits(&mut self, now: Awake, session: SessionId, loss: Loss) -> bool {
        let instances: u64 = loss.services.values().map(|(own, _)| own).sum();
        if instances == 0 {
            return true;
        }
        self.forget(now);
        if now >= self.released_until && self.why.is_none() {
            self.why = self.objection(&loss);
        }
        if self.why.is_some() {
            self.held.insert(session, (loss.attachment, instances));
            return false;
        }
        let counts: BTreeMap<_, _> = loss.services.into_iter().map(|(service, (own, _))| (service, own)).collect();
        for (service, own) in &counts {
            *self.lost.entry(service.clone()).or_insert(0) += own;
        }
        self.lost_in_all += instances;
        self.recent.push_back((now, counts));
        true
    }

    /// The session is back, or gone in another way.
    pub(crate) fn settled(&mut self, session: SessionId) {
        if self.held.remove(&session).is_some() && self.held.is_empty() {
            self.why = None;
        }
    }

    /// Lets everybody go whom it holds, and whoever else is lost within the next ten seconds.
    pub(crate) fn release(&mut self, now: Awake) -> BTreeMap<SessionId, (Position, u64)> {
        self.why = None;
        self.released_until = now.plus(WINDOW);
        std::mem::take(&mut self.held)
    }

    /// Why it holds, and how many sessions and instances; nothing when it does not.
    pub(crate) fn holds(&self) -> Option<(&str, usize, u64)> {
        let why = self.why.as_deref()?;
        Some((why, self.held.len(), self.held.values().map(|(_, instances)| instances).sum()))
    }

    fn objection(&self, loss: &Loss) -> Option<String> {
        if let Some((gone, of)) = self.exceeds(self.lost_in_all, loss.all) {
            return Some(format!("{gone} of {of} instances would be lost within {} s", WINDOW.as_secs()));
        }
        loss.services.iter().find_map(|(service, (_, toll))| {
            let (gone, of) = self.exceeds(self.lost.get(service).copied().unwrap_or(0), *toll)?;
            Some(format!("{gone} of {of} instances of {service} would be lost within {} s", WINDOW.as_secs()))
        })
    }

    /// How many of how many would be gone, if that is too many.
    fn exceeds(&self, lost: u64, toll: Toll) -> Option<(u64, u64)> {
        let (gone, of) = (lost + toll.silent, lost + toll.instances);
        #[expect(clippy::cast_precision_loss, reason = "counts of instances are far below 2^52")]
        let share = gone as f64 / of.max(1) as f64;
        (gone >= self.settings.least && share > self.settings.fraction).then_some((gone, of))
    }

    fn forget(&mut self, now: Awake) {
        while let Some((at, _)) = self.recent.front() {
            if at.plus(WINDOW) > now {
                return;
            }
            let Some((_, counts)) = self.recent.pop_front() else { return };
            for (service, own) in counts {
                self.lost_in_all -= own;
                if let Some(lost) = self.lost.get_mut(&service) {
                    *lost -= own;
                    if *lost == 0 {
                        self.lost.remove(&service);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(GuardSettings { fraction: 0.3, least: 5 })
    }

    fn at(seconds: u64) -> Awake {
        Awake::default().plus(Duration::from_secs(seconds))
    }

    /// A session with one instance of `orders`, of which so many of so many are silent.
    fn loss(silent: u64, instances: u64) -> Loss {
        let toll = Toll { silent, instances };
        let services = BTreeMap::from([(ServiceName::parse("orders").unwrap(), (1, toll))]);
        Loss { attachment: Position::new(1), services, all: Toll { silent, instances: 1_000 } }
    }

    fn session(id: u64) -> SessionId {
        SessionId::new(id)
    }

    #[test]
    fn a_few_may_go_whatever_their_share() {
        let mut guard = guard();
        for id in 1..=4 {
            assert!(guard.admits(at(1), session(id), loss(5 - id, 5 - id)), "G2");
        }
        assert_eq!(guard.holds(), None);
    }

    #[test]
    fn nobody_goes_when_too_many_are_silent_at_once() {
        let mut guard = guard();
        for id in 1..=6 {
            assert!(!guard.admits(at(1), session(id), loss(6, 10)), "G1");
        }
        assert_eq!(guard.holds(), Some(("6 of 10 instances of orders would be lost within 10 s", 6, 6)));
    }

    #[test]
    fn losses_one_after_another_add_up_within_ten_seconds_and_not_beyond() {
        let mut guard = guard();
        for (id, second) in [(1, 0), (2, 2), (3, 4), (4, 6)] {
            assert!(guard.admits(at(second), session(id), loss(1, 11 - id)));
        }
        assert!(!guard.admits(at(8), session(5), loss(1, 6)), "five of ten within ten seconds");
        let mut guard = self::guard();
        for (id, second) in [(1, 0), (2, 4), (3, 8), (4, 12), (5, 16), (6, 20)] {
            assert!(guard.admits(at(second), session(id), loss(1, 11 - id)));
        }
    }

    #[test]
    fn a_third_of_all_counts_as_well_as_a_third_of_one_service() {
        let mut guard = guard();
        let mut spread = loss(1, 100);
        spread.all = Toll { silent: 400, instances: 1_000 };
        assert!(!guard.admits(at(1), session(1), spread));
        assert_eq!(guard.holds().map(|(why, ..)| why), Some("400 of 1000 instances would be lost within 10 s"));
    }

    #[test]
    fn it_opens_by_itself_when_all_are_back() {
        let mut guard = guard();
        guard.admits(at(1), session(1), loss(6, 10));
        guard.admits(at(1), session(2), loss(6, 10));
        guard.settled(session(1));
        assert!(guard.holds().is_some());
        guard.settled(session(2));
        assert_eq!(guard.holds(), None);
        assert!(guard.admits(at(2), session(3), loss(1, 10)));
    }

    #[test]
    fn released_it_lets_those_go_whom_it_held_and_those_who_follow() {
        let mut guard = guard();
        guard.admits(at(1), session(1), loss(6, 10));
        assert_eq!(guard.release(at(2)).into_keys().collect::<Vec<_>>(), [session(1)]);
        assert!(guard.admits(at(3), session(2), loss(6, 10)));
        assert!(!guard.admits(at(13), session(3), loss(6, 10)));
    }
}
