//! The machine as it was when it was measured.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Appends of the size of a small batch.
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 512;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Conditions {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
    pub(super) load: String,
    /// The median of appending and syncing.
    pub(super) sync_us: u64,
}

impl Conditions {
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn look(data: &Path) -> anyhow::Result<Self> {
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let kibibytes: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches("kB").trim().parse().unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: kibibytes.div_ceil(1024 * 1024),
            kernel: kernel.trim().to_owned(),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(", "),
            sync_us: sync_us(data)?,
        })
    }
}

/// What is measured; `+` when files differ from it.
pub(super) fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed = !git(&["status", "--porcelain", "--", "crates", "Cargo.lock"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short=12", "HEAD"]), if changed { "+" } else { "" })
}

fn sync_us(data: &Path) -> anyhow::Result<u64> {
    let mut file = tempfile::tempfile_in(data).context("make a file to sync")?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[b'x'; SYNC_BYTES]).context("write a file")?;
        file.sync_data().context("sync a file")?;
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}
