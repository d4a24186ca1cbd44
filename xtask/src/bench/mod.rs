//! `cargo xtask bench`: instruction counts of the hot paths against those that are committed; and with
//! `--peers`, Roster beside its peers in the same run.
//!
//! Each has a file: `tools` brings what is not on the machine, `counts` runs the benchmarks, `baseline`
//! keeps and compares, `flames` shows where time goes. What concerns peers stands in `peers`.

mod baseline;
mod counts;
mod flames;
mod peers;
mod tools;

use std::path::Path;

use clap::Args;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Write the counts of this run as the ones to compare with
    #[arg(long, conflicts_with = "peers")]
    save: bool,
    /// Measure Roster and its peers alternately, and write docs/performance.md
    #[arg(long)]
    peers: bool,
    /// Draw where the processor time of a loaded node goes, as flame graphs in docs/flames
    #[arg(long, conflicts_with_all = ["peers", "save"])]
    flames: bool,
    #[command(flatten)]
    run: peers::Run,
}

/// # Errors
/// When a benchmark cannot run, or costs more than the committed count allows.
pub(crate) fn run(root: &Path, bench: &Bench) -> anyhow::Result<()> {
    if bench.peers {
        return peers::run(root, &bench.run);
    }
    if bench.flames {
        return flames::run(root);
    }
    if !bench.save {
        return counts(root);
    }
    let toolchain = tools::toolchain()?;
    baseline::save(root, &toolchain, &counts::run(root)?)
}

/// Only compares instruction counts.
fn counts(root: &Path) -> anyhow::Result<()> {
    let toolchain = tools::toolchain()?;
    baseline::compare(root, &toolchain, &counts::run(root)?)
}

/// Compares instruction counts where there are some to compare with; elsewhere it says why it does not.
///
/// # Errors
/// As [`run`].
pub(crate) fn gate(root: &Path) -> anyhow::Result<()> {
    let why_not = match tools::toolchain() {
        Ok(toolchain) if baseline::knows(root, &toolchain)? => return counts(root),
        Ok(toolchain) => format!("none are committed for {toolchain}"),
        Err(error) => format!("{error:#}"),
    };
    println!("instruction counts are not compared: {why_not}");
    Ok(())
}
