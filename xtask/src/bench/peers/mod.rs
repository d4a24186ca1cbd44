//! Roster beside its peers: the same workloads, on the same machine, in turns.
//!
//! `programs` brings the peers, `workloads` says who is asked for what and how much, `servers` and `loads` do
//! it, `record` and `samples` keep what was measured, `progress` says how far it is. `targets` and `growth`
//! compare; `page`, `chart`, `lines` and `readme` show it.

mod chart;
mod conditions;
mod growth;
mod lines;
mod loads;
mod page;
mod programs;
mod progress;
mod readme;
mod record;
mod samples;
mod servers;
mod targets;
mod workloads;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;

use self::conditions::Conditions;
use self::loads::Ground;
use self::programs::Programs;
use self::progress::{Progress, Step};
use self::readme::Language;
use self::record::Record;
use self::workloads::{Kind, Sizes, System, Workload};
use super::tools;
use crate::steps;

/// Where the page lies below what a run writes into.
const PAGE: &str = "performance.md";
/// What a run has measured so far, below `target/peers`; a whole one keeps it beside the charts.
const SAMPLES: &str = "samples.json";

/// Of the measurement with peers.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// With --peers: so many rounds, in each of which every system does everything
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100), requires = "peers")]
    rounds: u32,
    /// With --peers: small sizes, to see whether it works; writes below target/ and not into docs/
    #[arg(long, requires = "peers")]
    quick: bool,
    /// With --peers: only this workload, such as W1; several allowed; writes below target/
    #[arg(long, value_name = "W", requires = "peers")]
    only: Vec<String>,
    /// With --peers: go on with the run that was ended or in which something failed
    #[arg(long, requires = "peers")]
    resume: bool,
    /// With --peers: measure nothing, write the pages anew from what the last whole run has measured
    #[arg(long, requires = "peers", conflicts_with_all = ["quick", "only", "resume"])]
    render: bool,
}

impl Run {
    /// The file of what it has measured so far: runs that measure other things do not go on with each other.
    fn state(&self) -> String {
        let sizes = self.quick.then_some("quick");
        let only: BTreeSet<&str> = self.only.iter().map(String::as_str).collect();
        let parts: Vec<&str> = std::iter::once("run").chain(sizes).chain(only).collect();
        format!("{}.json", parts.join("-"))
    }
}

/// # Errors
/// When a peer cannot be had, or a workload fails: then what was measured is shown first.
pub(super) fn run(root: &Path, run: &Run) -> anyhow::Result<()> {
    let sizes = if run.quick { Sizes::quick() } else { Sizes::full() };
    let workloads = Workload::chosen(&sizes, &run.only)?;
    let place = Place::new(root, run.quick || !run.only.is_empty());
    if run.render {
        let record = Record::load(&place.charts().join(SAMPLES))?;
        return place.write(&record, &workloads);
    }
    // Who builds here may not be the commit that is checked out when it ends.
    let commit = conditions::commit(root);
    steps::cargo(root, &["build", "--release", "--locked", "--package", "roster-cli", "--package", "roster-peers"])?;
    let programs = Programs::find(root, &place.work)?;
    let mut workloads = workloads;
    workloads.retain(|workload| workload.is_there(&programs));
    let state = place.work.join(run.state());
    let data = place.emptied_data()?;
    let mut record = if run.resume {
        Record::resume(&state, &commit, run.rounds)?
    } else {
        Record::new(commit, run.rounds, Conditions::look(&data)?, programs.versions())
    };

    measure(&mut record, &workloads, &Ground { programs: &programs, data: &data, sizes: &sizes }, &place, &state)?;
    record.after = Some(Conditions::look(&data)?);
    record.save(&state)?;
    place.write(&record, &workloads)?;
    ensure!(
        record.failures.is_empty(),
        "not everything was measured; `--resume` does what is missing:\n{}",
        record.failures.join("\n")
    );
    Ok(())
}

