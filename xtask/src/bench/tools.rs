//! What counting instructions needs beside the Rust toolchain: valgrind, and the runner of gungraun in
//! exactly the version of the library. The runner goes below `target/`; valgrind comes from the system. And what
//! flame graphs need: perf, from the system, and inferno, below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::steps;

const RUNNER: &str = "gungraun-runner";
const INFERNO: &str = "inferno";
const INFERNO_VERSION: &str = "0.12.8";

/// What counts depend on beside the code: they are only compared when all of it is the same.
///
/// # Errors
/// When one of the programs is not there and cannot be brought.
pub(crate) fn toolchain() -> anyhow::Result<String> {
    if first_line("valgrind", &["--version"]).is_err() {
        install("valgrind", "count instructions")?;
    }
    let valgrind = first_line("valgrind", &["--version"])?;
    let rustc = first_line("rustc", &["--version"])?;
    // `rustc 1.95.0 (f2d3ce0bd 2026-03-21)`: the commit is that of the version.
    let rustc = rustc.split(" (").next().unwrap_or_default().to_owned();
    let libc = first_line("getconf", &["GNU_LIBC_VERSION"])?;
    Ok(format!("{rustc}, {valgrind}, {libc}, {}-{}", std::env::consts::ARCH, std::env::consts::OS))
}

/// The runner, installed when it is not there in this version.
///
/// # Errors
/// When it cannot be installed.
pub(crate) fn runner(root: &Path) -> anyhow::Result<PathBuf> {
    Ok(brought(root, RUNNER, &runner_version(root)?)?.join(RUNNER))
}

/// Where the programs are that draw flame graphs.
///
/// # Errors
/// When they cannot be installed.
pub(crate) fn inferno(root: &Path) -> anyhow::Result<PathBuf> {
    brought(root, INFERNO, INFERNO_VERSION)
}

/// Installs a package below `target/` when it is not there in this version; where its programs are.
fn brought(root: &Path, package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let tools = target(root).join("tools");
    let listed = fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
    if !listed.contains(&format!("\"{package} {version} ")) {
        let tools = tools.to_string_lossy().into_owned();
        steps::cargo(root, &["install", package, "--locked", "--version", version, "--root", &tools])?;
    }
    Ok(tools.join("bin"))
}

/// Where cargo builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The library says which runner it is for: the one that the lock file names.
fn runner_version(root: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(root.join("Cargo.lock")).context("read Cargo.lock")?;
    let lock: toml::Table = text.parse().context("read Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let is_runner = |package: &&toml::Value| package.get("name").and_then(toml::Value::as_str) == Some(RUNNER);
    let package = packages.into_iter().find(is_runner).context("Cargo.lock does not name gungraun-runner")?;
    Ok(package.get("version").and_then(toml::Value::as_str).context("a package without a version")?.to_owned())
}

/// `perf`, installed when it is not there.
///
/// # Errors
/// When it cannot be installed.
pub(crate) fn perf() -> anyhow::Result<()> {
    if first_line("perf", &["--version"]).is_err() {
        install("linux-perf", "look at where time goes")?;
    }
    first_line("perf", &["--version"]).map(drop)
}

fn install(package: &str, what_for: &str) -> anyhow::Result<()> {
    eprintln!("{package} is not there; trying to install it");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", package]] {
        let installed = Command::new("apt-get").args(arguments).status();
        if !installed.is_ok_and(|status| status.success()) {
            bail!(
                "{package} is needed to {what_for} and `apt-get {}` did not work: install it with the package \
                 manager of this system, as its administrator, and run this again",
                arguments.join(" ")
            );
        }
    }
    Ok(())
}

fn first_line(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("start {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).with_context(|| format!("{program} says nothing"))
}
