//! What was measured: for each workload, system and figure, one value a round.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::workloads::{System, Workload};

/// Figures of one run.
#[derive(Debug, Default)]
pub(super) struct Measured(Vec<(String, f64)>);

impl Measured {
    /// Figures as they are; of times the median, the 99th percentile and the maximum, in milliseconds.
    ///
    /// # Errors
    /// When it is not what a load says.
    pub(super) fn read(said: &Value) -> anyhow::Result<Self> {
        let figures = said["figures"].as_object().context("a load without figures")?;
        let mut measured: Vec<(String, f64)> =
            figures.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect();
        for times in said["latencies"].as_array().into_iter().flatten() {
            let what = times["what"].as_str().context("times without a name")?;
            let is_one = times["count"].as_u64() == Some(1);
            let kept: &[(&str, &str)] = if is_one {
                &[("max_us", "ms")]
            } else {
                &[("p50_us", "p50_ms"), ("p99_us", "p99_ms"), ("max_us", "max_ms")]
            };
            for (from, to) in kept {
                let micros = times[*from].as_f64().with_context(|| format!("{what} without {from}"))?;
                measured.push((format!("{what}_{to}"), micros / 1_000.0));
            }
        }
        Ok(Self(measured))
    }

    /// Gives figures, and whatever begins with a name, the other name. Times keep theirs.
    pub(super) fn renamed(self, names: &[(&str, &str)], only: bool) -> Self {
        let rename = |(name, value): (String, f64)| {
            let other = names.iter().find(|(from, _)| name.starts_with(from));
            match other {
                Some((from, to)) => Some((name.replacen(from, to, 1), value)),
                None if only && !name.ends_with("_ms") => None,
                None => Some((name, value)),
            }
        };
        Self(self.0.into_iter().filter_map(rename).collect())
    }
}

/// A figure, and its value in each round.
type Rows = BTreeMap<String, Vec<f64>>;

/// The values of all rounds, by id and title of the workload.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Samples(BTreeMap<String, BTreeMap<System, Rows>>);

/// The middle and the ends of what the rounds measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Samples {
    pub(super) fn add(&mut self, workload: &Workload, system: System, measured: Measured) {
        let rows = self.0.entry(workload.name()).or_default().entry(system).or_default();
        for (name, value) in measured.0 {
            rows.entry(name).or_default().push(value);
        }
    }

    /// How many rounds are in it.
    pub(super) fn rounds(&self, workload: &Workload, system: System) -> usize {
        let rows = self.rows(workload, system).into_iter().flatten();
        rows.map(|(_, values)| values.len()).max().unwrap_or_default()
    }

    /// The names of everything that any system was measured for, in the order in which they are shown.
    pub(super) fn names(&self, workload: &Workload) -> Vec<String> {
        let systems = self.0.get(&workload.name());
        let mut names: Vec<String> = systems.into_iter().flatten().flat_map(|(_, rows)| rows.keys().cloned()).collect();
        names.sort_by_cached_key(|name| place(name));
        names.dedup();
        names
    }

    pub(super) fn spread(&self, workload: &Workload, system: System, name: &str) -> Option<Spread> {
        Spread::of(self.values(workload, system, name)?)
    }

    /// One a round.
    pub(super) fn values(&self, workload: &Workload, system: System, name: &str) -> Option<&[f64]> {
        Some(self.rows(workload, system)?.get(name)?)
    }

    pub(super) fn has(&self, workload: &Workload, system: System) -> bool {
        self.rows(workload, system).is_some_and(|rows| !rows.is_empty())
    }

    fn rows(&self, workload: &Workload, system: System) -> Option<&Rows> {
        self.0.get(&workload.name())?.get(&system)
    }
}

/// Rates first, then costs, then the rest by name and size; of times the median before the 99th percentile.
fn place(name: &str) -> (u8, String, u64, u8) {
    let rank = match name {
        "per_second" => 0,
        "cpu_us_each" => 1,
        _ => 2,
    };
    let ends = [("_p50_ms", 0), ("_p99_ms", 1), ("_max_ms", 2), ("_ms", 0)];
    let times = ends.into_iter().find_map(|(end, of_times)| Some((name.strip_suffix(end)?, of_times)));
    let (stem, of_times) = times.unwrap_or((name, 0));
    // With sizes in their names, in the order of those.
    let digits = |c: &char| size_in(name).is_none() || !c.is_ascii_digit();
    let stem = stem.chars().filter(digits).collect();
    (rank, stem, size_in(name).unwrap_or_default(), of_times)
}

/// The size that a figure has in its name, `…_at_1000_…`.
pub(super) fn size_in(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once("_at_")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] };
        Some(Self { median, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn figures_get_the_names_that_peers_have_and_times_are_in_milliseconds() {
        let said = serde_json::json!({
            "figures": { "reads_per_second": 7.0, "connections": 64 },
            "latencies": [{ "what": "read", "count": 2, "p50_us": 1_500, "p99_us": 2_000, "max_us": 3_000 }],
        });
        let measured = Measured::read(&said).unwrap().renamed(&[("reads_per_second", "per_second")], true);
        let expected = [("per_second", 7.0), ("read_p50_ms", 1.5), ("read_p99_ms", 2.0), ("read_max_ms", 3.0)];
        assert_eq!(measured.0, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn figures_are_shown_in_the_order_in_which_people_read() {
        let mut names = [
            "read_max_ms",
            "bytes_per_watch_at_100000",
            "read_p50_ms",
            "cpu_us_each",
            "read_p99_ms",
            "bytes_per_watch_at_5000",
            "per_second",
        ];
        names.sort_by_cached_key(|name| place(name));
        let expected = [
            "per_second",
            "cpu_us_each",
            "bytes_per_watch_at_5000",
            "bytes_per_watch_at_100000",
            "read_p50_ms",
            "read_p99_ms",
            "read_max_ms",
        ];
        assert_eq!(names, expected);
    }
}
