//! Whether the edge keeps up: a task of its runtime says so all the time, and falls silent when its turn does not come.
//!
//! What a session has answered waits on the same threads as everything else that is read. While the edge is behind,
//! an answer that is late says nothing about who gave it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Between two signs.
const INTERVAL: Duration = Duration::from_millis(20);

/// The last sign of the edge.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    began: Instant,
    /// In milliseconds since it began.
    last: Arc<AtomicU64>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: Arc::default() }
    }

    /// Gives signs until it is told to stop.
    pub(crate) async fn beat(self, stop: CancellationToken) {
        loop {
            self.last.store(self.millis(), Ordering::Relaxed);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Whether no sign has come for longer than this.
    pub(crate) fn is_late(&self, span: Duration) -> bool {
        let silent = self.millis().saturating_sub(self.last.load(Ordering::Relaxed));
        u128::from(silent) > (INTERVAL + span).as_millis()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_that_does_not_get_to_its_tasks_is_late_until_it_does() {
        let pulse = Pulse::new();
        let stop = CancellationToken::new();
        let beating = tokio::spawn(pulse.clone().beat(stop.clone()));
        tokio::task::yield_now().await;
        // The one thread of this runtime works on something else.
        let busy = Instant::now();
        while !pulse.is_late(Duration::from_millis(50)) {
            assert!(busy.elapsed() < Duration::from_secs(20), "it never shows");
            std::hint::spin_loop();
        }
        let until = Instant::now() + Duration::from_secs(20);
        while pulse.is_late(Duration::from_millis(50)) {
            assert!(Instant::now() < until, "it never recovers");
            tokio::task::yield_now().await;
        }
        stop.cancel();
        beating.await.unwrap();
    }
}
