//! What always holds, checked whole: slow, for tests and for a doubtful moment.

use super::backlog::{Queue, Totals};
use super::ids::QueueName;
use super::machine::Queues;

impl Queues {
    /// Checks K2 to K7 on the whole state.
    ///
    /// # Panics
    /// When one does not hold, naming it.
    pub fn check_invariants(&self) {
        for (name, queue) in &self.by_name {
            queue.check_invariants(name);
            let newest = queue.producers.last_position();
            assert!(newest.is_none_or(|position| position <= self.revision), "K6: a producer of {name} from tomorrow");
        }
    }
}

impl Queue {
    fn check_invariants(&self, name: &QueueName) {
        self.fresh.check_invariants();
        self.failed.check_invariants();
        self.dead.check_invariants();
        self.producers.check_invariants();
        let fresh = self.waiting().map(|stored| stored.id);
        let failed = self.failed(Default::default()).map(|stored| stored.id);
        let dead = self.dead(Default::default()).map(|stored| stored.id);
        let mut ids: Vec<_> = fresh.chain(failed).chain(dead).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|one, other| one < other), "K2: a message of {name} is in two places");
        assert_eq!(ids.len() as u64, self.kept(), "K3: messages of {name}");
        assert!(ids.last().is_none_or(|last| *last <= self.last), "K4: a message of {name} beyond the last id");
        let Totals { published, acknowledged, discarded, .. } = self.totals;
        assert_eq!(published, self.kept() + acknowledged + discarded, "K5: messages of {name} vanished");
        assert!(published <= self.last.get(), "K4: {name} gave out fewer ids than it has messages");
    }
}
