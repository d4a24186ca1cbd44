//! Queues of millions: what a message costs, and that no command's work grows with what it does not touch.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use roster_core::Timestamp;
use roster_core::limits::{PRODUCERS_PER_QUEUE_MAX, WAITING_BYTES_MAX, WAITING_MESSAGES_MAX};
use roster_core::queue::{
    Attempt, Command, ConsumerId, Contents, DeadLetters, Delay, Deliveries, Dispatcher, Effects, Failure, Message,
    MessageId, Origin, Outcome, ProducerId, Queue, QueueName, Queues, Reason, Settings, Window,
};

const PAYLOAD_BYTES: usize = 100;
const BATCH: u64 = 1000;
const MILLION: u64 = 1_000_000;

struct Many {
    queues: Queues,
    effects: Effects,
}

impl Many {
    fn new() -> Self {
        let mut many = Self { queues: Queues::new(), effects: Effects::default() };
        many.apply(Command::CreateQueue { queue: jobs(), settings: settings() });
        many
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.queues.apply(Timestamp::new(1), command, &mut self.effects)
    }

    /// Each payload an allocation of its own: the dearest way.
    fn publish(&mut self, messages: u64) {
        for _ in 0..messages / BATCH {
            let message = || Message::plain(Bytes::copy_from_slice(&[7; PAYLOAD_BYTES]));
            let messages = std::iter::repeat_with(message).take(BATCH as usize).collect();
            let outcome = self.apply(Command::Publish { queue: jobs(), origin: None, messages });
            assert!(matches!(outcome, Outcome::Published { stored: BATCH, .. }));
        }
    }

    fn acknowledge(&mut self, messages: Vec<MessageId>) {
        let all = messages.len() as u64;
        let outcome = self.apply(Command::Acknowledge { queue: jobs(), messages });
        assert_eq!(outcome, Outcome::Acknowledged { removed: all, unknown: 0 });
    }

    fn jobs(&self) -> &Queue {
        self.queues.queue(&jobs()).unwrap()
    }
}

fn jobs() -> QueueName {
    QueueName::parse("jobs").unwrap()
}

fn settings() -> Settings {
    let (waiting_max, waiting_bytes_max) = (WAITING_MESSAGES_MAX, WAITING_BYTES_MAX);
    Settings { in_flight_max: 1024, waiting_max, waiting_bytes_max, ..Settings::default() }
}

fn batches(from: u64, to: u64) -> impl Iterator<Item = Vec<MessageId>> {
    (from..=to)
        .step_by(BATCH as usize)
        .map(move |first| (first..(first + BATCH).min(to + 1)).map(MessageId::new).collect())
}

/// What the process keeps in memory, where the system says so.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

/// Much more than it takes, much less than it would take were the work of a message in step with the rest.
fn assert_quick(what: &str, started: Instant) -> Duration {
    let elapsed = started.elapsed();
    assert!(elapsed.as_secs() < 30, "{what}: {elapsed:?}");
    elapsed
}

