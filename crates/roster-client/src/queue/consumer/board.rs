//! Where deliveries wait for hands, and verdicts for the driver. Both are taken in bulk.
//!
//! Of the workers that rest, a few are woken when deliveries come, and each that takes one wakes another
//! when more wait. So a burst of short work is done by a few, without a wake for each message, and all are
//! at work when the work is long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use roster_proto::v1;
use tokio::sync::Semaphore;

use super::machine::Verdict;

#[derive(Debug)]
pub(super) struct Board {
    ready: Mutex<Ready>,
    /// One permit for each worker that shall wake.
    wakes: Semaphore,
    verdicts: Mutex<Vec<(u64, Verdict)>>,
}

#[derive(Debug)]
struct Ready {
    deliveries: VecDeque<v1::QueueDelivery>,
    resting: usize,
    /// Woken, and not here yet.
    waking: usize,
    /// So many are woken at a time: more could not run.
    waking_max: usize,
    is_closed: bool,
}

impl Board {
    pub(super) fn new(waking_max: usize) -> Self {
        let ready = Ready {
            deliveries: VecDeque::new(),
            resting: 0,
            waking: 0,
            waking_max: waking_max.max(1),
            is_closed: false,
        };
        Self { ready: Mutex::new(ready), wakes: Semaphore::new(0), verdicts: Mutex::default() }
    }

    pub(super) fn push(&self, deliveries: Vec<v1::QueueDelivery>) {
        let mut ready = self.lock();
        ready.deliveries.extend(deliveries);
        let wakes = ready.wake();
        drop(ready);
        self.wakes.add_permits(wakes);
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
                    let wakes = ready.wake();
                    drop(ready);
                    self.wakes.add_permits(wakes);
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

impl Ready {
    /// How many of those that rest to wake.
    fn wake(&mut self) -> usize {
        let wakes = self.deliveries.len().min(self.resting).min(self.waking_max.saturating_sub(self.waking));
        self.resting -= wakes;
        self.waking += wakes;
        wakes
    }
}
