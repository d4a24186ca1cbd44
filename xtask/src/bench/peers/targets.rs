//! The targets, and how what was measured stands to them. Every ratio is of medians of the same run.

use std::fmt::Write as _;

use anyhow::Context;
use serde::Deserialize;

use super::growth;
use super::page::{range, shown};
use super::samples::{Samples, Spread};
use super::workloads::{System, Workload};

/// Written by hand, and explained there.
const TARGETS: &str = include_str!("../../../targets.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    target: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Target {
    workload: String,
    figure: String,
    what: String,
    most: Option<f64>,
    least: Option<f64>,
    times: Option<f64>,
    of: Option<System>,
    of_figure: Option<String>,
    divided_by: Option<f64>,
    about: Option<String>,
    before: Option<String>,
    #[serde(default)]
    floor: Vec<(String, f64)>,
    floor_bytes: Option<f64>,
    limit: Option<String>,
    in_the_way: Option<String>,
}

/// What a target asks for, and whether it was reached; without a peer's figure nobody knows.
#[derive(Debug, PartialEq)]
struct Verdict {
    asked: String,
    reached: Option<bool>,
}

/// The values of one run.
struct Measured<'a> {
    workloads: &'a [Workload],
    samples: &'a Samples,
}

impl Measured<'_> {
    fn spread(&self, workload: &str, system: System, figure: &str) -> Option<Spread> {
        let workload = self.workloads.iter().find(|known| known.name().starts_with(workload))?;
        if let Some(operation) = figure.strip_prefix("growth:") {
            // Of nobody else it is asked.
            return if system == System::Roster { growth::percent(self.samples, workload, operation) } else { None };
        }
        self.samples.spread(workload, system, figure)
    }

    fn median(&self, workload: &str, system: System, figure: &str) -> Option<f64> {
        Some(self.spread(workload, system, figure)?.median)
    }

    fn floor(&self, figure: &str) -> Option<f64> {
        self.median("F ", System::Machine, figure)
    }
}

impl Target {
    fn judge(&self, measured: Option<f64>, of: impl Fn(System, &str) -> Option<f64>) -> Verdict {
        let is_reached = |reach: &dyn Fn(f64) -> bool| measured.map(reach);
        let (asked, reached) = match (self.most, self.least, self.times, self.of) {
            (Some(most), ..) => {
                (format!("at most {}", shown(&self.figure, most)), is_reached(&|measured| measured <= most))
            }
            (_, Some(least), ..) => {
                (format!("at least {}", shown(&self.figure, least)), is_reached(&|measured| measured >= least))
            }
            (_, _, Some(times), Some(peer)) => {
                let reached = of(peer, &self.figure).and_then(|of| is_reached(&|measured| measured >= times * of));
                (format!("at least {times} × {}", peer.name()), reached)
            }
            (_, _, None, Some(peer)) => {
                let figure = self.of_figure.as_deref().unwrap_or(&self.figure);
                let divisor = self.divided_by.unwrap_or(1.0);
                let reached = of(peer, figure).and_then(|of| is_reached(&|measured| measured <= of / divisor));
                let part = if divisor > 1.0 { format!(" ÷ {divisor}") } else { String::new() };
                let percentile = if figure.contains("p50") { "the p50" } else { "that" };
                (format!("at most {percentile} of {}{part}", peer.name()), reached)
            }
            (None, None, _, None) => ("–".to_owned(), None),
        };
        let about = self.about.as_ref().map_or_else(String::new, |about| format!(" (about {about})"));
        Verdict { asked: asked + &about, reached }
    }

    /// Beside each peer that did the same.
    fn ratios(&self, measured: f64, run: &Measured<'_>) -> String {
        let figure = self.of_figure.as_deref().unwrap_or(&self.figure);
        let mut ratios = Vec::new();
        for peer in [System::Etcd, System::Redis, System::JetstreamSynced, System::JetstreamDefault] {
            let Some(value) = run.median(&self.workload, peer, figure).filter(|value| *value > 0.0) else { continue };
            let percentile = if self.of_figure.is_some() { "p50 " } else { "" };
            let name = peer.name();
            ratios.push(format!("{} × {name} ({percentile}{})", times(measured / value), shown(figure, value)));
        }
        if ratios.is_empty() { "–".to_owned() } else { ratios.join("<br>") }
    }

    fn limit(&self, run: &Measured<'_>) -> String {
        let of_memory = self.floor_bytes.and_then(|bytes| Some(bytes / run.floor("fresh_bytes_per_second")? * 1_000.0));
        let parts = self.floor.iter().map(|(figure, factor)| Some(run.floor(figure)? * factor));
        let sum = if self.floor.is_empty() { None } else { parts.sum::<Option<f64>>() };
        match (sum.or(of_memory), &self.limit) {
            (Some(limit), Some(words)) => format!("{}: {words}", shown(&self.figure, limit)),
            (Some(limit), None) => shown(&self.figure, limit),
            (None, words) => words.clone().unwrap_or_else(|| "–".to_owned()),
        }
    }
}

