//! What this process uses: processor time, memory, threads and connections.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::time::{ClockId, clock_gettime};

use super::super::cost::field_of;

/// Two looks at the memory that follow each other by this much and differ by less than a page or two are one.
const SETTLING: Duration = Duration::from_millis(300);
const LOOKS_MAX: u32 = 40;
const SAME_BYTES: u64 = 16 * 1024;
/// `TCP_ESTABLISHED` in /proc/net/tcp.
const ESTABLISHED: &str = "01";

/// The processor time of all threads so far.
pub(super) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// Microseconds of processor time in each second of a span in which nothing is asked of the SDK.
pub(super) async fn cpu_us_per_second(idle: Duration) -> f64 {
    let (since, before) = (Instant::now(), cpu());
    tokio::time::sleep(idle).await;
    (cpu() - before).as_secs_f64() * 1e6 / since.elapsed().as_secs_f64()
}

/// The resident memory, when it has stopped changing.
///
/// # Errors
/// When it never does.
pub(super) async fn settled() -> anyhow::Result<u64> {
    let mut last = None;
    for _ in 0..LOOKS_MAX {
        let bytes = kibibytes("VmRSS")?;
        if last.is_some_and(|last: u64| last.abs_diff(bytes) <= SAME_BYTES) {
            return Ok(bytes);
        }
        last = Some(bytes);
        tokio::time::sleep(SETTLING).await;
    }
    bail!("the memory of the process does not settle")
}

/// From here on [`peak`] counts anew.
pub(super) fn forget_peak() -> anyhow::Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("forget the most memory that was used")
}

/// The most memory that was resident.
pub(super) fn peak() -> anyhow::Result<u64> {
    kibibytes("VmHWM")
}

pub(super) fn threads() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("look at the process")?;
    field_of(&status, "Threads").context("a process without threads")
}

/// TCP connections of this process that stand.
pub(super) fn connections() -> anyhow::Result<u64> {
    let mut own = HashSet::new();
    for entry in fs::read_dir("/proc/self/fd").context("look at the open files")? {
        // The folder itself is among them, and closed by then.
        let Ok(target) = fs::read_link(entry.context("look at the open files")?.path()) else { continue };
        let target = target.to_string_lossy();
        own.extend(target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned));
    }
    let tables =
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    Ok(tables.iter().flat_map(|table| established(table)).filter(|inode| own.contains(*inode)).count() as u64)
}

/// The sockets of a table of the kernel whose connection stands.
fn established(table: &str) -> impl Iterator<Item = &str> {
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&ESTABLISHED)).filter_map(|row| row.get(9).copied())
}

fn kibibytes(field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("look at the process")?;
    Ok(field_of(&status, field).with_context(|| format!("the kernel does not tell {field}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_stand_are_counted() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1CE8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:9C40 0100007F:1CE8 01 00000000:00000000 02:00000A4B 00000000     0        0 12 2 0 20 4 30 10 -1
";
        assert_eq!(established(table).collect::<Vec<_>>(), ["12"]);
    }

    #[test]
    fn this_process_uses_something() {
        assert!(peak().unwrap() > 0 && threads().unwrap() > 0 && cpu() > Duration::ZERO);
    }
}
