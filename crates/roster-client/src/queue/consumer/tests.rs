//! The consumer's machine against a model of a queue, over connections that break anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use roster_core::queue::QueueName;
use roster_proto::v1;
use roster_proto::v1::refusal::Code;

use super::machine::{Machine, Settings, Verdict};
use crate::moment::Moment;
use crate::queue::dialog::Target;
use crate::reconnect::BackOff;
use crate::stream::{Loss, Step};

const WINDOW: u32 = 4;
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A queue as the core keeps it, as far as a consumer can tell.
#[derive(Default)]
struct Node {
    /// What is kept: the attempts so far.
    kept: BTreeMap<u64, u32>,
    /// Of these, with the consumer.
    in_flight: BTreeSet<u64>,
    window: u32,
    confirm_due: u64,
    nacks: Vec<v1::Nack>,
    extends: Vec<u64>,
    /// How often it was acknowledged.
    acknowledged: BTreeMap<u64, u32>,
}

#[derive(Default)]
struct Line {
    requests: VecDeque<v1::ConsumeRequest>,
    responses: VecDeque<v1::ConsumeResponse>,
}

impl Node {
    fn leave(&mut self) {
        self.in_flight.clear();
    }

    fn read(&mut self, request: v1::ConsumeRequest) -> v1::ConsumeResponse {
        for id in request.acknowledge {
            self.kept.remove(&id);
            self.in_flight.remove(&id);
            *self.acknowledged.entry(id).or_default() += 1;
        }
        for nack in request.nack {
            assert!(self.in_flight.remove(&nack.message_id), "J4: {} is not with this stream", nack.message_id);
            self.nacks.push(nack);
        }
        self.extends.extend(request.extend.iter().map(|extend| extend.message_id));
        self.confirm_due = self.confirm_due.max(request.confirm);
        if let Some(window) = request.window {
            self.window = window;
        }
        let opened = request.open.map(|open| {
            self.window = open.window.unwrap();
            v1::ConsumeOpened { consumer_id: 1, ack_timeout_ms: ACK_TIMEOUT.as_millis() as u32 }
        });
        let mut response = self.deliver();
        response.opened = opened;
        response
    }

    fn deliver(&mut self) -> v1::ConsumeResponse {
        let free = (self.window as usize).saturating_sub(self.in_flight.len());
        let next: Vec<u64> = self.kept.keys().copied().filter(|id| !self.in_flight.contains(id)).take(free).collect();
        let deliveries = next.into_iter().map(|id| {
            let attempts = self.kept.get_mut(&id).unwrap();
            *attempts += 1;
            self.in_flight.insert(id);
            v1::QueueDelivery { message_id: id, attempt: *attempts, ..Default::default() }
        });
        let deliveries = deliveries.collect();
        v1::ConsumeResponse { deliveries, confirmed: std::mem::take(&mut self.confirm_due), ..Default::default() }
    }
}

/// A machine, a node, what is between them, and the handlers.
struct World {
    machine: Machine,
    node: Node,
    line: Option<Line>,
    now: Instant,
    running: BTreeSet<u64>,
    /// How often a handler was started.
    started: BTreeMap<u64, u32>,
    /// How often one ended well.
    finished: BTreeMap<u64, u32>,
}

impl World {
    fn new(messages: u64) -> Self {
        Self::with(messages, |_| {})
    }

    fn with(messages: u64, set: impl FnOnce(&mut Settings)) -> Self {
        let now = Instant::now();
        let target = Target {
            queue: QueueName::parse("orders").unwrap(),
            create: None,
            endpoints: vec!["http://a:1".into()],
            back_off: BackOff::default(),
            patience: Duration::from_secs(5),
        };
        let mut settings = Settings { target, consumer: "test".to_owned(), window: WINDOW, extend_max: None };
        set(&mut settings);
        let node = Node { kept: (1..=messages).map(|id| (id, 0)).collect(), ..Node::default() };
        Self {
            machine: Machine::new(settings, now),
            node,
            line: None,
            now,
            running: BTreeSet::new(),
            started: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, chance: 0.5 }
    }

    fn look(&mut self) {
        while let Some(step) = self.machine.poll_step() {
            match step {
                Step::Open { .. } => self.line = Some(Line::default()),
                Step::HangUp | Step::Discard | Step::Finish => {
                    self.line = None;
                    self.node.leave();
                }
            }
        }
        for delivery in self.machine.take_deliveries() {
            assert!(self.running.insert(delivery.message_id), "J1: {} is begun twice", delivery.message_id);
            *self.started.entry(delivery.message_id).or_default() += 1;
        }
        assert!(self.running.len() <= WINDOW as usize, "J3: {} handlers run", self.running.len());
    }

