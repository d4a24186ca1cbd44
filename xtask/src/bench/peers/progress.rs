//! How far a run is, and how long it will take: what the rounds before have taken, else what it usually takes.

use std::time::Instant;

use super::record::Record;
use super::workloads::{System, Workload};

const WIDTH: usize = 24;

/// Round, workload and system, in order.
pub(super) type Step<'a> = (u32, &'a Workload, System);

#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn show(&self, record: &Record, step: Step<'_>, left: &[Step<'_>]) {
        let seconds = self.start.elapsed().as_secs_f64();
        let expected = |&(_, workload, system): &Step<'_>| {
            record.took(workload, system).unwrap_or_else(|| workload.usual_seconds(system))
        };
        let whole = seconds + left.iter().map(expected).sum::<f64>();
        let (round, workload, system) = step;
        let what = format!("round {round} of {}, {} {}: {}", record.rounds, workload.id, workload.title, system.name());
        eprintln!("{} {what}", line(seconds, whole));
    }
}

fn line(seconds: f64, whole: f64) -> String {
    let share = (seconds / whole.max(1.0)).clamp(0.0, 1.0);
    let full = (share * WIDTH as f64) as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full));
    format!("{bar} {:2.0} % {} of about {}", share * 100.0, minutes(seconds), minutes(whole))
}

fn minutes(seconds: f64) -> String {
    format!("{}:{:02}", seconds as u64 / 60, seconds as u64 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_it_is_half_a_bar() {
        let line = line(90.0, 180.0);
        assert_eq!(line.matches('█').count() * 2, WIDTH, "{line}");
        assert!(line.ends_with("50 % 1:30 of about 3:00"), "{line}");
    }
}
