//! Time and chance as components, so that a simulation can hand in its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roster_core::Timestamp;

/// Tells the time of day that is written into batches.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
}

/// Gives bytes that nobody can guess.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills the buffer.
    ///
    /// # Errors
    /// When the system has none to give.
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// The operating system's clock and entropy.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl WallClock for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(std::io::Error::other)
    }
}

/// A time of day that never stands and never runs backwards: where the clock behind it was set back, it goes
/// on at its own pace. Times in the log of the queues are also what the broker compares with, so that a
/// message that waits for a second waits for a second.
#[derive(Debug)]
pub(crate) struct OnwardClock {
    clock: Arc<dyn WallClock>,
    last: Mutex<(Timestamp, Instant)>,
}

impl OnwardClock {
    /// Not before `from`.
    pub(crate) fn new(clock: Arc<dyn WallClock>, from: Timestamp) -> Self {
        Self { clock, last: Mutex::new((from, Instant::now())) }
    }
}

impl WallClock for OnwardClock {
    fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(last.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        let onward = Timestamp::new(last.0.get().saturating_add(passed));
        let wall = self.clock.now();
        if wall > onward {
            *last = (wall, Instant::now());
            return wall;
        }
        onward
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Set(Mutex<u64>);

    impl WallClock for Set {
        fn now(&self) -> Timestamp {
            Timestamp::new(*self.0.lock().unwrap())
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_take_time_back() {
        let wall = Arc::new(Set(Mutex::new(1_000_000)));
        let clock = OnwardClock::new(wall.clone(), Timestamp::new(5));
        assert_eq!(clock.now().get(), 1_000_000);
        *wall.0.lock().unwrap() = 2_000_000;
        assert_eq!(clock.now().get(), 2_000_000);
        *wall.0.lock().unwrap() = 7;
        assert!(clock.now().get() >= 2_000_000);
        let later = OnwardClock::new(wall, Timestamp::new(3_000_000));
        assert!(later.now().get() >= 3_000_000, "not before the last batch of the log");
    }
}
