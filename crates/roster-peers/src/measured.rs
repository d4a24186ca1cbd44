//! What a workload has measured: figures by name, and times.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// The longest time that is told apart from longer ones.
const MICROS_MAX: u64 = 10 * 60 * 1_000_000;

#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, MICROS_MAX, 3).context("make a histogram")?))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.0.add(&other.0).context("join two histograms")
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Measured {
    figures: Map<String, Value>,
    latencies: Vec<Value>,
}

impl Measured {
    #[must_use]
    pub(crate) fn figure(mut self, name: impl Into<String>, value: f64) -> Self {
        self.figures.insert(name.into(), json!(value));
        self
    }

    #[must_use]
    pub(crate) fn times(mut self, what: &str, latencies: &Latencies) -> Self {
        let Latencies(times) = latencies;
        self.latencies.push(json!({
            "what": what,
            "count": times.len(),
            "p50_us": times.value_at_quantile(0.5),
            "p99_us": times.value_at_quantile(0.99),
            "max_us": times.max(),
        }));
        self
    }

    pub(crate) fn json(self) -> String {
        json!({ "figures": self.figures, "latencies": self.latencies }).to_string()
    }
}
