//! What was measured: for each workload, system and figure, one value a round.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;

use super::workloads::{System, Workload};

/// Figures of one run, in the order in which they are shown.
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
type Row = (String, Vec<f64>);

/// The values of all rounds.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// By title of the workload; the id comes along.
    all: BTreeMap<(String, System), Vec<Row>>,
}

/// The middle and the ends of what the rounds measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Samples {
    pub(super) fn add(&mut self, workload: &Workload, system: System, measured: Measured) {
        let rows = self.all.entry((format!("{} {}", workload.id, workload.title), system)).or_default();
        for (name, value) in measured.0 {
            match rows.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => rows.push((name, vec![value])),
            }
        }
    }

    /// The names of everything that any system was measured for, Roster's first.
    pub(super) fn names(&self, workload: &Workload) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for &system in &workload.systems {
            for (name, _) in self.rows(workload, system) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    pub(super) fn spread(&self, workload: &Workload, system: System, name: &str) -> Option<Spread> {
        let (_, values) = self.rows(workload, system).iter().find(|(known, _)| known == name)?;
        Spread::of(values)
    }

    pub(super) fn has(&self, workload: &Workload, system: System) -> bool {
        !self.rows(workload, system).is_empty()
    }

    fn rows(&self, workload: &Workload, system: System) -> &[Row] {
        let key = (format!("{} {}", workload.id, workload.title), system);
        self.all.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// # Errors
    /// Never, as all are numbers.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let mut all = serde_json::Map::new();
        for ((workload, system), rows) in &self.all {
            let of_workload = all.entry(workload.clone()).or_insert_with(|| Value::Object(serde_json::Map::new()));
            let rows = rows.iter().map(|(name, values)| (name.clone(), serde_json::json!(values))).collect();
            of_workload[system.name()] = Value::Object(rows);
        }
        Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
    }
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
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
}
