//! Whether anything about a service has changed since somebody read it.
//!
//! The director writes a number for each service; whoever keeps what was read compares it, without asking the
//! director. Services share a table by the hash of their names, so that a number may move because of another
//! service: a reading is then taken anew for nothing, and never kept too long.
//!
//! # Always true
//! * **KR1, stamped before told**: when anybody is told of a command (an answer, an event, a notice), the stamps of
//!   all services that it changed have moved, and then the revision has.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use roster_core::directory::Effects;
use roster_core::{Position, ServiceName};

/// So many that one service among a thousand seldom moves the stamp of another.
const SLOTS: usize = 4096;

/// Moves whenever something about a service changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

/// Written by the director alone, read by everybody.
#[derive(Debug)]
pub(crate) struct Stamps {
    slots: Box<[AtomicU64]>,
    revision: AtomicU64,
}

impl Stamps {
    pub(crate) fn new(revision: Position) -> Self {
        let slots = std::iter::repeat_with(AtomicU64::default).take(SLOTS).collect();
        Self { slots, revision: AtomicU64::new(revision.get()) }
    }

    /// By the director, for each command, before anybody is told of it.
    pub(crate) fn applied(&self, revision: Position, effects: &Effects) {
        for service in effects.services() {
            advance(self.slot(service));
        }
        self.revision.store(revision.get(), Ordering::Release);
    }

    /// By the director, for a command that changes every service, before anybody is told of it.
    pub(crate) fn applied_to_all(&self, revision: Position) {
        self.slots.iter().for_each(advance);
        self.revision.store(revision.get(), Ordering::Release);
    }

    /// A position up to which the stamps say all; read it before them.
    pub(crate) fn revision(&self) -> Position {
        Position::new(self.revision.load(Ordering::Acquire))
    }

    pub(crate) fn of(&self, service: &ServiceName) -> Stamp {
        Stamp(self.slot(service).load(Ordering::Acquire))
    }

    fn slot(&self, service: &ServiceName) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        service.hash(&mut hasher);
        &self.slots[hasher.finish() as usize % SLOTS]
    }
}

/// There is one writer, so that nothing comes between both steps.
fn advance(slot: &AtomicU64) {
    slot.store(slot.load(Ordering::Relaxed) + 1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use roster_core::directory::Event;

    use super::*;

    #[test]
    fn the_stamps_of_what_changed_move_and_so_does_the_revision() {
        let name = |text: &str| ServiceName::parse(text).unwrap();
        let (seen, unseen, quiet) = (name("seen"), name("unseen"), name("quiet"));
        let stamps = Stamps::new(Position::new(7));
        let stamp = || [&seen, &unseen, &quiet].map(|service| stamps.of(service));
        let [was_seen, was_unseen, was_quiet] = stamp();
        let events = vec![Event::MainChanged { service: seen.clone(), main: None }];
        stamps.applied(Position::new(8), &Effects { events, unseen: vec![unseen.clone()], ..Effects::default() });
        let [is_seen, is_unseen, is_quiet] = stamp();
        assert!(is_seen != was_seen && is_unseen != was_unseen && is_quiet == was_quiet, "KR1");
        assert_eq!(stamps.revision(), Position::new(8));
        stamps.applied_to_all(Position::new(9));
        assert!(stamp().iter().zip([is_seen, is_unseen, is_quiet]).all(|(now, then)| *now != then), "KR1");
        assert_eq!(stamps.revision(), Position::new(9));
    }
}
