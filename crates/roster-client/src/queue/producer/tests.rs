//! The producer's machine against a model of a queue, over connections that break anywhere.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use roster_core::queue::{self, Message, QueueName};
use roster_proto::v1;
use roster_proto::v1::publish_result::Outcome;
use roster_proto::v1::publish_stream_request::Request;
use roster_proto::v1::publish_stream_response::Response;
use roster_proto::v1::refusal::Code;

use super::batch::Entry;
use super::machine::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, BATCHES_MAX, Fate, Machine, Report, Settings};
use crate::moment::Moment;
use crate::queue::dialog::Target;
use crate::queue::failure::Failure;
use crate::reconnect::BackOff;
use crate::stream::{Loss, Step};

const TOO_LARGE: u64 = 100;

/// A queue as the core keeps it, as far as a producer can tell: batches of a producer in order, each once.
#[derive(Default)]
struct Node {
    producers: BTreeMap<String, u64>,
    stored: Vec<String>,
    refuse_next: Option<Code>,
    /// A node that tells no limit finds out late.
    tells_limit: bool,
    missing: bool,
}

/// One stream, both ways.
#[derive(Default)]
struct Line {
    producer: String,
    requests: VecDeque<Request>,
    responses: VecDeque<Response>,
}

impl Node {
    fn publish(&mut self, producer: &str, batch: &v1::PublishBatch) -> v1::PublishResult {
        let outcome = self.store(producer, batch).map_or_else(Outcome::Refusal, Outcome::Published);
        v1::PublishResult { first_sequence: batch.first_sequence, outcome: Some(outcome) }
    }

    fn store(&mut self, producer: &str, batch: &v1::PublishBatch) -> Result<v1::Published, v1::Refusal> {
        let last = self.producers.get(producer).copied().unwrap_or(0);
        let messages = batch.messages.len() as u64;
        if self.missing {
            return Err(v1::Refusal { code: Code::UnknownQueue.into(), ..Default::default() });
        }
        if let Some(code) = self.refuse_next.take() {
            return Err(v1::Refusal { code: code.into(), ..Default::default() });
        }
        if batch.first_sequence > last + 1 {
            let gap = queue::Refusal::SequenceGap { expected: last + 1, found: batch.first_sequence };
            return Err(gap.into());
        }
        let duplicates = (last + 1 - batch.first_sequence).min(messages);
        let new = &batch.messages[duplicates as usize..];
        if let Some(index) = new.iter().position(|message| message.payload.len() as u64 > TOO_LARGE) {
            let bytes = new[index].payload.len() as u64;
            return Err(queue::Refusal::MessageTooLarge { index: index as u64, bytes, max: TOO_LARGE }.into());
        }
        let first_message_id = self.stored.len() as u64 + 1;
        self.stored.extend(new.iter().map(|message| String::from_utf8(message.payload.to_vec()).unwrap()));
        self.producers.insert(producer.to_owned(), last.max(batch.first_sequence + messages - 1));
        Ok(v1::Published { first_message_id, stored: messages - duplicates, duplicates })
    }
}

