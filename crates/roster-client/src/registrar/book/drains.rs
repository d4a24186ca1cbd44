//! Drains that were asked for and are not over.

use std::time::{Duration, Instant};

use roster_core::InstanceId;
use roster_proto::v1;
use roster_proto::v1::operation::Operation as Ask;

use super::{Asked, Book, Report, Task};
use crate::registrar::entry::{Desire, Key};
use crate::registrar::state::{DrainProgress, DrainStanding};

/// The node ends a drain at its deadline; if its word does not come, this much later we do.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DrainOrder {
    deadline: Instant,
    pub(super) progress: DrainProgress,
}

impl DrainOrder {
    pub(super) fn overdue(&self) -> Instant {
        self.deadline + SLACK
    }
}

impl Book {
    /// Drains it until this deadline. False when there is nothing to drain.
    pub(in crate::registrar) fn drain(&mut self, key: Key, deadline: Instant) -> bool {
        let drainable = |entry: &super::Entry| entry.desire == Desire::Registered && entry.instance.is_some();
        if !self.entries.get(&key).is_some_and(|entry| drainable(entry)) {
            return false;
        }
        self.drains.insert(key, DrainOrder { deadline, progress: DrainProgress::default() });
        self.queue.push_back(Task::Drain(key));
        self.reports.push_back(Report::Drain(key, DrainStanding::Asked));
        true
    }

    /// How far a drain is.
    pub(in crate::registrar) fn handle_drain_progress(&mut self, wire: &v1::DrainProgress) {
        let Some(&key) = self.owned.get(&InstanceId::new(wire.instance_id)) else { return };
        let Some(order) = self.drains.get_mut(&key) else { return };
        order.progress = DrainProgress::of(wire);
        self.reports.push_back(Report::Drain(key, DrainStanding::Progress(order.progress)));
        if wire.finished {
            self.drains.remove(&key);
        }
    }

    pub(super) fn ask_drain(&self, key: Key, now: Instant) -> Option<(Asked, Ask)> {
        let order = self.drains.get(&key)?;
        let instance_id = self.entries.get(&key)?.instance?.get();
        let left = order.deadline.saturating_duration_since(now);
        let deadline_ms = Some(u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
        Some((Asked::Drain { key }, Ask::Drain(v1::DrainInstance { instance_id, deadline_ms })))
    }

    /// After a welcome: what still stands goes on draining, the rest has nothing left to drain.
    pub(super) fn resume_drains(&mut self) {
        let keys: Vec<_> = self.drains.keys().copied().collect();
        for key in keys {
            if self.entries.get(&key).is_some_and(|entry| entry.instance.is_some()) {
                self.queue.push_back(Task::Drain(key));
            } else {
                self.finish_drain(key);
            }
        }
    }

    pub(super) fn finish_drains(&mut self, now: Instant) {
        let over: Vec<_> =
            self.drains.iter().filter(|(_, order)| order.overdue() <= now).map(|(key, _)| *key).collect();
        over.into_iter().for_each(|key| self.finish_drain(key));
    }

    pub(super) fn finish_drain(&mut self, key: Key) {
        if let Some(order) = self.drains.remove(&key) {
            let progress = DrainProgress { finished: true, ..order.progress };
            self.reports.push_back(Report::Drain(key, DrainStanding::Progress(progress)));
        }
    }
}
