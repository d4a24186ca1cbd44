//! Instructions of the SDK: a thousand changes from bytes to the readers of a hundred watches, a thousand messages
//! from their publisher to bytes and their receipts back, a thousand deliveries from bytes to their handler and
//! their acknowledgements to bytes.
//!
//! Run by `cargo xtask bench`, which compares the counts with those that are committed. What is built before and
//! dropped after is not counted.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use bytes::Bytes;
use gungraun::prelude::*;
use prost::Message as _;
use roster_client::hot_paths::{Consumed, Published, Watched};
use roster_core::queue::Message;
use roster_proto::v1;
use roster_proto::v1::event::Event;
use roster_proto::v1::publish_stream_response::Response;

const OPERATIONS: u32 = 1_000;
const SERVICES: u32 = 100;
const INSTANCES: u32 = 20;
/// Messages that are on their way together.
const TOGETHER: usize = 100;

fn instance(service: u32, number: u32, weight: u32) -> v1::Instance {
    let entry = |key: &str, value: &str| v1::MetadataEntry { key: key.to_owned(), value: value.to_owned() };
    let registration = v1::Registration {
        service: format!("bench/service-{service}"),
        host: std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string(),
        port: 8080,
        kind: v1::Kind::Member.into(),
        version: 1,
        weight: Some(weight),
        zone: "eu-1".to_owned(),
        tags: vec!["blue".to_owned(), "http".to_owned()],
        metadata: vec![entry("build", "1234"), entry("protocol", "grpc")],
        ..v1::Registration::default()
    };
    v1::Instance {
        id: (service * INSTANCES + number + 1).into(),
        registration: Some(registration),
        session_id: 1,
        liveness: v1::Liveness::Up.into(),
        changed_position: weight.into(),
        ..v1::Instance::default()
    }
}

fn watched() -> (Watched, Vec<Bytes>) {
    let services: Vec<_> = (0..SERVICES)
        .map(|service| {
            let instances = (0..INSTANCES).map(|number| instance(service, number, 1)).collect();
            (format!("bench/service-{service}"), instances)
        })
        .collect();
    let changes = (0..OPERATIONS).map(|change| {
        let service = change % SERVICES;
        let changed = Event::Changed(instance(service, change / SERVICES % INSTANCES, 2 + change));
        let group = v1::EventGroup { position: (2 + change).into(), events: vec![v1::Event { event: Some(changed) }] };
        let delivery = v1::Delivery { watch_ids: vec![u64::from(service) + 1], group: Some(group) };
        v1::WatchResponse { deliveries: vec![delivery], epoch: 1 }.encode_to_vec().into()
    });
    (Watched::load(&services), changes.collect())
}

#[library_benchmark]
#[bench::thousand(watched())]
fn take_in((mut watched, changes): (Watched, Vec<Bytes>)) -> Watched {
    for (change, bytes) in changes.into_iter().enumerate() {
        watched.deliver(v1::WatchResponse::decode(bytes).unwrap());
        let told = watched.next(change % SERVICES as usize);
        assert!(told.is_some(), "a change is told");
    }
    watched
}

#[library_benchmark]
#[bench::thousand(Published::open())]
fn publish(mut published: Published) -> (Published, Vec<Vec<u8>>) {
    let payload = Bytes::from_static(&[b'x'; 100]);
    let mut frames = Vec::with_capacity(OPERATIONS as usize / TOGETHER);
    for first in (0..OPERATIONS as usize).step_by(TOGETHER) {
        let pending: Vec<_> = (0..TOGETHER).map(|_| published.publish(Message::plain(payload.clone()))).collect();
        frames.push(published.request().unwrap().encode_to_vec());
        let outcome = v1::publish_result::Outcome::Published(v1::Published {
            first_message_id: first as u64 + 1,
            stored: TOGETHER as u64,
            ..Default::default()
        });
        let result = v1::PublishResult { first_sequence: first as u64 + 1, outcome: Some(outcome) };
        published.answer(Response::Results(v1::PublishResults { results: vec![result] }));
        assert!(pending.into_iter().all(Published::is_stored), "every message has its receipt");
    }
    (published, frames)
}

fn consumed() -> (Consumed, Vec<Bytes>) {
    let message = v1::QueueMessage { payload: Bytes::from_static(&[b'x'; 100]), ..Default::default() };
    let delivery = |id: u64| v1::QueueDelivery {
        message_id: id,
        attempt: 1,
        enqueued_unix_ms: 1_700_000_000_000,
        message: Some(message.clone()),
    };
    let responses = (0..u64::from(OPERATIONS)).step_by(TOGETHER).map(|first| {
        let deliveries = (first + 1..=first + TOGETHER as u64).map(delivery).collect();
        v1::ConsumeResponse { deliveries, confirmed: first / TOGETHER as u64, ..Default::default() }
    });
    (Consumed::open(), responses.map(|response| response.encode_to_vec().into()).collect())
}

#[library_benchmark]
#[bench::thousand(consumed())]
fn consume((consumed, responses): (Consumed, Vec<Bytes>)) -> (Consumed, Vec<Vec<u8>>) {
    let mut frames = Vec::with_capacity(OPERATIONS as usize / TOGETHER);
    for bytes in responses {
        consumed.deliver(v1::ConsumeResponse::decode(bytes).unwrap());
        for _ in 0..TOGETHER {
            consumed.next().unwrap().ack();
        }
        frames.push(consumed.request().unwrap().encode_to_vec());
    }
    (consumed, frames)
}

library_benchmark_group!(name = the_sdk, benchmarks = [take_in, publish, consume]);

main!(
    // The copying routines of the C library are chosen by processor; the plainest are there on all.
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-ERMS,-FSRM");
    library_benchmark_groups = the_sdk
);
