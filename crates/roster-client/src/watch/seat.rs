//! Where one watch leaves what it knows for its readers.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use roster_core::view::View;
use roster_proto::v1::Refusal;
use tokio::sync::Notify;

use super::queue::Queue;

/// Whether there is a whole state, for those who wait for it. A `tokio::sync::watch` has nine lists of
/// waiters, for each watch of a process.
#[derive(Debug, Default)]
pub(super) struct Load {
    outcome: Mutex<Option<Outcome>>,
    settled: Notify,
}

#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Whole,
    /// There will be none.
    Refused(Arc<Refusal>),
}

impl Load {
    pub(super) fn whole(&self) {
        let is_news = {
            let mut outcome = self.lock();
            let is_news = !matches!(*outcome, Some(Outcome::Whole));
            *outcome = Some(Outcome::Whole);
            is_news
        };
        if is_news {
            self.settled.notify_waiters();
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        *self.lock() = Some(Outcome::Refused(Arc::new(refusal)));
        self.settled.notify_waiters();
    }

    pub(super) async fn settled(&self) -> Outcome {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable(); // what is settled from here on is heard of
            if let Some(outcome) = self.lock().clone() {
                return outcome;
            }
            settled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) queue: Queue,
    pub(super) view: ArcSwap<View>,
    pub(super) load: Load,
    pub(super) freshness: Arc<Freshness>,
}

impl Seat {
    pub(super) fn new(capacity: usize, freshness: Arc<Freshness>) -> Self {
        Self { queue: Queue::new(capacity), view: ArcSwap::default(), load: Load::default(), freshness }
    }
}

/// When the node last said a word on the stream.
#[derive(Debug)]
pub(super) struct Freshness {
    base: Instant,
    /// Milliseconds after `base` plus one; 0 before the first word.
    last: AtomicU64,
}

impl Freshness {
    pub(super) fn new(base: Instant) -> Self {
        Self { base, last: AtomicU64::new(0) }
    }

    pub(super) fn touch(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.base).as_millis();
        self.last.store(u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
    }

    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_duration_since(self.base + Duration::from_millis(last)))
    }
}
