//! When something happens, and by what luck: the two things a machine may not ask for itself.

use std::time::{Duration, Instant};

/// The time and the chance of one input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// When.
    pub(crate) now: Instant,
    /// Luck, at least 0 and less than 1.
    pub(crate) chance: f64,
}

impl Moment {
    /// Now, by the runtime's clock (which tests can stop), and a fresh chance.
    pub(crate) fn take() -> Self {
        Self { now: tokio::time::Instant::now().into_std(), chance: fastrand::f64() }
    }

    /// This span from now, less up to half of it by chance, so that many do not come at once.
    pub(crate) fn jittered(self, span: Duration) -> Instant {
        self.now + span.mul_f64(0.5 + self.chance / 2.0)
    }
}
