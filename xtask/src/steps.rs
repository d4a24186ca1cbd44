//! Runs the commands that the tasks are made of, each announced before it starts.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// One `cargo …` in the root of the workspace.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    // Cargo names itself to its children; without it the one on the path is meant.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(root, &cargo, arguments)
}

/// One command in the root of the workspace; its output goes through.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub(crate) fn run(root: &Path, program: &OsStr, arguments: &[&str]) -> anyhow::Result<()> {
    announce(program, arguments);
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .status()
        .with_context(|| format!("start {}", program.display()))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(program, arguments));
    }
    Ok(())
}

/// One `cargo …` whose standard output goes through line by line; returns the lines that `keep` chose.
///
/// # Errors
/// As [`run`]; the kept lines are printed before, for they say what failed.
pub(crate) fn cargo_keeping(root: &Path, arguments: &[&str], keep: fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    announce(&cargo, arguments);
    let mut child = Command::new(&cargo)
        .args(arguments)
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", cargo.display()))?;
    let stdout = child.stdout.take().context("the output was asked for")?;
    let mut kept = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read the output")?;
        println!("{line}");
        if keep(&line) {
            kept.push(line);
        }
    }
    let status = child.wait().context("wait for the end")?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(&cargo, arguments));
    }
    Ok(kept)
}

/// Whether `cargo NAME` is there.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let probe = Command::new(cargo).args([name, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

fn announce(program: &OsStr, arguments: &[&str]) {
    eprintln!("\n== {}", shown(program, arguments));
}

fn shown(program: &OsStr, arguments: &[&str]) -> String {
    let program = Path::new(program).file_name().unwrap_or(program);
    format!("{} {}", program.display(), arguments.join(" "))
}
