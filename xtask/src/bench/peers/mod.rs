//! Roster beside its peers: the same workloads, on the same machine, in turns.
//!
//! `programs` brings the peers, `servers` starts them, `workloads` says who is asked for what and how much,
//! `samples` keeps what was measured, `targets` compares, `page` and `chart` show it.

mod chart;
mod conditions;
mod page;
mod programs;
mod samples;
mod servers;
mod targets;
mod workloads;

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::Args;

use self::conditions::Conditions;
use self::programs::Programs;
use self::samples::Samples;
use self::workloads::{Sizes, Workload};
use super::tools;
use crate::steps;

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
}

/// # Errors
/// When a peer cannot be had, or a workload fails.
pub(super) fn run(root: &Path, run: &Run) -> anyhow::Result<()> {
    let sizes = if run.quick { Sizes::quick() } else { Sizes::full() };
    let work = tools::target(root).join("peers");
    let data = work.join("data");
    fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
    steps::cargo(root, &["build", "--release", "--locked", "--package", "roster-cli", "--package", "roster-peers"])?;
    let programs = Programs::find(root, &work)?;
    let workloads = Workload::chosen(&sizes, &run.only)?;

    let before = Conditions::look(root, &data)?;
    let mut samples = Samples::default();
    for round in 1..=run.rounds {
        for workload in &workloads {
            for &system in &workload.systems {
                if !programs.can(system, workload) {
                    eprintln!("{} has no queue benchmark yet: {} is left out", system.name(), workload.id);
                    continue;
                }
                eprintln!("round {round} of {}: {} {}: {}", run.rounds, workload.id, workload.title, system.name());
                let measured = workload
                    .measure(system, &programs, &data, &sizes)
                    .with_context(|| format!("{} with {}", workload.id, system.name()))?;
                samples.add(workload, system, measured);
            }
        }
    }
    let after = Conditions::look(root, &data)?;

    let whole = !run.quick && run.only.is_empty();
    let into = if whole { root.join("docs") } else { work };
    let charts = into.join("performance");
    fs::create_dir_all(&charts).with_context(|| format!("make {}", charts.display()))?;
    fs::write(charts.join("samples.json"), samples.json()?).context("write the samples")?;
    let mut text = page::head(&before, &after, &programs, run.rounds);
    text.push_str(&targets::table(&workloads, &samples));
    for workload in &workloads {
        let drawn = chart::draw(workload, &samples);
        for (name, svg) in &drawn {
            fs::write(charts.join(name), svg).with_context(|| format!("write {name}"))?;
        }
        text.push_str(&page::section(workload, &samples, &drawn));
    }
    println!("{text}");
    page::write(&into.join("performance.md"), &text)?;
    println!("written: {}", into.join("performance.md").display());
    Ok(())
}
