//! Growth: what one operation costs at sizes over two decades, and by how much that grows.
//!
//! Judged is the processor time of the node, for what an operation takes is as noisy as the machine.

use std::fmt::Write as _;

use super::page::{digits, grouped};
use super::samples::{Samples, Spread, size_in};
use super::workloads::{System, Workload};

pub(super) const CPU: &str = "_node_cpu_us";
pub(super) const ELAPSED: &str = "_elapsed_us";

/// An operation, and what there is more and more of.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) size: &'static str,
}

const fn operation(name: &'static str, what: &'static str, size: &'static str) -> Operation {
    Operation { name, what, size }
}

pub(super) const OPERATIONS: [Operation; 10] = [
    operation("register", "a registration", "instances there, in 1,000 services"),
    operation("fanout", "a delivery to one of 1,000 watches", "other services"),
    operation("expire", "a session that expires with all others", "sessions lost at once"),
    operation("storm", "a watcher that arrives after a restart", "watchers at once"),
    operation("service", "a registration in one service", "instances of the service"),
    operation("list", "an instance listed", "instances of the service"),
    operation("prefix", "a service in the state of a prefix watch", "services below the prefix"),
    operation("prefix_change", "a newcomer below a watched prefix", "services below the prefix"),
    operation("publish", "a message published", "messages waiting"),
    operation("consume", "a message consumed", "messages waiting"),
];

/// Of an operation: each size, and what it took there.
pub(super) fn points(samples: &Samples, workload: &Workload, operation: &str, what: &str) -> Vec<(u64, Spread)> {
    let start = format!("{operation}_at_");
    let names = samples.names(workload).into_iter().filter(|name| name.starts_with(&start) && name.ends_with(what));
    let point = |name: String| Some((size_in(&name)?, samples.spread(workload, System::Roster, &name)?));
    let mut points: Vec<_> = names.filter_map(point).collect();
    points.sort_by_key(|(size, _)| *size);
    points
}

/// By how many percent the processor time grows from the smallest to the largest size, in each round.
pub(super) fn percent(samples: &Samples, workload: &Workload, operation: &str) -> Option<Spread> {
    let points = points(samples, workload, operation, CPU);
    let ((smallest, first), (largest, last)) = (points.first()?, points.last()?);
    if smallest == largest {
        return None;
    }
    let values = |size: &u64| {
        samples.values(workload, System::Roster, &format!("{operation}_at_{size}{CPU}")).unwrap_or_default()
    };
    let grown = |before: f64, after: f64| (after / before - 1.0) * 100.0;
    let rounds: Vec<f64> =
        values(smallest).iter().zip(values(largest)).map(|(before, after)| grown(*before, *after)).collect();
    let spread = Spread::of(&rounds)?;
    // Of the medians, as every other ratio; the rounds give the range.
    let median = grown(first.median, last.median);
    Some(Spread { median, least: spread.least.min(median), most: spread.most.max(median) })
}

/// What everything cost and took at each size.
pub(super) fn tables(samples: &Samples, workload: &Workload) -> String {
    let mut text = String::new();
    for (what, title) in
        [(CPU, "processor time of the node for each"), (ELAPSED, "what each took, with others under way")]
    {
        let _ = write!(
            text,
            "\n| {title} | | at a hundredth | at a tenth | at all of it | growth |\n|---|---|---|---|---|---|\n"
        );
        for Operation { name, what: operation, size } in &OPERATIONS {
            let points = points(samples, workload, name, what);
            let [(_, first), .., (most, last)] = points.as_slice() else { continue };
            let cells: Vec<String> = points.iter().map(|(_, spread)| format!("{} µs", range(*spread))).collect();
            let growth = (last.median / first.median - 1.0) * 100.0;
            let _ = writeln!(
                text,
                "| {operation} | {} {size} | {} | {growth:+.0} % |",
                grouped(*most as f64),
                cells.join(" | ")
            );
        }
    }
    text
}

fn range(spread: Spread) -> String {
    let Spread { median, least, most } = spread;
    if least == most { digits(median) } else { format!("{} ({} – {})", digits(median), digits(least), digits(most)) }
}

/// Whether a figure stands in the tables and pictures of growth.
pub(super) fn shows(name: &str) -> bool {
    name.ends_with(CPU) || name.ends_with(ELAPSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::samples::Measured;
    use crate::bench::peers::workloads::Sizes;

    #[test]
    fn growth_is_from_the_smallest_to_the_largest_size() {
        let workloads = Workload::chosen(&Sizes::full(), &["W8".to_owned()]).unwrap();
        let [workload] = workloads.as_slice() else { panic!("one workload") };
        let mut samples = Samples::default();
        for (small, large) in [(2.0, 2.2), (2.0, 2.4), (2.0, 3.0)] {
            let figures = serde_json::json!({ "list_at_1000_node_cpu_us": large, "list_at_500_node_cpu_us": 9.0, "list_at_5_node_cpu_us": small });
            let said = serde_json::json!({ "figures": figures });
            samples.add(workload, System::Roster, Measured::read(&said).unwrap());
        }
        let grown = percent(&samples, workload, "list").unwrap();
        assert_eq!([grown.least, grown.median, grown.most].map(f64::round), [10.0, 20.0, 50.0]);
        assert!(tables(&samples, workload).contains("| +20 % |"), "{}", tables(&samples, workload));
        assert!(percent(&samples, workload, "expire").is_none());
    }
}
