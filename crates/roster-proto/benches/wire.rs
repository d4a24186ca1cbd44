//! Instructions of the wire: a thousand registrations from bytes to words, a thousand events from words
//! to bytes and back, a thousand instances for readers, and a thousand answers that were kept.
//!
//! Run by `cargo xtask bench`, which compares the counts with those that are committed. What is built
//! before and dropped after is not counted.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gungraun::prelude::*;
use prost::Message;
use roster_core::directory::{Command, Directory, Effects, Event, Instance};
use roster_core::view::Group;
use roster_core::{Grace, Handover, Label, Position, Registration, SecretHash, Selector, SessionId, Timestamp};
use roster_proto::convert::{encode_events, parse_group, parse_register, put_events, put_instance};
use roster_proto::{encoded, v1};

const OPERATIONS: u32 = 1_000;

fn registration(number: u32) -> v1::Registration {
    let entry = |key: &str, value: &str| v1::MetadataEntry { key: key.to_owned(), value: value.to_owned() };
    v1::Registration {
        service: format!("bench/service-{}", number % 100),
        host: std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string(),
        port: 8080,
        kind: v1::Kind::Member.into(),
        version: 1,
        zone: "eu-1".to_owned(),
        tags: vec!["blue".to_owned(), "http".to_owned()],
        metadata: vec![entry("build", "1234"), entry("protocol", "grpc")],
        ..v1::Registration::default()
    }
}

fn register(number: u32) -> v1::Register {
    v1::Register { registration: Some(registration(number)), ..v1::Register::default() }
}

/// One message of a session stream.
fn message() -> Bytes {
    let operations = (0..OPERATIONS).map(|number| v1::Operation {
        request_id: number.into(),
        operation: Some(v1::operation::Operation::Register(register(number))),
    });
    let operations = v1::Operations { operations: operations.collect() };
    v1::SessionRequest { request: Some(v1::session_request::Request::Operations(operations)) }.encode_to_vec().into()
}

/// What the directory tells of as many registrations.
fn events() -> Vec<Event> {
    registered().1
}

/// What it gives to a reader of everything.
fn instances() -> Vec<Instance> {
    registered().0.instances(&Selector::All, None, OPERATIONS as usize)
}

/// The content of an answer with 20 instances.
fn content() -> Bytes {
    let mut content = Vec::new();
    instances().iter().take(20).for_each(|instance| put_instance(1, instance, &mut content));
    content.into()
}

fn registered() -> (Directory, Vec<Event>) {
    let (mut directory, mut effects) = (Directory::new(), Effects::default());
    let at = Timestamp::new(1);
    let (secret, client) = (SecretHash([1; 16]), Label::default());
    directory.apply(at, Command::OpenSession { secret, grace: Grace::default(), client }, &mut effects);
    let mut events = Vec::new();
    for number in 0..OPERATIONS {
        let bytes = registration(number).encode_to_vec().into();
        let register = encoded::Register { registration: Some(bytes), ..Default::default() };
        let (registration, ..) = parse_register(&register).unwrap();
        let (session, handover) = (SessionId::new(1), Handover::default());
        directory.apply(at, Command::Register { session, registration, handover, cutover: None }, &mut effects);
        events.append(&mut effects.events);
    }
    (directory, events)
}

/// Each event in a group of its own, as bytes.
fn groups() -> Vec<Bytes> {
    events().iter().map(|event| encode_events(Position::new(7), [event]).encode_to_vec().into()).collect()
}

#[library_benchmark]
#[bench::thousand(message())]
fn decode_registrations(message: Bytes) -> Vec<Arc<Registration>> {
    let Some(encoded::Request::Operations(operations)) = encoded::SessionRequest::decode(message).unwrap().request
    else {
        panic!("no operations")
    };
    let mut parsed = Vec::with_capacity(operations.operations.len());
    for operation in &operations.operations {
        let Some(encoded::SessionOperation::Register(register)) = &operation.operation else { panic!("no register") };
        parsed.push(parse_register(register).unwrap().0);
    }
    parsed
}

#[library_benchmark]
#[bench::thousand(events())]
fn encode_groups(events: Vec<Event>) -> (Vec<Event>, Vec<Bytes>) {
    let group = |event| {
        let mut bytes = Vec::with_capacity(512);
        put_events(Position::new(7), [event], &mut bytes);
        Bytes::copy_from_slice(&bytes)
    };
    let bytes = events.iter().map(group).collect();
    (events, bytes)
}

#[library_benchmark]
#[bench::thousand(groups())]
fn decode_groups(groups: Vec<Bytes>) -> Vec<Group> {
    groups.into_iter().map(|group| parse_group(&v1::EventGroup::decode(group).unwrap()).unwrap()).collect()
}

#[library_benchmark]
#[bench::thousand(instances())]
fn encode_instances(instances: Vec<Instance>) -> (Vec<Instance>, Vec<u8>) {
    let mut bytes = Vec::with_capacity(256 * instances.len());
    instances.iter().for_each(|instance| put_instance(1, instance, &mut bytes));
    (instances, bytes)
}

#[library_benchmark]
#[bench::thousand(content())]
fn answer_again(content: Bytes) -> BytesMut {
    let mut body = BytesMut::with_capacity(8 * 1024);
    for position in 0..u64::from(OPERATIONS) {
        body.clear();
        let answer = encoded::ListInstancesResponse { content: content.clone(), position };
        answer.encode(&mut body).unwrap();
    }
    body
}

library_benchmark_group!(
    name = the_wire,
    benchmarks = [decode_registrations, encode_groups, decode_groups, encode_instances, answer_again]
);

main!(
    // The copying routines of the C library are chosen by processor; the plainest are there on all.
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-ERMS,-FSRM");
    library_benchmark_groups = the_wire
);
