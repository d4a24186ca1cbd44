//! What always holds between a dispatcher and its queue, checked whole: slow, for tests and for a
//! doubtful moment.

use super::super::backlog::Queue;
use super::Dispatcher;

impl Dispatcher {
    /// Checks K8, K10 and K11 on the whole state; K9 speaks of the moment of a delivery.
    ///
    /// # Panics
    /// When one does not hold, naming it.
    pub fn check_invariants(&self, queue: &Queue) {
        self.flights.check_invariants();
        self.settling.check_invariants();
        self.consumers.check_invariants(&self.flights);
        let mut known = 0;
        for stored in queue.waiting().chain(queue.failed(Default::default())) {
            let id = stored.id;
            let settling = self.settling.contains(id);
            let places = [
                self.is_ahead(&stored) && !settling,
                self.due.contains(&(super::due(&stored), id)),
                self.flights.get(id).is_some(),
                settling,
            ];
            let count = places.into_iter().filter(|is_there| *is_there).count();
            assert_eq!(count, 1, "K11: message {id} is ahead, due, in flight, settling: {places:?}");
            known += usize::from(!places[0]);
        }
        known += queue.dead(Default::default()).filter(|dead| self.settling.contains(dead.id)).count();
        let there = self.due.len() + self.flights.len() + self.settling.len();
        assert_eq!(there, known, "K11: something is to be delivered that the queue does not keep: {self:?}");
    }
}
