//! What a workload cost the node: its own counters, and what the kernel says of its process.
//!
//! The process is looked at only when the node is on this machine: its address is a loopback one and
//! the number that it gives for itself belongs to a `roster`.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use nix::time::ClockId;
use nix::unistd::Pid;
use roster_client::Client;

/// The node at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) syncs: u64,
    pub(super) batches: u64,
    pub(super) commands: u64,
    pub(super) watch_resets: u64,
    /// Of the log of the queues.
    pub(super) queue_syncs: u64,
    process_id: u64,
    process: Option<Process>,
}

#[derive(Debug, Clone, Copy)]
struct Process {
    cpu: Duration,
    resident_bytes: u64,
}

impl Cost {
    /// # Errors
    /// When the node does not answer.
    pub(super) async fn take(client: &Client, url: &str) -> anyhow::Result<Self> {
        let status = client.status().await.context("ask for the status of the node")?;
        let process = if is_loopback(url) { Process::look(status.process_id) } else { None };
        let log = status.log.unwrap_or_default();
        Ok(Self {
            syncs: log.syncs,
            batches: log.batches,
            commands: log.commands,
            watch_resets: status.watch_resets,
            queue_syncs: status.queue_log.unwrap_or_default().syncs,
            process_id: status.process_id,
            process,
        })
    }

    /// The processor time that passed in the node since an earlier look.
    pub(super) fn cpu_since(&self, earlier: &Self) -> Option<Duration> {
        Some(self.process?.cpu.saturating_sub(earlier.process?.cpu))
    }

    pub(super) fn resident_bytes(&self) -> Option<u64> {
        Some(self.process?.resident_bytes)
    }

    /// Those of the same process at this moment, without a word with the node.
    pub(super) fn look_again(&self) -> Option<u64> {
        self.process?;
        Process::look(self.process_id).map(|process| process.resident_bytes)
    }
}

impl Process {
    fn look(id: u64) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        if name.trim_end() != "roster" {
            return None;
        }
        let cpu = cpu_of(i32::try_from(id).ok()?)?;
        let resident_bytes = resident_of(&fs::read_to_string(format!("/proc/{id}/status")).ok()?)?;
        Some(Self { cpu, resident_bytes })
    }
}

/// User and system time of all threads, the ended ones included. It is the clock of the process, for what
/// /proc says is rounded to ticks of 10 ms, and a small workload takes no more than that.
fn cpu_of(id: i32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(id)).ok()?;
    Some(clock.now().ok()?.into())
}

fn resident_of(status: &str) -> Option<u64> {
    Some(field_of(status, "VmRSS")? * 1024)
}

/// A number in /proc/PID/status; memory is in units of 1,024 bytes.
pub(super) fn field_of(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    value.strip_suffix("kB").unwrap_or(value).trim().parse().ok()
}

fn is_loopback(url: &str) -> bool {
    let authority = url.split("://").last().unwrap_or(url);
    ["127.", "localhost", "[::1]"].iter().any(|loopback| authority.starts_with(loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_finer_than_a_tick() {
        let id = i32::try_from(std::process::id()).unwrap();
        let before = cpu_of(id).unwrap();
        let mut after = before;
        while after == before {
            after = cpu_of(id).unwrap();
        }
        assert!(after - before < Duration::from_millis(10), "{before:?} {after:?}");
        // More than Linux gives out.
        assert_eq!(cpu_of(5_000_000), None, "nobody has this number");
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_of("Name:\troster\nVmRSS:\t    2048 kB\nThreads:\t4\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident_of("Name:\troster\n"), None);
    }

    #[test]
    fn only_an_address_of_this_machine_is_local() {
        assert!(is_loopback("http://127.0.0.1:7400") && is_loopback("http://localhost:1") && is_loopback("[::1]:1"));
        assert!(!is_loopback("http://10.0.0.1:7400"));
    }
}