    fn send(&mut self) -> bool {
        let Some(line) = self.line.as_mut() else { return false };
        let Some(request) = self.machine.poll_message() else { return false };
        line.requests.push_back(request);
        true
    }

    fn read(&mut self) -> bool {
        let Some(line) = self.line.as_mut() else { return false };
        let Some(request) = line.requests.pop_front() else { return false };
        line.responses.push_back(self.node.read(request));
        true
    }

    fn hear(&mut self) -> bool {
        let Some(response) = self.line.as_mut().and_then(|line| line.responses.pop_front()) else { return false };
        let moment = self.moment();
        self.machine.handle_received(moment, response);
        self.look();
        true
    }

    fn talk(&mut self) {
        while self.send() | self.read() | self.hear() {}
    }

    fn cut(&mut self) {
        if self.line.take().is_some() {
            self.node.leave();
            let moment = self.moment();
            self.machine.handle_lost(moment, Loss::new("cut"));
            self.look();
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

    fn connect(&mut self) {
        while self.line.is_none() {
            self.wait();
        }
        self.talk();
    }

    fn finish(&mut self, nth: usize) {
        if let Some(id) = self.running.iter().nth(nth % self.running.len().max(1)).copied() {
            self.running.remove(&id);
            *self.finished.entry(id).or_default() += 1;
            self.machine.settle(id, Verdict::Acknowledged);
            self.machine.end_if_complete();
            self.look();
        }
    }

    fn fail(&mut self, nth: usize) {
        if let Some(id) = self.running.iter().nth(nth % self.running.len().max(1)).copied() {
            self.running.remove(&id);
            self.machine.settle(id, Verdict::Failed { reason: "no".to_owned(), delay: None });
        }
    }

    fn run(&mut self) {
        for _ in 0..1000 {
            self.connect();
            if self.node.kept.is_empty() {
                return;
            }
            if self.running.is_empty() {
                // A window that opened needs a word of the node, which has none of its own here.
                let response = self.node.deliver();
                let line = self.line.as_mut().expect("it is connected");
                line.responses.push_back(response);
            }
            self.finish(0);
        }
        panic!("it does not come to rest: {:?}", self.machine);
    }
}

#[test]
fn acknowledgements_that_gather_go_together() {
    let mut world = World::new(4);
    world.connect();
    (0..4).for_each(|_| world.finish(0));
    let request = world.machine.poll_message().unwrap();
    assert_eq!((request.acknowledge, request.confirm), (vec![1, 2, 3, 4], 1));
    assert!(world.machine.poll_message().is_none());
}

#[test]
fn j1_a_message_that_comes_again_while_its_handler_runs_is_not_begun_again() {
    let mut world = World::new(2);
    world.connect();
    world.cut();
    world.connect();
    assert_eq!(world.node.in_flight.len(), 2, "there is room for it beside those that run");
    assert_eq!((world.machine.counts().delivered, world.machine.counts().duplicates), (2, 2));
    world.run();
    assert_eq!(world.node.acknowledged, BTreeMap::from([(1, 1), (2, 1)]), "one word for both deliveries");
}

#[test]
fn j2_an_acknowledgement_that_was_on_its_way_is_said_again() {
    let mut world = World::new(1);
    world.connect();
    world.finish(0);
    assert!(world.send());
    world.cut();
    world.connect();
    assert!(world.node.kept.is_empty());
    assert_eq!(world.started, BTreeMap::from([(1, 1)]));
    world.cut();
    world.connect();
    assert_eq!(world.node.acknowledged[&1], 1, "it was confirmed");
}

#[test]
fn j3_what_still_runs_from_a_lost_stream_counts() {
    let mut world = World::new(8);
    world.connect();
    assert_eq!(world.running.len(), 4);
    world.cut();
    world.connect();
    assert_eq!((world.node.window, world.node.in_flight.len()), (0, 0));
    world.finish(0);
    world.talk();
    assert_eq!((world.node.window, world.running.len()), (4, 4), "each that is redelivered makes room for itself");
    world.run();
    assert!(world.started.values().all(|started| *started == 1));
}

#[test]
fn j4_a_nack_is_about_this_stream_only() {
    let mut world = World::new(2);
    world.connect();
    world.cut();
    world.fail(0);
    world.connect();
    assert!(world.node.nacks.is_empty(), "the node has it again anyhow");
    world.fail(0);
    world.talk();
    assert_eq!(world.node.nacks.len(), 1);
}

#[test]
fn a_slow_handler_gets_more_time_until_it_had_enough() {
    let mut world = World::with(1, |settings| settings.extend_max = Some(ACK_TIMEOUT));
    world.connect();
    for _ in 0..20 {
        world.wait();
        world.talk();
    }
    assert_eq!(world.node.extends, [1, 1], "at a third and at two thirds of it");
}

#[test]
fn a_reason_is_cut_and_a_delay_is_bounded() {
    let mut world = World::new(1);
    world.connect();
    world.running.clear();
    let delay = Some(Duration::from_secs(999_999_999));
    world.machine.settle(1, Verdict::Failed { reason: "x".repeat(9999), delay });
    world.talk();
    let nack = &world.node.nacks[0];
    assert_eq!((nack.reason.len(), nack.delay_ms), (512, Some(7 * 24 * 3600 * 1000)));
}

#[test]
fn leaving_waits_for_handlers_and_for_the_confirmation() {
    let mut world = World::new(9);
    world.connect();
    world.machine.leave(world.now + Duration::from_secs(9));
    world.talk();
    assert_eq!(world.node.window, 0);
    (0..4).for_each(|_| world.finish(0));
    assert!(world.send() && !world.machine.is_complete());
    world.talk();
    assert!(world.machine.is_complete());
    assert_eq!(world.node.acknowledged.len(), 4);
    assert!(world.running.is_empty(), "nothing more was begun");
}

#[test]
fn leaving_ends_even_if_a_handler_does_not() {
    let mut world = World::new(1);
    world.connect();
    world.machine.leave(world.now + Duration::from_secs(9));
    while world.machine.failure().is_none() {
        world.wait();
        world.talk();
    }
    assert!(!world.machine.is_complete());
    assert_eq!(world.machine.failure().unwrap().why(), "it has left with 1 messages still being done");
}

#[test]
fn an_unknown_queue_ends_the_consumer() {
    let mut world = World::new(1);
    world.wait();
    let refusal = v1::Refusal { code: Code::UnknownQueue.into(), message: "no such".to_owned(), ..Default::default() };
    let moment = world.moment();
    world.machine.handle_lost(moment, Loss { why: "refused".to_owned(), refusal: Some(refusal) });
    assert_eq!(world.machine.failure().unwrap().why(), "no such");
}

#[test]
fn p5_a_queue_that_vanishes_is_created_again() {
    let mut world = World::with(1, |settings| settings.target.create = Some(Default::default()));
    world.wait();
    assert!(world.machine.dialog().creation().is_some(), "P5: before the first stream");
    world.talk();
    assert!(world.machine.dialog().creation().is_none());
    let refusal = v1::Refusal { code: Code::UnknownQueue.into(), ..Default::default() };
    let moment = world.moment();
    world.machine.handle_lost(moment, Loss { why: "gone".to_owned(), refusal: Some(refusal) });
    assert!(world.machine.dialog().creation().is_some());
    assert!(world.machine.failure().is_none());
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Send,
    Read,
    Hear,
    Cut,
    Wait,
    Finish(usize),
    Fail(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Send),
        6 => Just(Act::Read),
        6 => Just(Act::Hear),
        2 => Just(Act::Cut),
        5 => Just(Act::Wait),
        4 => (0usize..8).prop_map(Act::Finish),
        1 => (0usize..8).prop_map(Act::Fail),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// J1, J3 and J4 are asserted on the way. J2: what was done once is never begun again.
    #[test]
    fn j2_what_is_done_is_never_begun_again_and_everything_is_done(acts in acts()) {
        let mut world = World::new(12);
        for act in acts {
            match act {
                Act::Send => { world.send(); },
                Act::Read => { world.read(); },
                Act::Hear => { world.hear(); },
                Act::Cut => world.cut(),
                Act::Wait => world.wait(),
                Act::Finish(nth) => world.finish(nth),
                Act::Fail(nth) => world.fail(nth),
            }
        }
        world.run();
        prop_assert!(world.finished.len() == 12 && world.finished.values().all(|finished| *finished == 1));
    }
}
