//! A watcher that stops reading while everything changes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use roster_client::Selector;
use roster_proto::v1;
use roster_proto::v1::event::Event;

use crate::node::Node;
use crate::wire::{self, Session, Watch};
use crate::{scale, soon};

const INSTANCES: u64 = 200;
const WEIGHT_BASE: u64 = 1_000;
/// What a stuck watcher may cost: its outbox, what is kept for resuming, and room for the allocator.
const GROWTH_MAX: u64 = 96 * 1024 * 1024;
/// How often changes are called.
const TICK: Duration = Duration::from_millis(10);

/// What a watch knows, by instance.
#[derive(Default)]
struct Known {
    weights: HashMap<u64, u32>,
    resets: u64,
    whole: bool,
}

impl Known {
    fn take_in(&mut self, event: Event) {
        match event {
            Event::Reset(_) => *self = Self { resets: self.resets + 1, ..Self::default() },
            Event::Loaded(_) => self.whole = true,
            Event::Up(instance) | Event::Changed(instance) => {
                let weight = instance.registration.unwrap().weight();
                self.weights.insert(instance.id, weight);
            }
            Event::Bookmark(_) | Event::MainChanged(_) => {}
            other @ (Event::Suspect(_)
            | Event::Draining(_)
            | Event::Replaced(_)
            | Event::Removed(_)
            | Event::Refused(_)) => panic!("{other:?} was not called"),
        }
    }
}

/// The change with this number: one instance with another weight.
fn change(number: u64) -> v1::Operation {
    let port = u32::try_from(1 + number % INSTANCES).unwrap();
    let weight = Some(u32::try_from(WEIGHT_BASE + number).unwrap());
    wire::register(number, v1::Registration { weight, ..wire::member("orders", port) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_watcher_costs_little_and_disturbs_nobody() {
    let changes = scale("ROSTER_TEST_CHANGES", 20_000);
    let seconds = scale("ROSTER_TEST_CHANGE_SECONDS", 4);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let mut session = Session::open(node.listen, 3_000).await;
    session.ask((0..INSTANCES).map(change).collect()).await;
    assert_eq!(soon("results", session.results()).await.unwrap().len() as u64, INSTANCES);

    let mut stuck = Watch::open(node.listen, "").await;
    let mut known = Known::default();
    while !known.whole {
        soon("the state", stuck.events()).await.into_iter().for_each(|(_, event)| known.take_in(event));
    }
    let mut awake = Watch::open(node.listen, "").await;
    let start = Instant::now();
    let due = move |number: u64| {
        let tick = TICK.as_micros() as u64;
        let at = (number - INSTANCES) * seconds * 1_000_000 / changes;
        start + Duration::from_micros(at.next_multiple_of(tick))
    };
    let last = INSTANCES + changes - 1;
    let reading = tokio::spawn(async move {
        let mut latencies = Vec::new();
        loop {
            for (_, event) in soon("an event", awake.events()).await {
                let Event::Changed(instance) = event else { continue };
                let number = u64::from(instance.registration.unwrap().weight()) - WEIGHT_BASE;
                latencies.push(Instant::now().saturating_duration_since(due(number)));
                if number == last {
                    return latencies;
                }
            }
        }
    });

    let resident = node.resident_bytes();
    let mut resident_max = resident;
    let (mut next, mut answered) = (INSTANCES, 0);
    while answered < changes {
        let now = Instant::now();
        let due_now = (next..=last).take_while(|number| due(*number) <= now).count() as u64;
        if due_now > 0 {
            session.ask((next..next + due_now).map(change).collect()).await;
            next += due_now;
        }
        let until = if next <= last { due(next) } else { now + TICK };
        while let Ok(results) = tokio::time::timeout_at(until.into(), session.results()).await {
            answered += results.expect("the session stands").len() as u64;
        }
        resident_max = resident_max.max(node.resident_bytes());
    }
    let mut latencies = soon("the last delivery", reading).await.unwrap();
    latencies.sort();
    assert_eq!(latencies.len() as u64, changes, "the other watcher got every change");
    let (p50, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
    let max = latencies[latencies.len() - 1];
    let growth = resident_max - resident;
    assert!(growth < GROWTH_MAX, "the node grew by {growth} bytes");
    assert!(max < Duration::from_secs(2), "the other watcher waited {max:?}");

    // It reads on, and knows what is.
    let truth = node.client.list(&Selector::All).await.unwrap();
    let truth: HashMap<u64, u32> =
        truth.iter().map(|instance| (instance.id.get(), instance.registration.weight)).collect();
    let catching_up = async {
        while !(known.whole && known.weights == truth) {
            stuck.events().await.into_iter().for_each(|(_, event)| known.take_in(event));
        }
    };
    soon("the right state at the stuck watcher", catching_up).await;
    println!(
        "{changes} changes in {seconds} s past a stuck watcher: the node grew by {:.1} MiB at most, to {:.1} MiB; \
         the other watcher p50 {p50:?} p99 {p99:?} max {max:?}; {} resets of the stuck one",
        growth as f64 / 1048576.0,
        resident_max as f64 / 1048576.0,
        known.resets,
    );
}
