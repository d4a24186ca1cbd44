//! What a benchmark has measured.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// What a benchmark has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) workload: &'static str,
    #[serde(serialize_with = "as_map")]
    pub(crate) figures: Vec<Figure>,
    pub(crate) latencies: Vec<Percentiles>,
}

/// One number with its name, which says its unit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    name: Cow<'static, str>,
    value: Value,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Count(u64),
    Measure(f64),
}

/// Times of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) what: Cow<'static, str>,
    pub(crate) count: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl Figure {
    pub(crate) fn count(name: impl Into<Cow<'static, str>>, count: u64) -> Self {
        Self { name: name.into(), value: Value::Count(count) }
    }

    pub(crate) fn measure(name: impl Into<Cow<'static, str>>, measure: f64) -> Self {
        Self { name: name.into(), value: Value::Measure(measure) }
    }

    fn text(&self) -> String {
        match self.value {
            Value::Count(count) => count.to_string(),
            Value::Measure(measure) if measure.abs() >= 1_000.0 => format!("{measure:.0}"),
            Value::Measure(measure) => format!("{measure:.3}"),
        }
    }
}

fn as_map<S: Serializer>(figures: &[Figure], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().map(|figure| (&figure.name, figure.value)))
}

impl Shown for Measured {
    fn table(&self, paint: Paint) -> String {
        let mut grid = Grid::new(paint, &[(self.workload, Side::Left), ("", Side::Right)]);
        for figure in &self.figures {
            grid.row([(figure.name.replace('_', " "), Tone::Faint), (figure.text(), Tone::Ordinary)]);
        }
        let columns = [
            ("time", Side::Left),
            ("count", Side::Right),
            ("p50", Side::Right),
            ("p99", Side::Right),
            ("max", Side::Right),
        ];
        let mut times = Grid::new(paint, &columns);
        for times_of_one_kind in &self.latencies {
            let Percentiles { what, count, p50_us, p99_us, max_us } = times_of_one_kind;
            times.row([
                (what.replace('_', " "), Tone::Faint),
                (count.to_string(), Tone::Ordinary),
                (millis(*p50_us), Tone::Ordinary),
                (millis(*p99_us), Tone::Ordinary),
                (millis(*max_us), Tone::Ordinary),
            ]);
        }
        if self.latencies.is_empty() {
            return grid.lines();
        }
        format!("{}\n{}", grid.lines(), times.lines())
    }

    fn text(&self) -> String {
        let figures = self.figures.iter().map(|figure| format!("{}\t{}\n", figure.name, figure.text()));
        let times = self.latencies.iter().map(|times| {
            let Percentiles { what, count, p50_us, p99_us, max_us } = times;
            format!("{what}\t{count}\t{p50_us}\t{p99_us}\t{max_us}\n")
        });
        figures.chain(times).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of hours, shown with three digits")]
fn millis(micros: u64) -> String {
    format!("{:.3} ms", micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            workload: "register",
            figures: vec![Figure::count("instances", 100), Figure::measure("per_second", 12_345.6)],
            latencies: vec![Percentiles {
                what: "acknowledged".into(),
                count: 100,
                p50_us: 1,
                p99_us: 1_500,
                max_us: 20_000,
            }],
        }
    }

    #[test]
    fn a_person_reads_milliseconds() {
        let expected = "\
REGISTER
instances     100
per second  12346

TIME          COUNT       P50       P99        MAX
acknowledged    100  0.001 ms  1.500 ms  20.000 ms
";
        assert_eq!(measured().table(Paint::Plain), expected);
    }

    #[test]
    fn a_script_reads_microseconds() {
        assert_eq!(measured().text(), "instances\t100\nper_second\t12346\nacknowledged\t100\t1\t1500\t20000\n");
        let json = serde_json::to_value(measured()).unwrap();
        assert_eq!(json["figures"]["instances"], 100);
        assert_eq!(json["latencies"][0]["p99_us"], 1_500);
    }
}
