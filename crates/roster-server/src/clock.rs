//! Time and chance as components, so that a simulation can hand in its own.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

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