/// One test, so that no other one's memory is measured.
#[test]
fn a_million_messages_wait_move_and_leave() {
    let mut many = Many::new();
    let before = resident_bytes();
    let started = Instant::now();
    many.publish(MILLION);
    println!("published 1 M in {:?}", assert_quick("publish", started));
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        let each = (after - before) / MILLION;
        println!("{each} bytes of memory for each waiting message, {PAYLOAD_BYTES} of them payload");
        assert!(each <= PAYLOAD_BYTES as u64 + 64, "{each} bytes each");
    }

    // A snapshot is a copy of references, and reading it does not hold up what goes on.
    let started = Instant::now();
    let snapshot = many.queues.snapshot();
    println!("snapshot of 1 M in {:?}", assert_quick("snapshot", started));

    // First deliveries end to end, half a million of them.
    let started = Instant::now();
    let mut dispatcher = Dispatcher::new(many.jobs());
    for consumer in 1..=4 {
        dispatcher.join(ConsumerId(consumer), Window::default());
    }
    let (mut deliveries, mut delivered) = (Deliveries::new(), 0);
    while delivered < MILLION / 2 {
        dispatcher.deliver(Timestamp::new(1), many.jobs(), &mut deliveries);
        for (consumer, batch) in std::mem::take(&mut deliveries) {
            let ids: Vec<_> = batch.iter().map(|delivery| delivery.id).collect();
            delivered += ids.len() as u64;
            let named = dispatcher.acknowledge(many.jobs(), consumer, &ids);
            many.acknowledge(named);
            dispatcher.take_in(many.queues.queue(&jobs()).unwrap(), &many.effects);
        }
    }
    println!("delivered and acknowledged {delivered} in {:?}", assert_quick("deliver", started));
    assert_eq!(snapshot.items().count() as u64, MILLION + 2, "what happened since does not reach into a snapshot");
    drop(snapshot);

    // Everybody fails, many times; and it all comes back.
    let started = Instant::now();
    for ids in batches(delivered + 1, MILLION) {
        let fail = |&message: &MessageId| Failure {
            attempt: Attempt { message, attempt: 1 },
            delay: Delay::default(),
            reason: Reason::new("no"),
        };
        many.apply(Command::Fail { queue: jobs(), failures: ids.iter().map(fail).collect() });
    }
    assert_eq!(many.jobs().counts().failed, MILLION - delivered);
    println!("failed {} in {:?}", MILLION - delivered, assert_quick("fail", started));
    let started = Instant::now();
    let mut dispatcher = Dispatcher::new(many.jobs());
    println!("restarted with as many in {:?}", assert_quick("restart", started));
    assert_eq!(dispatcher.traffic().due as u64, MILLION - delivered);
    dispatcher.deliver(Timestamp::new(1), many.jobs(), &mut deliveries);

    let started = Instant::now();
    for ids in batches(delivered + 1, MILLION) {
        many.acknowledge(ids);
    }
    println!("acknowledged them in {:?}", assert_quick("acknowledge", started));
    assert_eq!(many.jobs().counts().waiting + many.jobs().counts().failed, 0);

    // K7: what was taken is given back, also by a second round, and also when stragglers stay.
    let empty = resident_bytes();
    many.publish(MILLION);
    for ids in batches(MILLION + 1, 2 * MILLION) {
        many.acknowledge(ids.into_iter().filter(|id| id.get() % 100_000 != 0).collect());
    }
    if let (Some(empty), Some(after)) = (empty, resident_bytes()) {
        let grown = after.saturating_sub(empty);
        println!("drained but for 10, {grown} bytes more than before");
        assert!(grown < 32 * MILLION, "{grown} bytes stay");
    }
    many.queues.check_invariants();

    // A purge hands over what it takes out.
    many.publish(MILLION);
    let started = Instant::now();
    many.apply(Command::Purge { queue: jobs(), contents: Contents::All });
    println!("purged 1 M in {:?}", assert_quick("purge", started));
    assert!(started.elapsed() < Duration::from_millis(100), "a purge drops nothing itself");
    assert_eq!(many.jobs().counts().waiting, 0);
    producers_are_bounded();
    dead_letters_are_requeued();
}

/// As many as the limit are remembered, and with one more the one that was silent longest is forgotten.
fn producers_are_bounded() {
    let mut many = Many::new();
    let mut publish = |producer: usize, first| {
        let origin = Some(Origin { producer: ProducerId::parse(&format!("p{producer}")).unwrap(), first });
        let messages = vec![Message::plain(Bytes::new())];
        many.apply(Command::Publish { queue: jobs(), origin, messages })
    };
    let is_stored = |outcome: &Outcome| matches!(outcome, Outcome::Published { stored: 1, .. });
    for producer in 0..PRODUCERS_PER_QUEUE_MAX {
        assert!(is_stored(&publish(producer, 1)));
    }
    assert!(is_stored(&publish(0, 2)), "the oldest speaks again");
    assert!(is_stored(&publish(PRODUCERS_PER_QUEUE_MAX, 1)));
    assert!(is_stored(&publish(0, 3)) && is_stored(&publish(2, 2)), "K6: these are remembered");
    assert!(matches!(publish(1, 2), Outcome::Refused(_)), "K6: this one is forgotten");
    many.queues.check_invariants();
}

fn dead_letters_are_requeued() {
    let mut many = Many::new();
    many.apply(Command::UpdateSettings { queue: jobs(), settings: Settings { attempts_max: 1, ..settings() } });
    many.publish(100 * BATCH);
    for ids in batches(1, 100 * BATCH) {
        let attempts = ids.into_iter().map(|message| Attempt { message, attempt: 1 }).collect();
        many.apply(Command::Release { queue: jobs(), attempts });
    }
    assert_eq!(many.jobs().counts().dead, 100 * BATCH);
    let started = Instant::now();
    let outcome = many.apply(Command::RequeueDead { queue: jobs(), dead: DeadLetters::All });
    assert_eq!(outcome, Outcome::Moved { messages: 100 * BATCH, unknown: 0 });
    println!("requeued 100 k dead letters in {:?}", assert_quick("requeue", started));
}
