//! A node whose disk fails, fills up or loses power, and a node that is rebuilt while it serves.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use roster_proto::v1;
use roster_proto::v1::admin_client::AdminClient;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::result::Outcome;
use roster_proto::v1::session_response::Response;
use roster_server::{Node, NodeBuilder, NodeError, Settings};
use roster_store::FaultyDisk;
use roster_store::disk::{Operation, Survival};
use support::{Session, Watch, channel, member, registry, singleton, soon};

async fn start_on(disk: &FaultyDisk) -> Node {
    let settings = Settings { listen: ([127, 0, 0, 1], 0).into(), data_dir: "/data".into(), ..Settings::default() };
    NodeBuilder::new(settings).disk(Arc::new(disk.clone())).start().await.unwrap()
}

async fn instances(node: &Node) -> Vec<u32> {
    let answer = registry(node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap();
    answer.into_inner().instances.into_iter().filter_map(|instance| Some(instance.registration?.port)).collect()
}

#[tokio::test]
async fn a_failed_sync_stops_the_node_and_nothing_of_its_batch_is_told() {
    let disk = FaultyDisk::new(1);
    let mut node = start_on(&disk).await;
    let mut watch = Watch::on(&node, "orders").await;
    watch.told().await;
    let mut session = Session::open(&node, 60_000).await;
    disk.fail(Operation::Sync, 1, ErrorKind::Other);
    match session.register(member("orders", 1)).await {
        Outcome::Refusal(refusal) => assert_eq!(refusal.code(), Code::Unavailable, "N1: told before it was durable"),
        other => panic!("N1: {other:?} was told before it was durable"),
    }
    assert!(matches!(soon("the failure", node.failed()).await, NodeError::LogFailed { .. }));
    let operations = disk.operations();
    match session.next().await {
        Some(Response::Farewell(farewell)) => assert_eq!(farewell.reason(), v1::farewell::Reason::Shutdown),
        other => panic!("{other:?} after a failed sync"),
    }
    assert_eq!(disk.operations(), operations, "N2: the disk was touched again after a failed sync");
    assert!(node.shutdown().await.is_err());
    assert!(watch.next().await.is_none(), "N1: the watcher was told what is not durable");
}

#[tokio::test]
async fn a_full_disk_makes_the_node_read_only_until_there_is_room() {
    let disk = FaultyDisk::new(2);
    // So little that no room is made in advance.
    disk.set_capacity(Some(1024 * 1024));
    let node = start_on(&disk).await;
    let mut watch = Watch::on(&node, "orders").await;
    watch.told().await;
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 1)).await;
    assert_eq!(watch.told().await, ["up 1", "main"]);

    disk.set_capacity(Some(disk.used_bytes()));
    match session.register(member("orders", 2)).await {
        Outcome::Refusal(refusal) => {
            assert_eq!(refusal.code(), Code::ReadOnly);
            assert!(refusal.message.contains("no room"), "{}", refusal.message);
        }
        other => panic!("{other:?} on a full disk"),
    }
    assert_eq!(instances(&node).await, [1], "reads go on");
    let mut admin = AdminClient::new(channel(&node).await);
    let status = admin.get_status(v1::GetStatusRequest::default()).await.unwrap().into_inner();
    assert!(!status.read_only.is_empty());
    let mut late = Watch::on(&node, "").await;
    assert_eq!(late.told().await, ["reset", "up 1", "main", "loaded"], "watches go on");

    // The session is lost while that cannot be written down: it is not forgotten.
    drop(session);
    disk.set_capacity(None);
    assert_eq!(watch.told().await, ["suspect StreamClosed"], "N3");
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 3)).await;
    node.shutdown().await.unwrap();

    disk.restart_process();
    let node = start_on(&disk).await;
    assert_eq!(instances(&node).await, [1, 3]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_refused_as_a_whole_is_answered_each_operation_and_says_why_once() {
    let disk = FaultyDisk::new(2);
    let node = start_on(&disk).await;
    let mut session = Session::open(&node, 60_000).await;
    disk.set_capacity(Some(disk.used_bytes()));
    let operation = |port| {
        let register = v1::Register { registration: Some(member("orders", port)), ..Default::default() };
        let operation = Some(v1::operation::Operation::Register(register));
        v1::Operation { request_id: u64::from(port), operation }
    };
    let operations = v1::Operations { operations: (1..=5_000).map(operation).collect() };
    let request = Some(v1::session_request::Request::Operations(operations));
    session.requests.send(v1::SessionRequest { request }).await.unwrap();
    let results = loop {
        if let Response::Results(results) = session.next().await.unwrap() {
            break results.results;
        }
    };
    let mut texts = Vec::new();
    for (result, port) in results.iter().zip(1..) {
        let Some(Outcome::Refusal(refusal)) = &result.outcome else { panic!("{result:?} on a full disk") };
        assert_eq!((result.request_id, refusal.code()), (port, Code::ReadOnly));
        if !refusal.message.is_empty() {
            texts.push(port);
        }
    }
    assert_eq!((results.len(), texts), (5_000, vec![1]));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_was_answered_survives_a_power_cut() {
    for seed in 0..8 {
        let disk = FaultyDisk::new(seed);
        let node = start_on(&disk).await;
        let mut session = Session::open(&node, 60_000).await;
        for port in 1..=20 {
            session.up(member("orders", port)).await;
        }
        let token = match session.register(singleton("leader", 99)).await {
            Outcome::Active(active) => active.fencing_token,
            other => panic!("{other:?} is not active"),
        };
        disk.crash();
        drop(node);
        let node = start_on(&disk.reboot(Survival::Torn(seed))).await;
        assert_eq!(instances(&node).await, [99].into_iter().chain(1..=20).collect::<Vec<_>>());
        let request = v1::GetMainRequest { service: "leader".into() };
        let main = registry(&node).await.get_main(request).await.unwrap().into_inner().main.unwrap();
        assert_eq!(main.fencing_token, token);
        let mut again = Session::resume(&node, &session.welcome).await;
        let newer = match again.register(singleton("leader", 100)).await {
            Outcome::Active(active) => active.fencing_token,
            other => panic!("{other:?} is not active"),
        };
        assert!(newer > token, "a fencing token was given out twice");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_while_serving_loses_nothing_and_alternates_the_directories() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = support::settings(&directory);
    settings.switch_dir = directory.path().join("switch");
    let node = Node::start(settings.clone()).await.unwrap();
    let mut admin = AdminClient::new(channel(&node).await);
    let mut session = Session::open(&node, 60_000).await;
    for round in 1..=4u32 {
        let registering = async {
            for port in 1..=50 {
                session.up(member("orders", round * 1_000 + port)).await;
            }
        };
        let rebuilding = async { admin.rebuild(v1::RebuildRequest {}).await.unwrap().into_inner() };
        let ((), rebuilt) = soon("a rebuild", async { tokio::join!(registering, rebuilding) }).await;
        assert_eq!(rebuilt.generation, u64::from(round));
    }
    let before = instances(&node).await;
    assert_eq!(before.len(), 200);
    node.shutdown().await.unwrap();
    let node = Node::start(settings).await.unwrap();
    assert_eq!(instances(&node).await, before);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_node_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let node = support::start(&directory).await;
    match Node::start(support::settings(&directory)).await {
        Err(NodeError::Log(error)) => assert!(error.to_string().contains("in use"), "{error}"),
        other => panic!("{other:?}"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_automatic_rebuild_comes_when_the_log_has_grown_enough() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = support::settings(&directory);
    settings.log.rebuild_min = bytesize::ByteSize::kib(8);
    let node = Node::start(settings).await.unwrap();
    let mut admin = AdminClient::new(channel(&node).await);
    let mut session = Session::open(&node, 60_000).await;
    let rebuilt = async {
        for weight in 0.. {
            let registration = v1::Registration { weight: Some(weight), ..member("orders", 1) };
            session.up(registration).await;
            let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
            if status.log.is_some_and(|log| log.generation >= 2) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), rebuilt).await.expect("two rebuilds");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_check_is_answered_while_the_suspicion_cannot_be_written_down() {
    let disk = FaultyDisk::new(3);
    // So little that no room is made in advance.
    disk.set_capacity(Some(1024 * 1024));
    let node = start_on(&disk).await;
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 1)).await;
    let session_id = session.welcome.session_id;
    disk.set_capacity(Some(disk.used_bytes()));
    drop(session);
    let request = v1::CheckRequest { service: "orders".into(), session_id };
    let answer = soon("an answer", registry(&node).await.check(request)).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), v1::check_response::Outcome::Suspect);
    disk.set_capacity(None);
    node.shutdown().await.unwrap();
}
