//! How fast a queue goes: its totals as they were some seconds ago.

use std::collections::VecDeque;

use roster_core::Timestamp;
use roster_core::queue::Totals;

const SPAN_MILLIS: u64 = 10_000;
const STEP_MILLIS: u64 = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Totals just before something changed, a step apart at least.
    samples: VecDeque<(Timestamp, Totals)>,
}

impl Rates {
    /// Something is about to change.
    pub(crate) fn look(&mut self, now: Timestamp, totals: Totals) {
        let since = self.samples.back().map(|(at, _)| now.get().saturating_sub(at.get()));
        if since.is_some_and(|since| since < STEP_MILLIS) {
            return;
        }
        self.samples.push_back((now, totals));
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        while self.samples.front().is_some_and(|(at, _)| at.get() + SPAN_MILLIS < now.get()) {
            self.samples.pop_front();
        }
    }

    /// Messages published and acknowledged a second, over the last ten.
    pub(crate) fn now(&self, now: Timestamp, totals: Totals) -> (f64, f64) {
        let recent = self.samples.iter().find(|(at, _)| at.get() + SPAN_MILLIS >= now.get());
        let Some((_, before)) = recent else { return (0.0, 0.0) };
        let a_second = |count: u64| count as f64 / (SPAN_MILLIS as f64 / 1000.0);
        (a_second(totals.published - before.published), a_second(totals.acknowledged - before.acknowledged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut rates = Rates::default();
        let totals = |published| Totals { published, ..Totals::default() };
        assert_eq!(rates.now(Timestamp::new(0), totals(0)), (0.0, 0.0));
        for second in 0..30 {
            rates.look(Timestamp::new(second * 1000), totals(second * 50));
        }
        let (published, _) = rates.now(Timestamp::new(30_000), totals(1_500));
        assert!((45.0..=55.0).contains(&published), "{published}");
        assert_eq!(rates.now(Timestamp::new(60_000), totals(1_500)), (0.0, 0.0));
    }
}