/// A machine, a node, and what is between them.
struct World {
    machine: Machine<u64>,
    node: Node,
    line: Option<Line>,
    /// Streams that the producer has given up and the node still reads.
    old: Vec<Line>,
    now: Instant,
    next: u64,
    stored: Vec<u64>,
    failed: Vec<(u64, Fate, Failure)>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let now = Instant::now();
        let target = Target {
            queue: QueueName::parse("orders").unwrap(),
            create: None,
            endpoints: vec!["http://a:1".into()],
            back_off: BackOff::default(),
            patience: Duration::from_secs(5),
        };
        let mut settings = Settings { target, producer: "p".to_owned(), deadline: None };
        set(&mut settings);
        Self {
            machine: Machine::new(settings, now),
            node: Node { tells_limit: true, ..Node::default() },
            line: None,
            old: Vec::new(),
            now,
            next: 0,
            stored: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, chance: 0.5 }
    }

    fn publish(&mut self, bytes: usize) {
        self.next += 1;
        let number = self.next.to_string();
        let text = " ".repeat(bytes.saturating_sub(number.len())) + &number;
        let message = Message::plain(Bytes::from(text));
        self.machine.take_in(Entry { message, key: Some(self.next), due: None });
        self.look();
    }

    fn look(&mut self) {
        while let Some(step) = self.machine.poll_step() {
            match step {
                Step::Open { .. } => self.line = Some(Line::default()),
                Step::HangUp | Step::Discard | Step::Finish => self.old.extend(self.line.take()),
            }
        }
        while let Some(report) = self.machine.poll_report() {
            match report {
                Report::Stored { entries, first, unnamed, id } => {
                    for (entry, nth) in entries.into_iter().zip(0..) {
                        let key = entry.key.expect("nothing has expired");
                        assert!(first > 0);
                        if nth >= unnamed {
                            let text = &self.node.stored[(id.get() + nth - unnamed) as usize - 1];
                            assert_eq!(text.trim(), key.to_string(), "the id is of another message");
                        }
                        self.stored.push(key);
                    }
                }
                Report::Failed { key, failure, fate, .. } => self.failed.push((key, fate, failure)),
            }
        }
    }

    /// The producer writes one request.
    fn send(&mut self) -> bool {
        let Some(line) = self.line.as_mut() else { return false };
        let Some(request) = self.machine.poll_message() else {
            self.look();
            return false;
        };
        line.requests.extend(request.request);
        self.look();
        true
    }

    /// The node reads one request.
    fn read(&mut self) -> bool {
        let Some(line) = self.line.as_mut() else { return false };
        Self::read_line(&mut self.node, line)
    }

    fn read_line(node: &mut Node, line: &mut Line) -> bool {
        match line.requests.pop_front() {
            None => return false,
            Some(Request::Open(open)) => {
                let last_sequence = node.producers.get(&open.producer).copied().unwrap_or(0);
                line.producer = open.producer;
                let message_bytes_max = if node.tells_limit { TOO_LARGE as u32 } else { 0 };
                line.responses.push_back(Response::Opened(v1::PublishOpened { last_sequence, message_bytes_max }));
            }
            Some(Request::Batch(batch)) => {
                let result = node.publish(&line.producer, &batch);
                line.responses.push_back(Response::Results(v1::PublishResults { results: vec![result] }));
            }
        }
        true
    }

    /// The producer hears one response.
    fn hear(&mut self) -> bool {
        let Some(response) = self.line.as_mut().and_then(|line| line.responses.pop_front()) else { return false };
        let moment = self.moment();
        self.machine.handle_received(moment, v1::PublishStreamResponse { response: Some(response) });
        self.look();
        true
    }

    fn cut(&mut self) {
        if let Some(line) = self.line.take() {
            self.old.push(line);
            let moment = self.moment();
            self.machine.handle_lost(moment, Loss::new("cut"));
            self.look();
        }
    }

    /// The node reads what is left of an old stream.
    fn read_old(&mut self) {
        if let Some(line) = self.old.first_mut()
            && !Self::read_line(&mut self.node, line)
        {
            self.old.remove(0);
        }
    }

    fn wait(&mut self) {
        if let Some(at) = self.machine.poll_timeout() {
            self.now = self.now.max(at);
            let moment = self.moment();
            self.machine.handle_timeout(moment);
            self.look();
        }
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            if !(self.send() | self.read() | self.hear()) {
                if self.machine.kept().0 == 0 || self.machine.failure().is_some() {
                    return;
                }
                self.wait();
            }
        }
        panic!("it does not come to rest: {:?}", self.machine);
    }

    fn stored_texts(&self) -> Vec<u64> {
        self.node.stored.iter().map(|text| text.trim().parse().unwrap()).collect()
    }
}

fn codes(failed: &[(u64, Fate, Failure)]) -> Vec<(u64, Fate, Code)> {
    let code = |failure: &Failure| match failure {
        Failure::Refused { refusal, .. } => refusal.code(),
        Failure::TimedOut { .. } | Failure::Ended { .. } => Code::Unspecified,
    };
    failed.iter().map(|(key, fate, failure)| (*key, *fate, code(failure))).collect()
}

#[test]
fn p4_what_gathers_while_batches_are_under_way_goes_together() {
    let mut world = World::new();
    world.wait();
    while world.send() | world.read() | world.hear() {}
    for _ in 0..BATCHES_MAX {
        world.publish(1);
        assert!(world.send(), "a lone message goes at once");
    }
    for _ in 0..BATCH_MESSAGES_MAX + 1 {
        world.publish(1);
        assert!(!world.machine.has_message() && !world.send(), "enough is under way");
    }
    assert!(world.read() && world.hear() && world.send());
    let line = world.line.as_ref().unwrap();
    let Some(Request::Batch(batch)) = line.requests.back() else { panic!("no batch") };
    assert_eq!(batch.messages.len(), BATCH_MESSAGES_MAX);
    world.run();
    assert_eq!(world.stored, (1..=world.next).collect::<Vec<_>>());
}

