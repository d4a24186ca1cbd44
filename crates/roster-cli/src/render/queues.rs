//! Queues with their counts, and one queue with everything that is known of it.

use std::time::Duration;

use jiff::Timestamp;
use roster_client::queue::{QueueStatus, Settings};
use serde::Serialize;

use super::age;
use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;
use super::status::size;

/// The queues of a node.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct QueueList(Vec<OneQueue>);

/// One queue.
#[derive(Debug, Serialize)]
pub(crate) struct OneQueue {
    queue: String,
    waiting: u64,
    in_flight: u64,
    failed: u64,
    dead: u64,
    bytes: u64,
    consumers: u32,
    producers: u32,
    /// When the oldest message was published that is no dead letter.
    oldest: Option<String>,
    publish_rate: f64,
    acknowledge_rate: f64,
    totals: Totals,
    settings: SettingsShown,
    #[serde(skip)]
    oldest_unix_millis: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Totals {
    published: u64,
    acknowledged: u64,
    failed: u64,
    dead: u64,
}

/// Settings in the words of the options.
#[derive(Debug, Serialize)]
pub(super) struct SettingsShown {
    in_flight_max: u32,
    ack_timeout_ms: u32,
    attempts_max: u32,
    back_off_first_ms: u32,
    back_off_last_ms: u32,
    message_bytes_max: u32,
    waiting_max: u64,
    waiting_bytes_max: u64,
}

impl SettingsShown {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            in_flight_max: settings.in_flight_max,
            ack_timeout_ms: settings.ack_timeout_millis,
            attempts_max: settings.attempts_max,
            back_off_first_ms: settings.back_off_first_millis,
            back_off_last_ms: settings.back_off_last_millis,
            message_bytes_max: settings.message_bytes_max,
            waiting_max: settings.waiting_max,
            waiting_bytes_max: settings.waiting_bytes_max,
        }
    }

    pub(super) fn facts(&self) -> [(&'static str, String); 8] {
        let span = |millis: u32| humantime::format_duration(Duration::from_millis(millis.into())).to_string();
        [
            ("in flight max", self.in_flight_max.to_string()),
            ("ack timeout", span(self.ack_timeout_ms)),
            ("attempts max", self.attempts_max.to_string()),
            ("back-off first", span(self.back_off_first_ms)),
            ("back-off last", span(self.back_off_last_ms)),
            ("message max", size(self.message_bytes_max.into())),
            ("waiting max", self.waiting_max.to_string()),
            ("waiting bytes max", size(self.waiting_bytes_max)),
        ]
    }
}

impl QueueList {
    pub(crate) fn new(queues: &[QueueStatus]) -> Self {
        Self(queues.iter().map(OneQueue::new).collect())
    }
}

impl OneQueue {
    pub(crate) fn new(queue: &QueueStatus) -> Self {
        Self {
            queue: queue.queue.as_str().to_owned(),
            waiting: queue.waiting,
            in_flight: queue.in_flight,
            failed: queue.failed,
            dead: queue.dead,
            bytes: queue.bytes,
            consumers: queue.consumers,
            producers: queue.producers,
            oldest: queue.oldest_unix_millis.map(age::stamp),
            oldest_unix_millis: queue.oldest_unix_millis,
            publish_rate: queue.publish_rate,
            acknowledge_rate: queue.acknowledge_rate,
            totals: Totals {
                published: queue.totals.published,
                acknowledged: queue.totals.acknowledged,
                failed: queue.totals.failed,
                dead: queue.totals.dead,
            },
            settings: SettingsShown::new(&queue.settings),
        }
    }

    fn age(&self) -> String {
        let now = Timestamp::now();
        self.oldest_unix_millis.map(|oldest| age::since(oldest, now)).unwrap_or_default()
    }

    /// Each fact with its name; the same in the table and in the text.
    fn facts(&self, oldest: String) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("queue", self.queue.clone()),
            ("waiting", self.waiting.to_string()),
            ("in flight", self.in_flight.to_string()),
            ("failed", self.failed.to_string()),
            ("dead", self.dead.to_string()),
            ("bytes", self.bytes.to_string()),
            ("consumers", self.consumers.to_string()),
            ("producers", self.producers.to_string()),
            ("oldest", oldest),
            ("published/s", rate(self.publish_rate)),
            ("acknowledged/s", rate(self.acknowledge_rate)),
            ("published", self.totals.published.to_string()),
            ("acknowledged", self.totals.acknowledged.to_string()),
            ("failed deliveries", self.totals.failed.to_string()),
            ("became dead", self.totals.dead.to_string()),
        ];
        facts.extend(self.settings.facts());
        facts
    }
}

