//! The machine as it was when it was measured.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Appends of the size of a small batch.
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 512;
/// What the programs are built from.
const BUILT: [&str; 4] = ["crates", "Cargo.toml", "Cargo.lock", ".cargo"];

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

/// What is measured; behind a `+` stands what the files that are built have otherwise, so that each state of them has
/// a name of its own.
pub(super) fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).args(["--"]).args(BUILT).current_dir(root).output();
        output.map(|output| output.stdout).unwrap_or_default()
    };
    let head = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root).output();
    let head = head.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let mut changes = git(&["diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD"]);
    let unknown = git(&["ls-files", "--others", "--exclude-standard", "-z"]);
    for name in unknown.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        changes.extend_from_slice(name);
        changes.push(0);
        changes.extend(fs::read(root.join(OsStr::from_bytes(name))).unwrap_or_default());
    }
    if changes.is_empty() { head } else { format!("{head}+{}", named(root, &changes)) }
}

/// A short name of such bytes, as git would name them.
fn named(root: &Path, bytes: &[u8]) -> String {
    let naming = || {
        let mut git = Command::new("git")
            .args(["hash-object", "--stdin"])
            .current_dir(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = git.stdin.take() {
            input.write_all(bytes)?;
        }
        git.wait_with_output()
    };
    let name = naming().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    name.chars().take(12).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn git(root: &Path, arguments: &[&str]) {
        let who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "core.hooksPath=/dev/null"];
        let status = Command::new("git").args(who).args(arguments).current_dir(root).output().unwrap().status;
        assert!(status.success(), "git {arguments:?}");
    }

    #[test]
    fn what_is_changed_and_not_committed_is_another_build_each_time_it_is_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
        fs::create_dir(root.join("crates")).unwrap();
        write("crates/one.rs", "1");
        write("page.md", "1");
        git(root, &["init", "--quiet"]);
        git(root, &["add", "--all"]);
        git(root, &["commit", "--quiet", "--message", "one"]);
        let committed = commit(root);
        assert_eq!(committed.len(), 12, "{committed}");
        write("page.md", "2");
        assert_eq!(commit(root), committed, "a page is not built");
        write("crates/one.rs", "2");
        let first = commit(root);
        write("crates/one.rs", "3");
        let second = commit(root);
        write("crates/two.rs", "2");
        let third = commit(root);
        write("crates/two.rs", "3");
        let fourth = commit(root);
        let builds = std::collections::BTreeSet::from([&committed, &first, &second, &third, &fourth]);
        assert_eq!(builds.len(), 5, "{builds:?}");
        assert!(fourth.starts_with(&format!("{committed}+")), "{fourth}");
        write("crates/two.rs", "2");
        assert_eq!(commit(root), third, "the same is the same");
    }
}
