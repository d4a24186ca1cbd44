//! What the kernel says of the server's process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::time::ClockId;
use nix::unistd::Pid;

const SETTLING: Duration = Duration::from_millis(300);
const LOOKS_MAX: u32 = 20;

/// User and system time of all threads, the ended ones included, finer than the ticks of /proc.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).context("no number of a process")?);
    let clock = ClockId::pid_cpu_clock_id(pid).context("look at the server's process")?;
    Ok(clock.now().context("look at the server's process")?.into())
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("look at the server's process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process without memory")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("memory that is no number")?;
    Ok(kibibytes * 1024)
}

/// The resident memory, when it has stopped changing.
pub(crate) async fn settled_bytes(pid: u32) -> anyhow::Result<u64> {
    let mut last = None;
    for _ in 0..LOOKS_MAX {
        let bytes = resident_bytes(pid)?;
        if last.is_some_and(|last: u64| last.abs_diff(bytes) * 100 < bytes) {
            return Ok(bytes);
        }
        last = Some(bytes);
        tokio::time::sleep(SETTLING).await;
    }
    bail!("the memory of the server does not settle")
}
