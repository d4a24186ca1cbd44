//! What may be on its way to a log, and what may wait until it may: in bytes, of all streams and calls together.
//!
//! What is under way stands in front of everything that comes later, so that it bounds how long a lone command
//! waits while others send as much as they can. What waits was read and is in memory: who would wait beyond
//! that is refused, and tries again later. A lone command (a session that returns or says goodbye, a word of an
//! operator) has places of its own: it does not wait behind what waits, or whoever returns in time would be lost.
//!
//! # Always true
//! * **N4, as much as there is**: what is under way and what waits are never more than their bounds; one that is
//!   larger than a bound counts as the bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in units of this size; the smallest submission is one unit.
const UNIT_BYTES: usize = 1024;

/// Lone commands under way at a time; each takes no more than a unit.
const LONE_MAX: usize = 1024;

/// A part of a budget; given back when dropped.
pub(crate) type Ticket = OwnedSemaphorePermit;

/// The budget of one log.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    under_way: Part,
    lone: Arc<Semaphore>,
    waiting: Part,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Part {
    units: usize,
    left: Arc<Semaphore>,
}

impl Part {
    fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, (u32::MAX as usize).min(Semaphore::MAX_PERMITS));
        Self { units, left: Arc::new(Semaphore::new(units)) }
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES).clamp(1, self.units)).unwrap_or(u32::MAX)
    }

    fn try_take(&self, bytes: usize) -> Option<Ticket> {
        self.left.clone().try_acquire_many_owned(self.units_of(bytes)).ok()
    }

    fn used_bytes(&self) -> u64 {
        let left = self.left.available_permits();
        debug_assert!(left <= self.units, "N4: more was given back than taken");
        (self.units.saturating_sub(left) * UNIT_BYTES) as u64
    }
}

impl Budget {
    /// So many bytes may be under way, and so many wait.
    pub(crate) fn new(under_way: usize, waiting: usize) -> Self {
        Self(Arc::new(Inner {
            under_way: Part::new(under_way),
            lone: Arc::new(Semaphore::new(LONE_MAX)),
            waiting: Part::new(waiting),
            refused: AtomicU64::new(0),
        }))
    }

    /// How many submissions can be under way at most.
    pub(crate) fn submissions_max(&self) -> usize {
        self.0.under_way.units + LONE_MAX
    }

    /// A place for one command that comes alone.
    pub(crate) async fn enter_alone(&self) -> Option<Ticket> {
        self.0.lone.clone().acquire_owned().await.ok()
    }

    /// So many more bytes under way, when they may be at once.
    pub(crate) fn try_enter(&self, bytes: usize) -> Option<Ticket> {
        self.0.under_way.try_take(bytes)
    }

    /// Waits until so many more bytes may be under way; who waits longest is next.
    pub(crate) async fn enter(&self, bytes: usize) -> Option<Ticket> {
        let part = &self.0.under_way;
        part.left.clone().acquire_many_owned(part.units_of(bytes)).await.ok()
    }

    /// A place to wait in with so many bytes; nothing when too much waits, and that is counted.
    pub(crate) fn wait(&self, bytes: usize) -> Option<Ticket> {
        let ticket = self.0.waiting.try_take(bytes);
        if ticket.is_none() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        ticket
    }

    pub(crate) fn under_way_bytes(&self) -> u64 {
        self.0.under_way.used_bytes()
    }

    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.0.waiting.used_bytes()
    }

    /// How many were refused because too much waits.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn a_lone_command_does_not_wait_behind_what_waits() {
        let budget = Budget::new(UNIT_BYTES, 2 * UNIT_BYTES);
        let _entered = budget.enter(1).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(std::pin::pin!(budget.enter(1)).poll(&mut context).is_pending());
        let Poll::Ready(Some(_)) = std::pin::pin!(budget.enter_alone()).poll(&mut context) else { panic!("it waits") };
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_who_would_wait_beyond_it_is_refused() {
        let budget = Budget::new(4 * UNIT_BYTES, 2 * UNIT_BYTES);
        let entered = budget.enter(3 * UNIT_BYTES).await.unwrap();
        assert!(budget.try_enter(2 * UNIT_BYTES).is_none(), "N4");
        let waiting = budget.wait(2 * UNIT_BYTES).unwrap();
        assert!(budget.wait(1).is_none(), "N4");
        assert_eq!((budget.under_way_bytes(), budget.waiting_bytes(), budget.refused()), (3 * 1024, 2 * 1024, 1));
        drop((entered, waiting));
        assert_eq!((budget.under_way_bytes(), budget.waiting_bytes()), (0, 0));
        assert!(budget.try_enter(100 * UNIT_BYTES).is_some(), "what is larger than all goes alone");
    }
}