#[test]
fn p4_a_message_that_is_larger_than_a_batch_goes_alone() {
    let mut world = World::new();
    world.node.tells_limit = false;
    world.wait();
    while world.send() | world.read() | world.hear() {}
    [1, BATCH_BYTES_MAX as usize + 1, 1].into_iter().for_each(|bytes| world.publish(bytes));
    let mut lengths = Vec::new();
    while world.send() {
        let line = world.line.as_ref().unwrap();
        let Some(Request::Batch(batch)) = line.requests.back() else { panic!("no batch") };
        lengths.push(batch.messages.len());
    }
    assert_eq!(lengths, [1, 1, 1]);
}

#[test]
fn a_message_that_is_too_large_fails_before_it_is_sent() {
    let mut world = World::new();
    [1, 101, 1].into_iter().for_each(|bytes| world.publish(bytes));
    world.run();
    assert_eq!(codes(&world.failed), [(2, Fate::NotStored, Code::MessageTooLarge)]);
    assert_eq!(world.stored_texts(), [1, 3]);
}

#[test]
fn only_the_guilty_message_of_a_batch_fails() {
    let mut world = World::new();
    world.node.tells_limit = false;
    (1..=300).for_each(|n| world.publish(if n == 77 || n == 200 { 101 } else { 3 }));
    world.run();
    let guilty = [(77, Fate::NotStored, Code::MessageTooLarge), (200, Fate::NotStored, Code::MessageTooLarge)];
    assert_eq!(codes(&world.failed), guilty);
    assert_eq!(world.stored_texts(), (1..=300).filter(|n| *n != 77 && *n != 200).collect::<Vec<_>>());
    assert_eq!(world.node.producers.len(), 1, "nothing was in doubt, so the id stays");
}

#[test]
fn p2_a_refusal_after_a_reconnect_leads_to_another_id() {
    let mut world = World::new();
    world.node.tells_limit = false;
    world.wait();
    while world.send() | world.read() | world.hear() {}
    [101, 1].into_iter().for_each(|bytes| world.publish(bytes));
    world.send();
    world.cut();
    world.run();
    assert_eq!(codes(&world.failed), [(1, Fate::NotStored, Code::MessageTooLarge)]);
    assert_eq!(world.stored_texts(), [2]);
    let producers: Vec<_> = world.node.producers.keys().cloned().collect();
    assert!(producers.len() == 1 && producers[0].starts_with("p~1-"), "{producers:?}");
}

#[test]
fn p2_after_a_refusal_nothing_is_sent_until_all_is_answered() {
    let mut world = World::new();
    world.wait();
    while world.send() | world.read() | world.hear() {}
    world.node.refuse_next = Some(Code::Unspecified);
    for _ in 0..2 {
        world.publish(1);
        world.send();
    }
    assert!(world.read() && world.hear());
    world.publish(1);
    assert!(!world.machine.has_message() && !world.send(), "the second batch is not answered");
    world.run();
    assert_eq!((codes(&world.failed)[0].0, world.stored_texts()), (1, vec![2, 3]));
}

#[test]
fn a_forgotten_producer_goes_on_under_another_id() {
    let mut world = World::new();
    world.publish(1);
    world.run();
    world.node.producers.clear();
    [1, 1].into_iter().for_each(|bytes| world.publish(bytes));
    world.run();
    assert_eq!(world.stored_texts(), [1, 2, 3]);
    assert!(world.failed.is_empty());
    world.cut();
    world.node.producers.clear();
    world.publish(1);
    world.run();
    assert_eq!(world.stored_texts(), [1, 2, 3, 4]);
}

#[test]
fn a_node_that_is_read_only_for_a_while_loses_nothing() {
    let mut world = World::new();
    world.wait();
    while world.send() | world.read() | world.hear() {}
    world.node.refuse_next = Some(Code::ReadOnly);
    for _ in 0..3 {
        world.publish(1);
        world.send();
    }
    let before = world.now;
    world.run();
    assert_eq!(world.stored_texts(), [1, 2, 3]);
    assert!(world.now - before >= Duration::from_millis(50), "it pauses");
}

#[test]
fn an_unknown_queue_ends_the_producer_and_hands_everything_back() {
    let mut world = World::new();
    world.node.missing = true;
    [1, 1].into_iter().for_each(|bytes| world.publish(bytes));
    world.run();
    let unknown = |key| (key, Fate::Unknown, Code::UnknownQueue);
    assert_eq!(codes(&world.failed), [unknown(1), unknown(2)]);
    assert!(world.machine.failure().is_some());
    world.publish(1);
    assert_eq!(codes(&world.failed)[2], (3, Fate::NotStored, Code::UnknownQueue));
}

#[test]
fn a_named_producer_goes_on_where_it_ended() {
    let mut world = World::new();
    world.node.producers.insert("p".to_owned(), 41);
    world.publish(1);
    world.run();
    assert_eq!((world.machine.stored(), &world.stored[..]), (Some(42), &[1][..]));
}