/// Tenths are enough, and only where they say something.
fn rate(rate: f64) -> String {
    if rate >= 100.0 || rate <= 0.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

impl Shown for QueueList {
    fn table(&self, paint: Paint) -> String {
        if self.0.is_empty() {
            return "no queues\n".to_owned();
        }
        let columns = [
            ("queue", Side::Left),
            ("waiting", Side::Right),
            ("in flight", Side::Right),
            ("failed", Side::Right),
            ("dead", Side::Right),
            ("size", Side::Right),
            ("consumers", Side::Right),
            ("producers", Side::Right),
            ("in/s", Side::Right),
            ("out/s", Side::Right),
            ("oldest", Side::Right),
        ];
        let mut grid = Grid::new(paint, &columns);
        for queue in &self.0 {
            let count = |count: u64, tone: Tone| (count.to_string(), if count == 0 { Tone::Faint } else { tone });
            grid.row([
                (queue.queue.clone(), Tone::Ordinary),
                count(queue.waiting, Tone::Ordinary),
                count(queue.in_flight, Tone::Good),
                count(queue.failed, Tone::Careful),
                count(queue.dead, Tone::Bad),
                (size(queue.bytes), Tone::Ordinary),
                count(queue.consumers.into(), Tone::Ordinary),
                count(queue.producers.into(), Tone::Ordinary),
                (rate(queue.publish_rate), Tone::Ordinary),
                (rate(queue.acknowledge_rate), Tone::Ordinary),
                (queue.age(), Tone::Ordinary),
            ]);
        }
        grid.lines()
    }

    fn text(&self) -> String {
        let line = |queue: &OneQueue| {
            let counts = [queue.waiting, queue.in_flight, queue.failed, queue.dead, queue.bytes];
            let counts = counts.map(|count| count.to_string()).join("\t");
            let OneQueue { queue: name, consumers, producers, publish_rate, acknowledge_rate, .. } = queue;
            let oldest = queue.oldest.as_deref().unwrap_or_default();
            format!("{name}\t{counts}\t{consumers}\t{producers}\t{oldest}\t{publish_rate:.1}\t{acknowledge_rate:.1}\n")
        };
        self.0.iter().map(line).collect()
    }
}

impl Shown for OneQueue {
    fn table(&self, _paint: Paint) -> String {
        let oldest = match &self.oldest {
            Some(stamp) => format!("{stamp} ({} ago)", self.age()),
            None => "none".to_owned(),
        };
        self.facts(oldest).into_iter().map(|(name, value)| format!("{name:<19}{value}\n")).collect()
    }

    fn text(&self) -> String {
        let oldest = self.oldest.clone().unwrap_or_default();
        self.facts(oldest).into_iter().map(|(name, value)| format!("{name}\t{value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use roster_client::queue::{QueueName, QueueTotals};

    use super::*;

    fn orders() -> QueueStatus {
        QueueStatus {
            queue: QueueName::parse("orders").unwrap(),
            settings: Settings::default(),
            waiting: 12,
            in_flight: 3,
            failed: 0,
            dead: 1,
            bytes: 2048,
            consumers: 1,
            producers: 0,
            oldest_unix_millis: Some(1_767_225_600_125),
            totals: QueueTotals { published: 100, acknowledged: 84, failed: 20, dead: 1 },
            publish_rate: 0.0,
            acknowledge_rate: 7.25,
        }
    }

    #[test]
    fn a_line_has_its_fields_in_their_order() {
        let line = QueueList::new(&[orders()]).text();
        assert_eq!(line, "orders\t12\t3\t0\t1\t2048\t1\t0\t2026-01-01T00:00:00.125Z\t0.0\t7.2\n");
    }

    #[test]
    fn a_queue_shows_its_settings_as_they_are_typed() {
        let shown = OneQueue::new(&orders()).text();
        assert!(shown.contains("ack timeout\t30s\n") && shown.contains("message max\t1.0 MiB\n"), "{shown}");
        let json = serde_json::to_value(OneQueue::new(&orders())).unwrap();
        assert_eq!((&json["totals"]["published"], &json["settings"]["attempts_max"]), (&100.into(), &16.into()));
    }

    #[test]
    fn no_queues_are_said_to_be_none() {
        assert_eq!(QueueList::new(&[]).table(Paint::Plain), "no queues\n");
        assert_eq!(QueueList::new(&[]).text(), "");
    }
}
