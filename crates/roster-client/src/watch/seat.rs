//! Where one watch leaves what it knows for its readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use roster_core::view::View;
use roster_proto::v1::Refusal;
use tokio::sync::watch;

use super::queue::Queue;

/// Whether there is a whole state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Load {
    Awaited,
    Whole,
    /// There will be none.
    Refused(Refusal),
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) queue: Queue,
    pub(super) view: ArcSwap<View>,
    pub(super) load: watch::Sender<Load>,
    pub(super) freshness: Arc<Freshness>,
}

impl Seat {
    pub(super) fn new(capacity: usize, freshness: Arc<Freshness>) -> Self {
        Self {
            queue: Queue::new(capacity),
            view: ArcSwap::default(),
            load: watch::Sender::new(Load::Awaited),
            freshness,
        }
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