#[test]
fn p3_an_id_that_somebody_else_uses_is_noticed() {
    let mut world = World::new();
    world.publish(1);
    world.run();
    world.node.producers.insert("p".to_owned(), 5);
    world.publish(1);
    world.run();
    assert_eq!(codes(&world.failed), [(2, Fate::Unknown, Code::Unspecified)]);
    let why = world.machine.failure().unwrap().why();
    assert!(why.starts_with("somebody else publishes as \"p\""), "{why}");
}

#[test]
fn who_waits_for_too_long_is_told_and_no_sequence_is_missing() {
    let mut world = World::with(|settings| settings.deadline = Some(Duration::from_secs(1)));
    world.wait();
    while world.send() | world.read() | world.hear() {}
    let message = || Message::plain(Bytes::from_static(b"7"));
    let due = Some(world.now + Duration::from_secs(1));
    world.machine.take_in(Entry { message: message(), key: Some(7), due });
    assert!(world.send(), "sent and not answered");
    (0..BATCHES_MAX).for_each(|_| {
        world.machine.take_in(Entry { message: message(), key: Some(8), due });
        world.send();
    });
    world.wait();
    let fates: Vec<_> = codes(&world.failed).iter().map(|(key, fate, _)| (*key, *fate)).collect();
    assert_eq!((fates[0], fates[8], fates.len()), ((7, Fate::Unknown), (8, Fate::NotStored), 9));
    assert_eq!(world.machine.kept().0, BATCHES_MAX, "what was sent stays");
    while world.read() {}
    assert_eq!(world.node.stored.len(), BATCHES_MAX);
}

#[test]
fn leaving_waits_for_the_answers() {
    let mut world = World::new();
    world.publish(1);
    world.machine.leave(world.now + Duration::from_secs(9));
    world.run();
    assert_eq!(world.stored, [1]);
    assert!(world.machine.is_done());
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Publish { bytes: usize },
    Send,
    Read,
    Hear,
    Cut,
    ReadOld,
    Wait,
    Refuse,
    Forget,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1usize..40).prop_map(|bytes| Act::Publish { bytes }),
        1 => Just(Act::Publish { bytes: 101 }),
        6 => Just(Act::Send),
        6 => Just(Act::Read),
        6 => Just(Act::Hear),
        2 => Just(Act::Cut),
        2 => Just(Act::ReadOld),
        4 => Just(Act::Wait),
        1 => Just(Act::Refuse),
        1 => Just(Act::Forget),
    ];
    prop::collection::vec(act, 0..200)
}

fn play(acts: Vec<Act>, tells_limit: bool, forgets: bool) -> World {
    let mut world = World::new();
    world.node.tells_limit = tells_limit;
    for act in acts {
        match act {
            Act::Publish { bytes } => world.publish(bytes),
            Act::Send => {
                world.send();
            }
            Act::Read => {
                world.read();
            }
            Act::Hear => {
                world.hear();
            }
            Act::Cut => world.cut(),
            Act::ReadOld => world.read_old(),
            Act::Wait => world.wait(),
            Act::Refuse => world.node.refuse_next = Some(Code::Unavailable),
            Act::Forget if forgets => world.node.producers.clear(),
            Act::Forget => {}
        }
    }
    world.node.refuse_next = None;
    world.run();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// P1, P3: whatever breaks, each message is stored once and in order.
    #[test]
    fn p1_nothing_is_lost_doubled_or_reordered_by_broken_streams(acts in acts()) {
        let world = play(acts, true, false);
        let good: Vec<u64> = (1..=world.next).filter(|n| !world.failed.iter().any(|(key, ..)| key == n)).collect();
        prop_assert_eq!(world.stored_texts(), good.clone());
        prop_assert_eq!(&world.stored, &good);
        prop_assert!(world.failed.iter().all(|(_, fate, _)| *fate == Fate::NotStored));
    }

    /// P2, P3: a node that forgets and finds out late may store a message twice, and never loses one.
    #[test]
    fn p2_nothing_is_lost_by_a_node_that_forgets(acts in acts()) {
        let world = play(acts, false, true);
        let good: Vec<u64> = (1..=world.next).filter(|n| !world.failed.iter().any(|(key, ..)| key == n)).collect();
        let mut told = world.stored.clone();
        told.sort_unstable();
        prop_assert_eq!(&told, &good, "each is answered once");
        let mut kept = world.stored_texts();
        kept.sort_unstable();
        kept.dedup();
        prop_assert_eq!(kept, good);
    }
}