/// Every step that is not in the record yet. What fails is left out and told of.
fn measure(
    record: &mut Record,
    workloads: &[Workload],
    ground: &Ground<'_>,
    place: &Place,
    state: &Path,
) -> anyhow::Result<()> {
    let rounds = 1..=record.rounds;
    let all = rounds.flat_map(|round| {
        workloads.iter().flat_map(move |workload| workload.systems.iter().map(move |&system| (round, workload, system)))
    });
    let all: Vec<Step<'_>> = all.filter(|&(round, workload, system)| !record.has(workload, system, round)).collect();
    let progress = Progress::new();
    for (index, &step) in all.iter().enumerate() {
        let (round, workload, system) = step;
        progress.show(record, step, &all[index..]);
        let start = Instant::now();
        match ground.measure(workload, system, &record.samples) {
            Ok(measured) => record.add(workload, system, measured, start.elapsed().as_secs_f64()),
            Err(error) => {
                let failure = format!("{} with {} in round {round}: {error:#}", workload.name(), system.name());
                eprintln!("{failure}");
                record.failures.push(failure);
            }
        }
        record.save(state)?;
        // A load that was ended leaves its folder behind.
        place.emptied_data()?;
    }
    Ok(())
}

/// Where a run keeps its things.
#[derive(Debug)]
struct Place {
    /// Programs, data and what was measured so far.
    work: PathBuf,
    /// For the page and the charts.
    into: PathBuf,
    /// The readmes, when what is measured is whole.
    readmes: Vec<(PathBuf, Language)>,
}

impl Place {
    fn new(root: &Path, is_part: bool) -> Self {
        let work = tools::target(root).join("peers");
        if is_part {
            let readmes =
                vec![(work.join("readme.md"), Language::English), (work.join("readme.zh-CN.md"), Language::Chinese)];
            return Self { into: work.clone(), work, readmes };
        }
        let readmes =
            vec![(root.join("README.md"), Language::English), (root.join("README.zh-CN.md"), Language::Chinese)];
        Self { work, into: root.join("docs"), readmes }
    }

    fn charts(&self) -> PathBuf {
        self.into.join("performance")
    }

    /// For the data of servers, empty whatever an earlier run has left.
    fn emptied_data(&self) -> anyhow::Result<PathBuf> {
        let data = self.work.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("empty {}", data.display()))?;
        }
        fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
        Ok(data)
    }

    fn write(&self, record: &Record, workloads: &[Workload]) -> anyhow::Result<()> {
        let charts = self.charts();
        if charts.exists() {
            // Pictures of what is measured no longer.
            fs::remove_dir_all(&charts).with_context(|| format!("empty {}", charts.display()))?;
        }
        fs::create_dir_all(&charts).with_context(|| format!("make {}", charts.display()))?;
        record.save(&charts.join(SAMPLES))?;
        let mut text = page::head(record);
        text.push_str(&targets::table(workloads, &record.samples)?);
        let is_last = |workload: &&Workload| workload.kind == Kind::Floor;
        let (last, first): (Vec<_>, Vec<_>) = workloads.iter().partition(is_last);
        for workload in first.into_iter().chain(last) {
            let is_own = matches!(workload.kind, Kind::Own(_));
            if is_own && !record.samples.has(workload, System::Roster) {
                continue;
            }
            let mut drawn = chart::draw(workload, &record.samples);
            if workload.kind == Kind::Growth {
                drawn.extend(lines::draw(workload, &record.samples));
            }
            for (name, svg) in &drawn {
                fs::write(charts.join(name), svg).with_context(|| format!("write {name}"))?;
            }
            text.push_str(&page::section(workload, &record.samples, &drawn));
        }
        page::write(&self.into.join(PAGE), &text)?;
        for (readme, language) in &self.readmes {
            page::write(readme, &format!("\n{}", readme::paragraph(record, workloads, *language)?))?;
        }
        println!("{text}\nwritten: {}", self.into.join(PAGE).display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(quick: bool, only: &[&str]) -> String {
        let only = only.iter().map(|&id| id.to_owned()).collect();
        Run { rounds: 1, quick, only, resume: false, render: false }.state()
    }

    #[test]
    fn runs_of_other_workloads_or_sizes_are_kept_apart() {
        let states = [
            state(false, &[]),
            state(true, &[]),
            state(false, &["W1"]),
            state(true, &["W1"]),
            state(false, &["W1", "W3"]),
        ];
        let apart: BTreeSet<_> = states.iter().collect();
        assert_eq!(apart.len(), states.len(), "{states:?}");
        assert_eq!(state(false, &["W3", "W1", "W3"]), state(false, &["W1", "W3"]), "in whatever order");
    }
}
