//! What a workload cost the node: its own counters, and what the kernel says of its process.
//!
//! The process is looked at only when the node is on this machine: its address is a loopback one and
//! the number that it gives for itself belongs to a `roster`.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use roster_client::Client;

/// The unit of the times in /proc/PID/stat: `sysconf(_SC_CLK_TCK)`, which Linux fixes at 100.
const TICKS_PER_SECOND: f64 = 100.0;

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
        let cpu = cpu_of(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?;
        let resident_bytes = resident_of(&fs::read_to_string(format!("/proc/{id}/status")).ok()?)?;
        Some(Self { cpu, resident_bytes })
    }
}

/// User and system time of all threads, the ended ones included.
fn cpu_of(stat: &str) -> Option<Duration> {
    // The name may have blanks and brackets in it; the fields after its last bracket are counted from 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND))
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn is_loopback(url: &str) -> bool {
    let authority = url.split("://").last().unwrap_or(url);
    ["127.", "localhost", "[::1]"].iter().any(|loopback| authority.starts_with(loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_are_read_whatever_its_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 99 1 1 1";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_of("42"), None);
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
