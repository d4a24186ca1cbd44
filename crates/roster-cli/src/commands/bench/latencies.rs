//! Times that were measured, kept with three significant digits.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::render::Percentiles;

/// The longest time that is told apart from longer ones.
const MICROS_MAX: u64 = 10 * 60 * 1_000_000;

#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, MICROS_MAX, 3).context("make a histogram")?))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX));
    }

    /// Takes those of another in.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.0.add(&other.0).context("join two histograms")
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn percentiles(&self, what: impl Into<Cow<'static, str>>) -> Percentiles {
        Percentiles {
            what: what.into(),
            count: self.0.len(),
            p50_us: self.0.value_at_quantile(0.5),
            p99_us: self.0.value_at_quantile(0.99),
            max_us: self.0.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_that_was_recorded() {
        let (mut one, mut other) = (Latencies::new().unwrap(), Latencies::new().unwrap());
        (1..=50).for_each(|micros| one.record(Duration::from_micros(micros)));
        (51..=100).for_each(|micros| other.record(Duration::from_micros(micros)));
        one.add(&other).unwrap();
        let found = one.percentiles("test");
        assert_eq!((found.count, found.p50_us, found.p99_us, found.max_us), (100, 50, 99, 100));
    }

    #[test]
    fn what_is_longer_than_any_is_counted_as_the_longest() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_secs(3600 * 24));
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentiles("test").max_us >= MICROS_MAX);
    }
}
