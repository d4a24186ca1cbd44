//! The targets, and how what was measured stands to them. Every ratio is of medians of the same run.

use std::fmt::Write as _;

use super::page::shown;
use super::samples::Samples;
use super::workloads::{System, Workload};

#[derive(Debug, Clone, Copy)]
enum Bound {
    Most(f64),
    /// So many times the peer's value of the same name, or more.
    Times(f64, System),
    /// The peer's value of another name, divided by so much, or less.
    Share(&'static str, f64, System),
}

#[derive(Debug, Clone, Copy)]
struct Target {
    /// The beginning of the workload's id and title.
    workload: &'static str,
    figure: &'static str,
    bound: Bound,
}

const fn target(workload: &'static str, figure: &'static str, bound: Bound) -> Target {
    Target { workload, figure, bound }
}

const MIB: f64 = 1024.0 * 1024.0;

const TARGETS: [Target; 24] = [
    target("W1", "per_second", Bound::Times(25.0, System::Etcd)),
    target("W1", "acknowledged_p99_ms", Bound::Share("acknowledged_p50_ms", 10.0, System::Etcd)),
    target("W1", "cpu_us_each", Bound::Most(3.0)),
    target("W2 push to 1000 ", "delivered_p99_ms", Bound::Most(5.0)),
    target("W2 push to 5000 ", "delivered_p99_ms", Bound::Most(20.0)),
    target("W2 push to 20000 ", "delivered_p99_ms", Bound::Most(80.0)),
    target("W2 push to 1000 ", "cpu_us_each", Bound::Most(2.0)),
    target("W2 push to 5000 ", "cpu_us_each", Bound::Most(2.0)),
    target("W2 push to 20000 ", "cpu_us_each", Bound::Most(2.0)),
    target("W3", "killed_to_known_p50_ms", Bound::Most(1.0)),
    target("W3", "killed_to_known_p99_ms", Bound::Most(5.0)),
    target("W4 SIGKILL with 300000 ", "start_to_full_answer_ms", Bound::Most(500.0)),
    target("W4 SIGKILL with 1000000 ", "start_to_full_answer_ms", Bound::Most(2_000.0)),
    target("W5", "idle_bytes", Bound::Most(10.0 * MIB)),
    target("W5", "bytes_per_instance_at_100000", Bound::Most(400.0)),
    target("W5", "bytes_per_instance_at_1000000", Bound::Most(400.0)),
    target("W5", "bytes_per_watch_at_5000", Bound::Most(350.0)),
    target("W5", "bytes_per_watch_at_100000", Bound::Most(350.0)),
    target("W5", "bytes_per_connection_with_a_watch", Bound::Most(12.0 * 1024.0)),
    target("W6", "per_second", Bound::Times(5.0, System::Etcd)),
    target("W7 publish and", "per_second", Bound::Times(6.0, System::Redis)),
    target("W7 publish 5", "per_second", Bound::Times(6.0, System::Redis)),
    target("W7 publish 5", "published_p99_ms", Bound::Share("published_p50_ms", 1.0, System::Redis)),
    target("W7 publish and", "delivered_p99_ms", Bound::Most(10.0)),
];

/// Those of which everything was measured.
pub(super) fn table(workloads: &[Workload], samples: &Samples) -> String {
    let mut rows = String::new();
    for target in TARGETS {
        let is_it = |workload: &&Workload| format!("{} {}", workload.id, workload.title).starts_with(target.workload);
        let Some(workload) = workloads.iter().find(is_it) else { continue };
        let median = |system, name: &str| samples.spread(workload, system, name).map(|spread| spread.median);
        let Some(measured) = median(System::Roster, target.figure) else { continue };
        let Some((bound, met, ratio)) = judge(target, measured, median) else { continue };
        let met = if met { "yes" } else { "no" };
        let (id, figure) = (workload.id, target.figure.replace('_', " "));
        let title = workload.title.split(',').next().unwrap_or_default();
        let value = shown(target.figure, measured);
        let _ = writeln!(rows, "| {id}: {title} | {figure} | {bound} | {value} | {ratio} | {met} |");
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "\n### Targets\n\n| workload | figure | target | measured | times the peer | reached |\n|---|---|---|---|---|---|\n{rows}"
    )
}

fn judge(
    target: Target,
    measured: f64,
    median: impl Fn(System, &str) -> Option<f64>,
) -> Option<(String, bool, String)> {
    let ratio = |peer: f64| format!("{:.1} ({})", measured / peer, shown(target.figure, peer));
    Some(match target.bound {
        Bound::Most(most) => (format!("at most {}", shown(target.figure, most)), measured <= most, "–".to_owned()),
        Bound::Times(times, peer) => {
            let value = median(peer, target.figure)?;
            (format!("{times} times {}", peer.name()), measured >= times * value, ratio(value))
        }
        Bound::Share(name, divisor, peer) => {
            let value = median(peer, name)?;
            let part = if divisor > 1.0 { format!(" ÷ {divisor}") } else { String::new() };
            let what = name.replace('_', " ");
            (format!("at most the {what} of {}{part}", peer.name()), measured <= value / divisor, ratio(value))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_same_run() {
        let target = TARGETS[0];
        let of_etcd = |value: f64| move |_: System, _: &str| Some(value);
        assert!(judge(target, 250.0, of_etcd(10.0)).unwrap().1);
        assert!(!judge(target, 249.0, of_etcd(10.0)).unwrap().1);
        assert!(judge(target, 250.0, |_, _| None).is_none(), "without the peer nothing is said");
    }
}
