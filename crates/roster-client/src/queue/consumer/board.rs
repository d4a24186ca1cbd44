//! Where deliveries wait for hands, and verdicts for the driver. Both are taken in bulk.
//!
//! Of the workers that rest, a few are woken when deliveries come, and each that takes one wakes another
//! when more wait. So a burst of short work is done by a few, without a wake for each message, and all are
//! at work when the work is long. Workers are hired when nobody rests: a consumer that has nothing to do has none
//! (with all of them from the start it took 260 KB, docs/performance.md).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use roster_proto::v1;
use tokio::sync::{Notify, Semaphore};

use super::machine::Verdict;

#[derive(Debug)]
pub(super) struct Board {
    ready: Mutex<Ready>,
    /// One permit for each worker that shall wake.
    wakes: Semaphore,
    /// One permit for each worker that shall be hired.
    hires: Semaphore,
    dismissed: Notify,
    verdicts: Mutex<Vec<(u64, Verdict)>>,
}

#[derive(Debug)]
struct Ready {
    deliveries: VecDeque<v1::QueueDelivery>,
    /// Workers that may still be hired.
    unhired: usize,
    resting: usize,
    /// Woken or hired, and not here yet.
    waking: usize,
    /// So many are woken at a time: more could not run.
    waking_max: usize,
    is_closed: bool,
}

impl Board {
    /// For so many workers at most; none for who takes by himself.
    pub(super) fn new(workers_max: usize, waking_max: usize) -> Self {
        let ready = Ready {
            deliveries: VecDeque::new(),
            unhired: workers_max,
            resting: 0,
            waking: 0,
            waking_max: waking_max.max(1),
            is_closed: false,
        };
        Self {
            ready: Mutex::new(ready),
            wakes: Semaphore::new(0),
            hires: Semaphore::new(0),
            dismissed: Notify::new(),
            verdicts: Mutex::default(),
        }
    }

    pub(super) fn push(&self, deliveries: Vec<v1::QueueDelivery>) {
        let mut ready = self.lock();
        ready.deliveries.extend(deliveries);
        let calls = ready.call();
        drop(ready);
        self.make(calls);
    }

    /// Waits until another worker shall be hired; `None` when none will be.
    pub(super) async fn hire(&self) -> Option<()> {
        self.hires.acquire().await.ok().map(tokio::sync::SemaphorePermit::forget)
    }

    /// A worker that was hired is here.
    pub(super) fn arrived(&self) {
        let mut ready = self.lock();
        ready.waking = ready.waking.saturating_sub(1);
    }

    /// All workers shall end, whatever they do.
    pub(super) fn dismiss(&self) {
        self.dismissed.notify_one();
    }

    pub(super) async fn dismissed(&self) {
        self.dismissed.notified().await;
    }

    fn make(&self, calls: Calls) {
        self.wakes.add_permits(calls.wakes);
        self.hires.add_permits(calls.hires);
    }

    /// The next delivery; `None` when nothing more will come. Not to be dropped before it is ready, except
    /// by a single taker.
    pub(super) async fn take(&self) -> Option<v1::QueueDelivery> {
        let mut was_woken = false;
        loop {
            {
                let mut ready = self.lock();
                if std::mem::take(&mut was_woken) {
                    ready.waking = ready.waking.saturating_sub(1);
                }
                if ready.is_closed {
                    return None;
                }
                if let Some(delivery) = ready.deliveries.pop_front() {
                    let calls = ready.call();
                    drop(ready);
                    self.make(calls);
                    return Some(delivery);
                }
                ready.resting += 1;
            }
            self.wakes.acquire().await.ok()?.forget();
            was_woken = true;
        }
    }

    /// Deliveries of a lost stream that nobody began.
    pub(super) fn take_unused(&self) -> Vec<u64> {
        self.lock().deliveries.drain(..).map(|delivery| delivery.message_id).collect()
    }

    /// Nothing more is handed out.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wakes.close();
        self.hires.close();
    }

    /// Returns whether the driver has to be woken.
    pub(super) fn judge(&self, id: u64, verdict: Verdict) -> bool {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts.push((id, verdict));
        verdicts.len() == 1
    }

    pub(super) fn has_verdicts(&self) -> bool {
        !self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn take_verdicts(&self) -> Vec<(u64, Verdict)> {
        std::mem::take(&mut *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many to wake of those that rest, and so many to hire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Calls {
    wakes: usize,
    hires: usize,
}

impl Ready {
    fn call(&mut self) -> Calls {
        let room = self.waking_max.saturating_sub(self.waking);
        let wakes = self.deliveries.len().min(self.resting).min(room);
        // Those on their way take one each.
        let left = self.deliveries.len().saturating_sub(self.waking + wakes);
        let hires = left.min(self.unhired).min(room - wakes);
        self.resting -= wakes;
        self.unhired -= hires;
        self.waking += wakes + hires;
        Calls { wakes, hires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries(number: usize) -> Vec<v1::QueueDelivery> {
        vec![v1::QueueDelivery::default(); number]
    }

    #[tokio::test]
    async fn workers_are_hired_when_nobody_rests_and_never_more_than_there_may_be() {
        let board = Board::new(3, 2);
        assert_eq!(board.hires.available_permits(), 0, "nothing is to be done");
        board.push(deliveries(10));
        assert_eq!(board.hires.available_permits(), 2, "more would not run at a time");
        for hired in [3, 3] {
            board.hire().await.unwrap();
            board.arrived();
            board.take().await.unwrap();
            assert_eq!(3 - board.lock().unhired, hired, "who takes one hires another, up to three");
        }
        board.hire().await.unwrap();
        board.arrived();
        board.take().await.unwrap();
        assert_eq!((board.hires.available_permits(), board.lock().waking), (0, 0));
    }

    #[tokio::test]
    async fn who_rests_is_woken_before_another_is_hired() {
        let board = Board::new(8, 2);
        board.push(deliveries(1));
        board.hire().await.unwrap();
        board.arrived();
        board.take().await.unwrap();
        let mut rest = std::pin::pin!(board.take());
        assert!(std::future::poll_fn(|context| std::task::Poll::Ready(rest.as_mut().poll(context).is_pending())).await);
        board.push(deliveries(1));
        assert_eq!((board.hires.available_permits(), board.lock().unhired), (0, 7));
        rest.await.unwrap();
    }
}
