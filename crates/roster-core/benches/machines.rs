//! Instructions of the machines: a thousand commands of each kind, with ten thousand neighbours there.
//!
//! Run by `cargo xtask bench`, which compares the counts with those that are committed. What is built
//! before and dropped after is not counted.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use gungraun::prelude::*;
use roster_core::directory::{self, Directory, SuspectReason};
use roster_core::queue::{
    self, ConsumerId, Deliveries, Dispatcher, Message, MessageId, QueueName, Queues, Settings, Window,
};
use roster_core::{
    Address, Grace, Handover, Kind, Label, Metadata, Position, Registration, SecretHash, ServiceName, SessionId, Tags,
    Timestamp,
};

const COMMANDS: u32 = 1_000;
const NEIGHBOURS: u32 = 10_000;
const PAYLOAD_BYTES: usize = 100;
const AT: Timestamp = Timestamp::new(1);

type Register = (Directory, directory::Effects, Vec<directory::Command>);

fn register_command(session: u64, number: u32) -> directory::Command {
    let host = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
    directory::Command::Register {
        session: SessionId::new(session),
        registration: Arc::new(Registration {
            service: ServiceName::parse(&format!("bench/service-{}", number % 100)).unwrap(),
            address: Address::parse(&host, 8080).unwrap(),
            kind: Kind::Member,
            node_index: 0,
            version: 1,
            weight: 100,
            zone: Label::parse("zone", "eu-1").unwrap(),
            tags: Tags::parse(["blue", "http"]).unwrap(),
            metadata: Metadata::parse([("build", "1234"), ("protocol", "grpc")]).unwrap(),
        }),
        handover: Handover::default(),
        cutover: None,
    }
}

fn open_session() -> directory::Command {
    directory::Command::OpenSession { secret: SecretHash([1; 16]), grace: Grace::default(), client: Label::default() }
}

/// Two sessions; the first owns the neighbours. What the second is to register comes along.
fn before_registering() -> Register {
    let (mut directory, mut effects) = (Directory::new(), directory::Effects::default());
    for _ in 0..2 {
        directory.apply(AT, open_session(), &mut effects);
    }
    for number in 0..NEIGHBOURS {
        directory.apply(AT, register_command(1, number), &mut effects);
    }
    let commands = (0..COMMANDS).map(|number| register_command(2, NEIGHBOURS + number)).collect();
    (directory, effects, commands)
}

fn after_registering() -> (Directory, directory::Effects) {
    registering(before_registering())
}

/// The second session has lost its stream.
fn after_suspecting() -> (Directory, directory::Effects) {
    suspecting(after_registering())
}

fn registering((mut directory, mut effects, commands): Register) -> (Directory, directory::Effects) {
    for command in commands {
        black_box(directory.apply(AT, command, &mut effects));
    }
    (directory, effects)
}

#[library_benchmark]
#[bench::thousand(before_registering())]
fn register(state: Register) -> (Directory, directory::Effects) {
    registering(state)
}

fn suspecting((mut directory, mut effects): (Directory, directory::Effects)) -> (Directory, directory::Effects) {
    let command = directory::Command::SuspectSession {
        session: SessionId::new(2),
        attachment: Position::new(2),
        reason: SuspectReason::StreamClosed,
    };
    black_box(directory.apply(AT, command, &mut effects));
    (directory, effects)
}

#[library_benchmark]
#[bench::thousand(after_registering())]
fn suspect(state: (Directory, directory::Effects)) -> (Directory, directory::Effects) {
    suspecting(state)
}

#[library_benchmark]
#[bench::thousand(after_suspecting())]
fn up_again((mut directory, mut effects): (Directory, directory::Effects)) -> (Directory, directory::Effects) {
    let command = directory::Command::ResumeSession { session: SessionId::new(2), secret: SecretHash([1; 16]) };
    black_box(directory.apply(AT, command, &mut effects));
    (directory, effects)
}

/// One queue with its dispatcher and four consumers.
struct Jobs {
    queues: Queues,
    effects: queue::Effects,
    dispatcher: Dispatcher,
    deliveries: Deliveries,
}

impl Jobs {
    fn apply(&mut self, command: queue::Command) {
        black_box(self.queues.apply(AT, command, &mut self.effects));
        self.dispatcher.take_in(self.queues.queue(&jobs()).unwrap(), &self.effects);
    }
}

fn jobs() -> QueueName {
    QueueName::parse("jobs").unwrap()
}

fn publish_command() -> queue::Command {
    let message = || Message::plain(Bytes::copy_from_slice(&[7; PAYLOAD_BYTES]));
    let messages = std::iter::repeat_with(message).take(COMMANDS as usize).collect();
    queue::Command::Publish { queue: jobs(), origin: None, messages }
}

fn before_publishing() -> (Jobs, queue::Command) {
    let mut queues = Queues::new();
    let mut effects = queue::Effects::default();
    let settings = Settings { in_flight_max: 1_024, ..Settings::default() };
    queues.apply(AT, queue::Command::CreateQueue { queue: jobs(), settings }, &mut effects);
    let mut dispatcher = Dispatcher::new(queues.queue(&jobs()).unwrap());
    for consumer in 1..=4 {
        dispatcher.join(ConsumerId(consumer), Window::default());
    }
    let mut jobs = Jobs { queues, effects, dispatcher, deliveries: Deliveries::new() };
    for _ in 0..NEIGHBOURS / COMMANDS {
        jobs.apply(publish_command());
    }
    (jobs, publish_command())
}

fn after_publishing() -> Jobs {
    publishing(before_publishing())
}

fn after_delivering() -> (Jobs, Vec<(ConsumerId, Vec<MessageId>)>) {
    let mut jobs = delivering(after_publishing());
    let delivered = std::mem::take(&mut jobs.deliveries);
    let ids = |batch: Vec<queue::Delivery>| batch.into_iter().map(|delivery| delivery.id).collect();
    (jobs, delivered.into_iter().map(|(consumer, batch)| (consumer, ids(batch))).collect())
}

fn publishing((mut jobs, command): (Jobs, queue::Command)) -> Jobs {
    jobs.apply(command);
    jobs
}

#[library_benchmark]
#[bench::thousand(before_publishing())]
fn publish(state: (Jobs, queue::Command)) -> Jobs {
    publishing(state)
}

fn delivering(mut state: Jobs) -> Jobs {
    state.dispatcher.deliver(AT, state.queues.queue(&jobs()).unwrap(), &mut state.deliveries);
    state
}

#[library_benchmark]
#[bench::a_full_window(after_publishing())]
fn deliver(state: Jobs) -> Jobs {
    delivering(state)
}

#[library_benchmark]
#[bench::a_full_window(after_delivering())]
fn acknowledge((mut state, delivered): (Jobs, Vec<(ConsumerId, Vec<MessageId>)>)) -> Jobs {
    for (consumer, ids) in delivered {
        let messages = state.dispatcher.acknowledge(state.queues.queue(&jobs()).unwrap(), consumer, &ids);
        state.apply(queue::Command::Acknowledge { queue: jobs(), messages });
    }
    state
}

library_benchmark_group!(name = the_directory, benchmarks = [register, suspect, up_again]);
library_benchmark_group!(name = the_queues, benchmarks = [publish, deliver, acknowledge]);

main!(
    // The copying routines of the C library are chosen by processor; the plainest are there on all.
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-ERMS,-FSRM");
    library_benchmark_groups = the_directory, the_queues
);
