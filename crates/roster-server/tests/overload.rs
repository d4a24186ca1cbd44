//! More work than the node can do: what is too much is refused or waits at its sender, and everybody else is served.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use roster_proto::codec::SmallBuffers;
use roster_proto::v1;
use roster_proto::v1::admin_client::AdminClient;
use roster_proto::v1::publish_result::Outcome as Published;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use roster_server::{Node, NodeBuilder, Settings, Span};
use support::held_disk::HeldDisk;
use support::queues::{Consumer, Producer, create, message, queues};
use support::{PATIENCE, Session, Watch, channel, member, registry, settings, soon};
use tempfile::tempdir;
use tokio::task::JoinSet;
use tonic::Code as Grpc;

/// Of a message that is not small.
const LARGE_BYTES: usize = 32 * 1024;

async fn start_with(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Node) {
    let directory = tempdir().unwrap();
    let mut settings = settings(&directory);
    change(&mut settings);
    let node = Node::start(settings).await.unwrap();
    (directory, node)
}

async fn work(node: &Node) -> v1::Work {
    let mut admin = AdminClient::new(channel(node).await);
    admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().work.unwrap()
}

async fn position(node: &Node) -> u64 {
    let mut admin = AdminClient::new(channel(node).await);
    admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().position
}

async fn work_until(node: &Node, what: &str, is_so: impl Fn(&v1::Work) -> bool) -> v1::Work {
    let waiting = async {
        loop {
            let work = work(node).await;
            if is_so(&work) {
                return work;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(what, waiting).await
}

/// Registrations that change with every message.
fn operations(session: u32, message: u32, count: u32) -> Request {
    let operation = |number: u32| {
        let service = format!("flood/{}", number % 10);
        let registration = v1::Registration {
            host: format!("10.0.0.{session}"),
            weight: Some(1 + message),
            ..member(&service, 1 + number)
        };
        let register = v1::Register { registration: Some(registration), ..Default::default() };
        let operation = Some(v1::operation::Operation::Register(register));
        v1::Operation { request_id: message.into(), operation }
    };
    Request::Operations(v1::Operations { operations: (0..count).map(operation).collect() })
}

/// Sends messages without waiting for any answer; returns how many operations were done and how many refused.
async fn flood(mut session: Session, number: u32, messages: u32, each: u32) -> (u32, u32) {
    let requests = session.requests.clone();
    let sending = tokio::spawn(async move {
        for message in 0..messages {
            let request = Some(operations(number, message, each));
            requests.send(v1::SessionRequest { request }).await.unwrap();
        }
    });
    let (mut done, mut refused) = (0, 0);
    while done + refused < messages * each {
        match session.next().await.expect("a session that floods goes on") {
            Response::Results(results) => {
                let mut texts = 0;
                for result in results.results {
                    match result.outcome.unwrap() {
                        v1::result::Outcome::Refusal(refusal) => {
                            assert_eq!(refusal.code(), Code::LimitExceeded, "{}", refusal.message);
                            assert_ne!(refusal.limit_max, 0);
                            texts += u32::from(!refusal.message.is_empty());
                            refused += 1;
                        }
                        _ => done += 1,
                    }
                }
                assert!(texts <= 1, "the same text {texts} times");
            }
            Response::Farewell(farewell) => panic!("{farewell:?}"),
            _ => {}
        }
    }
    sending.await.unwrap();
    session.goodbye().await;
    (done, refused)
}

#[tokio::test]
async fn a_storm_of_reads_is_refused_not_queued() {
    let (_directory, node) = start_with(|settings| settings.limits.calls = 2).await;
    let mut session = Session::open(&node, 1_000).await;
    session.up(member("orders", 1)).await;
    let asked = registry(&node).await;
    let mut storm = JoinSet::new();
    for _ in 0..200 {
        let mut registry = asked.clone();
        storm.spawn(async move { registry.list_instances(v1::ListInstancesRequest::default()).await });
    }
    let session_id = session.welcome.session_id;
    let mut checking = registry(&node).await;
    let check = checking.check(v1::CheckRequest { service: "orders".into(), session_id });
    let answering = async { while session.next().await.is_some() {} };
    let checked = tokio::select! {
        checked = check => checked.unwrap().into_inner(),
        () = answering => panic!("the session ended"),
    };
    assert_eq!(checked.outcome(), v1::check_response::Outcome::Alive, "reads keep nobody out who is asked for");
    let (mut answered, mut refused) = (0, 0);
    while let Some(read) = soon("all answers", storm.join_next()).await {
        match read.unwrap() {
            Ok(answer) => {
                assert_eq!(answer.into_inner().instances.len(), 1);
                answered += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Grpc::ResourceExhausted, "{}", status.message());
                let refusal = v1::Refusal::of_status(&status).unwrap();
                assert!(refusal.message.contains("limits.calls"), "{}", refusal.message);
                assert_eq!((refusal.code(), refusal.limit_max), (Code::LimitExceeded, 2));
                refused += 1;
            }
        }
    }
    assert!(answered >= 2 && refused > 0, "{answered} were answered, {refused} refused");
    assert_eq!(work(&node).await.refused_calls, refused);
    registry(&node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap();
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_call_whose_request_never_comes_whole_gives_its_place_back() {
    let (_directory, node) = start_with(|settings| settings.limits.calls = 1).await;
    let asking = channel(&node).await;
    let half = tokio::spawn(async move {
        let mut client = tonic::client::Grpc::new(asking);
        client.ready().await.unwrap();
        let path = "/roster.v1.Registry/ListInstances".parse().unwrap();
        let codec = SmallBuffers::<v1::ListInstancesRequest, v1::ListInstancesResponse>::default();
        let nothing = tokio_stream::pending::<v1::ListInstancesRequest>();
        client.client_streaming(tonic::Request::new(nothing), path, codec).await.unwrap_err()
    });
    work_until(&node, "a call under way", |work| work.calls == 2).await;
    let refused = registry(&node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Grpc::ResourceExhausted, "{}", refused.message());
    let status = soon("the end of the half call", half).await.unwrap();
    assert_eq!(status.code(), Grpc::DeadlineExceeded, "{}", status.message());
    registry(&node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap();
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn requeues_have_few_places_that_are_not_those_of_others() {
    let (_directory, node) = start_with(|settings| settings.limits.calls = 1).await;
    let asking = channel(&node).await;
    let mut half = JoinSet::new();
    for _ in 0..200 {
        let mut client = tonic::client::Grpc::new(asking.clone());
        half.spawn(async move {
            client.ready().await.unwrap();
            let path = "/roster.v1.Queues/RequeueDead".parse().unwrap();
            let codec = SmallBuffers::<v1::DeadRequest, v1::MovedResponse>::default();
            let nothing = tokio_stream::pending::<v1::DeadRequest>();
            client.client_streaming(tonic::Request::new(nothing), path, codec).await.unwrap_err()
        });
    }
    let refused = soon("a refusal", half.join_next()).await.unwrap().unwrap();
    assert_eq!(refused.code(), Grpc::ResourceExhausted, "{}", refused.message());
    registry(&node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap();
    half.abort_all();
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn memory_stays_bounded_while_ten_times_too_much_is_published() {
    let (_directory, node) = start_with(|settings| settings.limits.waiting_bytes = ByteSize::kib(320)).await;
    create(&node, v1::QueueSettings { waiting_max: Some(1), ..Default::default() }).await;
    let payload = || vec![large()];
    let mut first = Producer::open(&node, "first").await;
    first.send(1, payload()).await;
    assert_eq!(first.stored().await, (1, 0));
    let mut producers = Vec::new();
    for number in 0..20 {
        let producer = Producer::open(&node, &format!("p{number}")).await;
        producer.send(1, payload()).await;
        producers.push(producer);
    }
    let full = work_until(&node, "18 refusals", |work| work.refused_publications == 18).await;
    assert!((1..=80 * 1024).contains(&full.waiting_publish_bytes), "N4: {full:?}");

    // Whoever was refused is told so, and who waits is let in when there is room.
    let mut consumer = Consumer::open(&node, 1).await;
    let mut refused = Vec::new();
    let mut stored = 0;
    let mut answers = JoinSet::new();
    for mut producer in producers {
        answers.spawn(async move { (producer.result().await.unwrap(), producer) });
    }
    while refused.len() + stored < 20 {
        tokio::select! {
            Some(answer) = answers.join_next() => match answer.unwrap() {
                ((_, Published::Published(published)), _) => stored += published.stored as usize,
                ((_, Published::Refusal(refusal)), producer) => {
                    assert_eq!(refusal.code(), Code::LimitExceeded);
                    assert!(refusal.message.contains("limits.waiting-bytes"), "{}", refusal.message);
                    refused.push(producer);
                }
            },
            delivery = consumer.next() => {
                let message_id = delivery.unwrap().message_id;
                consumer.say(v1::ConsumeRequest { acknowledge: vec![message_id], ..Default::default() }).await;
            }
        }
    }
    assert_eq!((stored, refused.len()), (2, 18));
    let mut again = refused.pop().unwrap();
    again.send(1, payload()).await;
    let storing = async {
        loop {
            tokio::select! {
                stored = again.stored() => return stored,
                delivery = consumer.next() => {
                    let message_id = delivery.unwrap().message_id;
                    consumer.say(v1::ConsumeRequest { acknowledge: vec![message_id], ..Default::default() }).await;
                }
            }
        }
    };
    assert_eq!(soon("a place", storing).await, (1, 0));
    work_until(&node, "nothing that waits", |work| work.waiting_publish_bytes + work.publish_bytes == 0).await;
    node.shutdown().await.unwrap();
}

/// A node with a full queue for which more wait than may.
async fn crowded() -> (tempfile::TempDir, Node, Vec<Producer>) {
    let (directory, node) = start_with(|settings| settings.limits.waiting_bytes = ByteSize::kib(320)).await;
    create(&node, v1::QueueSettings { waiting_max: Some(1), ..Default::default() }).await;
    let mut producers = Vec::new();
    for number in 0..20 {
        let producer = Producer::open(&node, &format!("p{number}")).await;
        producer.send(1, vec![large()]).await;
        producers.push(producer);
    }
    work_until(&node, "refusals", |work| work.refused_publications > 0).await;
    (directory, node, producers)
}

fn large() -> v1::QueueMessage {
    message("x".repeat(LARGE_BYTES))
}

#[tokio::test]
async fn a_full_queue_that_many_wait_for_leaves_places_for_those_who_wait_for_others() {
    let (_directory, node, _producers) = crowded().await;
    let settings = Some(v1::QueueSettings { waiting_max: Some(1), ..Default::default() });
    let other = v1::CreateQueueRequest { queue: "other".into(), settings, ..Default::default() };
    queues(&node).await.create_queue(other).await.unwrap();
    let mut first = Producer::try_open(&node, "other", "first").await.unwrap();
    first.send(1, vec![large()]).await;
    assert_eq!(first.stored().await, (1, 0));
    let before = work(&node).await.waiting_publish_bytes;
    let second = Producer::try_open(&node, "other", "second").await.unwrap();
    second.send(1, vec![large()]).await;
    let waits = |work: &v1::Work| work.waiting_publish_bytes >= before + LARGE_BYTES as u64;
    work_until(&node, "a place to wait for the other queue", waits).await;
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_never_fits_its_queue_is_told_so_however_many_wait() {
    let (_directory, node, _producers) = crowded().await;
    let mut producer = Producer::open(&node, "large").await;
    producer.send(1, vec![large(), large()]).await;
    match producer.result().await.unwrap() {
        (1, Published::Refusal(refusal)) => {
            assert_eq!(refusal.code(), Code::InvalidArgument, "{}", refusal.message);
            assert!(refusal.message.contains("may ever keep"), "{}", refusal.message);
        }
        other => panic!("{other:?} is no refusal"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_arrive_while_publishers_flood() {
    let (_directory, node) = start_with(|_| {}).await;
    create(&node, v1::QueueSettings { waiting_max: Some(100_000), ..Default::default() }).await;
    let mut watch = Watch::on(&node, "orders").await;
    watch.told().await;
    let mut publishing = JoinSet::new();
    let mut producers = Vec::new();
    for number in 0..8 {
        producers.push(Producer::open(&node, &format!("p{number}")).await);
    }
    for producer in producers {
        publishing.spawn(async move {
            let mut first = 1;
            // Results are never read: whatever holds it back is the node.
            while producer
                .requests
                .send(v1::PublishStreamRequest {
                    request: Some(v1::publish_stream_request::Request::Batch(v1::PublishBatch {
                        first_sequence: first,
                        messages: vec![message("x".repeat(100)); 500],
                    })),
                })
                .await
                .is_ok()
            {
                first += 500;
            }
        });
    }
    let mut session = Session::open(&node, 60_000).await;
    let mut slowest = Duration::ZERO;
    for weight in 1..=10 {
        let since = Instant::now();
        session.up(v1::Registration { weight: Some(weight), ..member("orders", 1) }).await;
        while !watch.told().await.iter().any(|told| told.ends_with("4000") || told.ends_with(" 1")) {}
        slowest = slowest.max(since.elapsed());
    }
    // Most of it is the program that floods, which was not made to be fast.
    assert!(slowest < PATIENCE / 2, "a push took {slowest:?}");
    publishing.abort_all();
    drop(session);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_lost_while_the_node_is_flooded() {
    let (_directory, node) = start_with(|settings| {
        settings.limits.operation_bytes = ByteSize::kib(64);
        settings.sessions.ping_interval = Span(Duration::from_millis(300));
        settings.sessions.ping_timeout = Span(Duration::from_millis(1_500));
    })
    .await;
    let mut watch = Watch::on(&node, "").await;
    watch.told().await;
    let mut quiet = Session::open(&node, 0).await;
    quiet.up(member("orders", 1)).await;
    let quiet = tokio::spawn(async move { while quiet.next().await.is_some() {} });
    let mut floods = JoinSet::new();
    for number in 0..24 {
        floods.spawn(flood(Session::open(&node, 0).await, number, 6, 1_000));
    }
    let mut done = 0;
    while let Some(flood) = floods.join_next().await {
        let (applied, refused) = flood.unwrap();
        assert_eq!(refused, 0, "what waits is far from its bound");
        done += applied;
    }
    assert_eq!(done, 24 * 6 * 1_000);
    let mut session = Session::open(&node, 1_000).await;
    session.up(member("last", 9_999)).await;
    let told = watch.told_until("up 9999").await;
    let lost: Vec<_> = told.iter().filter(|word| word.starts_with("suspect") || word.contains("LostContact")).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(!quiet.is_finished(), "a session that only answers pings goes on");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_small_change_does_not_wait_behind_the_large_messages_of_others() {
    const SESSIONS: u32 = 32;
    const EACH: u32 = 1_000;
    let disk = HeldDisk::new(1);
    let mut settings = Settings { listen: ([127, 0, 0, 1], 0).into(), data_dir: "/data".into(), ..Settings::default() };
    settings.limits.operation_bytes = ByteSize::kib(512);
    let node = NodeBuilder::new(settings).disk(Arc::new(disk.clone())).start().await.unwrap();
    let mut small = Session::open(&node, 0).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(Session::open(&node, 0).await);
    }
    let before = position(&node).await;

    // While the log stands still a line forms in front of it.
    disk.hold(true);
    let mut floods = JoinSet::new();
    for (number, session) in (0..).zip(sessions) {
        floods.spawn(flood(session, number, 1, EACH));
    }
    let line = u64::from(EACH * SESSIONS) / 2;
    work_until(&node, "a line at the log", |work| work.waiting_operation_bytes > 256 * line).await;
    let under_way = work(&node).await.operation_bytes;
    let small = tokio::spawn(async move { (small.up(member("small", 1)).await, small) });
    work_until(&node, "a change that goes beside the line", |work| work.operation_bytes > under_way).await;
    disk.hold(false);
    let (instance, small) = soon("the change", small).await.unwrap();
    assert!(instance - before < line, "{} operations went first", instance - before);
    while let Some(flood) = soon("the flood", floods.join_next()).await {
        assert_eq!(flood.unwrap(), (EACH, 0));
    }
    small.goodbye().await;
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_edge_that_is_busy_for_long_loses_nobody() {
    let (_directory, node) = start_with(|settings| {
        settings.sessions.ping_interval = Span(Duration::from_millis(200));
        settings.sessions.ping_timeout = Span(Duration::from_millis(200));
    })
    .await;
    let mut session = Session::open(&node, 0).await;
    session.up(member("orders", 1)).await;
    // The edge has this one thread, and so has the session: whatever it is asked, nobody reads it.
    let busy = Instant::now();
    while busy.elapsed() < Duration::from_secs(2) {
        std::hint::spin_loop();
    }
    session.up(member("orders", 2)).await;
    let listed = registry(&node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().instances.len(), 2);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn sessions_that_send_more_than_may_wait_are_answered_each_operation_and_go_on() {
    let (_directory, node) = start_with(|settings| {
        settings.limits.operation_bytes = ByteSize::kib(64);
        settings.limits.waiting_bytes = ByteSize::kib(64);
    })
    .await;
    // Whether some is refused depends on how quick the log is; what is, is counted.
    const EACH: u32 = 5_000;
    let mut floods = JoinSet::new();
    for number in 0..6 {
        floods.spawn(flood(Session::open(&node, 1_000).await, number, 2, EACH));
    }
    let (mut done, mut refused) = (0, 0);
    while let Some(flood) = floods.join_next().await {
        let (applied, not) = flood.unwrap();
        (done, refused) = (done + applied, refused + not);
    }
    assert_eq!(done + refused, 6 * 2 * EACH, "everything is answered");
    assert!(done > 0, "{done} were done, {refused} refused");
    let work = work_until(&node, "nothing under way", |work| work.operation_bytes <= 1024).await;
    assert_eq!((work.waiting_operation_bytes, work.refused_operations), (0, u64::from(refused / EACH)));
    node.shutdown().await.unwrap();
}