fn times(ratio: f64) -> String {
    match ratio {
        large if large >= 10.0 => format!("{large:.0}"),
        middle if middle >= 1.0 => format!("{middle:.1}"),
        small if small >= 0.01 => format!("{small:.2}"),
        tiny => format!("{tiny:.4}"),
    }
}

fn all() -> anyhow::Result<Vec<Target>> {
    let file: File = toml::from_str(TARGETS).context("read xtask/targets.toml")?;
    Ok(file.target)
}

/// Every target, whether or not it was measured, and what stands in the way of those that were not reached.
///
/// # Errors
/// When the list of targets is none.
pub(super) fn table(workloads: &[Workload], samples: &Samples) -> anyhow::Result<String> {
    let run = Measured { workloads, samples };
    let (mut rows, mut obstacles) = (String::new(), String::new());
    let (mut asked, mut reached) = (0, 0);
    for target in all()? {
        let spread = run.spread(&target.workload, System::Roster, &target.figure);
        let of = |peer, figure: &str| run.median(&target.workload, peer, figure);
        let verdict = target.judge(spread.map(|spread| spread.median), of);
        let id = target.workload.split(' ').next().unwrap_or_default();
        let after = spread.map_or_else(|| "not measured".to_owned(), |spread| range(&target.figure, spread));
        let ratios = spread.map_or_else(|| "–".to_owned(), |spread| target.ratios(spread.median, &run));
        let before = target.before.as_deref().unwrap_or("–");
        let said = match verdict.reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        asked += usize::from(verdict.reached.is_some());
        reached += usize::from(verdict.reached == Some(true));
        let (what, limit) = (&target.what, target.limit(&run));
        let _ =
            writeln!(rows, "| {id} | {what} | {} | {before} | {after} | {ratios} | {limit} | {said} |", verdict.asked);
        if verdict.reached == Some(false) {
            let why = target.in_the_way.as_deref().unwrap_or("not yet known");
            let _ = writeln!(obstacles, "* {id}, {what}: {why}.");
        }
    }
    let mut text = format!(
        "\n### Target by target\n\n{reached} of {asked} are reached.\n\n\
         | | what | target | before | measured | beside peers | estimate of the limit | reached |\n\
         |---|---|---|---|---|---|---|---|\n{rows}"
    );
    if !obstacles.is_empty() {
        let _ = write!(text, "\nWhat stands in the way of those that are not:\n\n{obstacles}");
    }
    Ok(text)
}

/// How many targets were reached, of how many that were measured.
///
/// # Errors
/// As [`table`].
pub(super) fn reached(workloads: &[Workload], samples: &Samples) -> anyhow::Result<(usize, usize)> {
    let run = Measured { workloads, samples };
    let judged: Vec<bool> = all()?
        .iter()
        .filter_map(|target| {
            let measured = run.median(&target.workload, System::Roster, &target.figure);
            target.judge(measured, |peer, figure| run.median(&target.workload, peer, figure)).reached
        })
        .collect();
    Ok((judged.iter().filter(|reached| **reached).count(), judged.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::workloads::Sizes;

    fn target(figure: &str) -> Target {
        all().unwrap().into_iter().find(|target| target.figure == figure).unwrap()
    }

    #[test]
    fn a_ratio_is_that_of_the_same_run() {
        let target = target("per_second");
        let of_etcd = |_: System, _: &str| Some(10.0);
        assert_eq!(target.judge(Some(250.0), of_etcd).reached, Some(true));
        assert_eq!(target.judge(Some(249.0), of_etcd).reached, Some(false));
        assert_eq!(target.judge(Some(250.0), |_, _| None).reached, None, "without the peer nothing is said");
        assert_eq!(target.judge(None, of_etcd).reached, None);
    }

    #[test]
    fn a_part_of_a_peers_figure_is_a_bound() {
        let target = target("acknowledged_p99_ms");
        let of_etcd = |_: System, figure: &str| (figure == "acknowledged_p50_ms").then_some(50.0);
        assert_eq!(target.judge(Some(5.0), of_etcd).reached, Some(true));
        assert_eq!(target.judge(Some(5.1), of_etcd).reached, Some(false));
    }

    #[test]
    fn every_target_is_about_a_workload_and_stands_in_the_table_even_unmeasured() {
        let workloads = Workload::chosen(&Sizes::full(), &[]).unwrap();
        for target in all().unwrap() {
            let about = workloads.iter().filter(|workload| workload.name().starts_with(&target.workload));
            assert!(about.count() >= 1, "nothing measures {}", target.workload);
        }
        let table = table(&workloads, &Samples::default()).unwrap();
        assert_eq!(table.matches("not measured").count(), all().unwrap().len());
    }
}
