//! The one door: `cargo xtask ci|test|tidy|bench|codegen`. `.ci/run` goes through it too, so that what
//! passes on a desk and what passes in CI cannot differ.

mod bench;
mod ci;
mod codegen;
mod steps;
mod test;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

/// Builds, tests and tidies Roster.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Everything that must pass before a change is merged: format, lints, what `test` does, release build, demo.
    Ci,
    /// The tidy checks, the examples that end by themselves, instruction counts, and all tests with the doc tests.
    Test,
    /// The rules of the repository that a program can check.
    Tidy,
    /// Instruction counts of the hot paths, compared with those that are committed; or Roster beside its peers.
    Bench(bench::Bench),
    /// Generates the protobuf code that is committed.
    Codegen,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // In one line: a backtrace of this program says nothing about what it has found.
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands below the workspace")?;
    match Task::parse() {
        Task::Ci => ci::run(root),
        Task::Test => test::run(root),
        Task::Tidy => tidy::run(root),
        Task::Bench(arguments) => bench::run(root, &arguments),
        Task::Codegen => codegen::run(root),
    }
}
