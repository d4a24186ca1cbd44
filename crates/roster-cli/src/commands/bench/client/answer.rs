//! What the two processes say to each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::render::{Figure, Percentiles};

/// What a worker is to do. It says its last word, an [`Answer`], by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Errand {
    /// Watches each of so many services.
    Watches {
        services: u32,
        /// Of each service.
        instances: u32,
        /// Zero where nothing changes.
        changes: u32,
        idle: Duration,
    },
    /// Registers so many instances.
    Registrations { instances: u32, idle: Duration },
    /// Publishes so many messages, and has so many producers then.
    Producers { queue: String, messages: u64, in_flight: u32, producers: u32, idle: Duration },
    /// Consumes so many messages, and has so many consumers then.
    Consumers { queue: String, messages: u64, consumers: u32, idle: Duration },
}

/// What a worker has measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) figures: Vec<Figure>,
    pub(super) latencies: Vec<Percentiles>,
}

/// When each change is due, by the clock that all processes of a machine share.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Schedule {
    start: Duration,
    interval: Duration,
}

impl Schedule {
    /// The first is due one interval from now.
    pub(super) fn from_now(interval: Duration) -> Self {
        Self { start: now() + interval, interval }
    }

    pub(super) fn due(&self, change: u32) -> Duration {
        self.start + self.interval * change
    }
}

/// Of a clock that goes evenly and is the same in all processes.
pub(super) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_over_as_it_was_said() {
        let figures = vec![Figure::count("threads", 3), Figure::measure("bytes_each", 5.0)];
        let answer = Answer { figures, latencies: Vec::new() };
        let line = serde_json::to_string(&answer).unwrap();
        let heard: Answer = serde_json::from_str(&line).unwrap();
        assert_eq!(format!("{heard:?}"), format!("{answer:?}"), "{line}");
    }
}
