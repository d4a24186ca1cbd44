//! Queues on a disk that fails, fills up or loses power, and queues that are rebuilt while they are used.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;

use roster_proto::v1;
use roster_proto::v1::admin_client::AdminClient;
use roster_proto::v1::refusal::Code;
use roster_server::{Node, NodeBuilder, NodeError, Settings};
use roster_store::FaultyDisk;
use roster_store::disk::{Operation, Survival};
use support::queues::{Consumer, Producer, create, list, look, look_until, messages, publish};
use support::{channel, settings, soon};

async fn start_on(disk: &FaultyDisk) -> Node {
    let settings = Settings { listen: ([127, 0, 0, 1], 0).into(), data_dir: "/data".into(), ..Settings::default() };
    NodeBuilder::new(settings).disk(Arc::new(disk.clone())).start().await.unwrap()
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_taken_or_lost_and_what_was_said_is_logged_later() {
    let disk = FaultyDisk::new(1);
    // So little that no room is made in advance.
    disk.set_capacity(Some(1024 * 1024));
    let node = start_on(&disk).await;
    create(&node, v1::QueueSettings::default()).await;
    publish(&node, messages(0..6)).await.unwrap();
    let mut producer = Producer::open(&node, "p").await;
    let mut consumer = Consumer::open(&node, 2).await;
    let (_, ids) = consumer.take(2).await;
    let mut leaving = Consumer::open(&node, 2).await;
    leaving.take(2).await;

    disk.set_capacity(Some(disk.used_bytes()));
    let status = publish(&node, messages(0..1)).await.unwrap_err();
    assert_eq!(v1::Refusal::of_status(&status).unwrap().code(), Code::ReadOnly);
    producer.send(1, messages(6..8)).await;
    let status = producer.result().await.unwrap_err();
    assert_eq!(v1::Refusal::of_status(&status).unwrap().code(), Code::ReadOnly, "{status:?}");
    let mut admin = AdminClient::new(channel(&node).await);
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.queues_read_only.contains("no room") && status.read_only.is_empty());

    let acknowledge = v1::ConsumeRequest { acknowledge: ids.clone(), ..Default::default() };
    consumer.say(acknowledge).await;
    // E4: what cannot be logged has not happened; but it is not handed out again either.
    let (taken, more) = consumer.take(2).await;
    assert!(more.iter().all(|id| !ids.contains(id)), "{taken:?}");
    assert_eq!(look(&node).await.acknowledged_total, 0, "E4");
    drop(leaving);
    disk.set_capacity(None);
    let queue = look_until(&node, "the acknowledgements", |queue| queue.acknowledged_total == 2).await;
    assert_eq!(queue.dead, 0);

    let mut producer = Producer::open(&node, "p").await;
    assert_eq!(producer.opened.last_sequence, 0);
    producer.send(1, messages(6..8)).await;
    assert_eq!(producer.stored().await, (2, 0));
    consumer.acknowledge(&more).await;
    let (taken, last) = consumer.take(2).await;
    consumer.acknowledge(&last).await;
    let rest = consumer.take(2).await;
    let mut payloads: Vec<_> = taken.into_iter().chain(rest.0).map(|(payload, _)| payload).collect();
    payloads.sort();
    assert_eq!(payloads, ["2", "3", "6", "7"], "what the one that left held is there");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_of_the_queues_stops_the_node_and_nothing_of_its_batch_is_told() {
    let disk = FaultyDisk::new(2);
    let mut node = start_on(&disk).await;
    create(&node, v1::QueueSettings::default()).await;
    let mut consumer = Consumer::open(&node, 2).await;
    disk.fail(Operation::Sync, 1, ErrorKind::Other);
    let status = publish(&node, messages(0..1)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "N1");
    assert!(matches!(soon("the failure", node.failed()).await, NodeError::LogFailed { .. }));
    assert_eq!(
        consumer.next().await.unwrap_err().code(),
        tonic::Code::Unavailable,
        "N1: delivered what is not durable"
    );
    assert!(node.shutdown().await.is_err());
}

#[tokio::test]
async fn what_was_answered_survives_a_power_cut() {
    for seed in 0..6 {
        let disk = FaultyDisk::new(seed);
        let node = start_on(&disk).await;
        create(&node, v1::QueueSettings::default()).await;
        let mut producer = Producer::open(&node, "p").await;
        for batch in 0..10 {
            producer.send(batch * 10 + 1, messages(batch * 10..batch * 10 + 10)).await;
            assert_eq!(producer.stored().await, (10, 0));
        }
        let mut consumer = Consumer::open(&node, 30).await;
        let (_, ids) = consumer.take(30).await;
        consumer.acknowledge(&ids).await;
        disk.crash();
        drop(node);
        let node = start_on(&disk.reboot(Survival::Torn(seed))).await;
        let queue = look(&node).await;
        assert_eq!((queue.published_total, queue.acknowledged_total, queue.waiting), (100, 30, 70));
        assert_eq!(list(&node, v1::QueuePart::Waiting).await[0].message_id, 31);
        let mut producer = Producer::open(&node, "p").await;
        producer.send(91, messages(90..101)).await;
        assert_eq!(producer.stored().await, (1, 10), "stored once");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_while_publishing_and_consuming_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(&directory);
    settings.switch_dir = directory.path().join("switch");
    let node = Node::start(settings.clone()).await.unwrap();
    create(&node, v1::QueueSettings::default()).await;
    let mut producer = Producer::open(&node, "p").await;
    let mut consumer = Consumer::open(&node, 64).await;
    let mut admin = AdminClient::new(channel(&node).await);
    let publishing = async {
        for batch in 0..100 {
            producer.send(batch * 20 + 1, messages(batch * 20..batch * 20 + 20)).await;
            assert_eq!(producer.stored().await, (20, 0));
        }
    };
    let consuming = async {
        for _ in 0..50 {
            let (_, ids) = consumer.take(20).await;
            consumer.acknowledge(&ids).await;
        }
    };
    let rebuilding = async {
        for _ in 0..5 {
            admin.rebuild(v1::RebuildRequest {}).await.unwrap();
        }
    };
    soon("all three", async { tokio::join!(publishing, consuming, rebuilding) }).await;
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    let log = status.queue_log.unwrap();
    assert_eq!((log.generation, status.queues, status.queue_messages), (5, 1, 1000));
    assert_eq!((status.queue_producers, status.queue_consumers), (1, 1));
    assert!(log.directory.ends_with("data/queues") && log.switch_directory.ends_with("switch/queues"));
    let before = list(&node, v1::QueuePart::Waiting).await;
    node.shutdown().await.unwrap();

    let node = Node::start(settings).await.unwrap();
    let queue = look(&node).await;
    assert_eq!((queue.published_total, queue.acknowledged_total, queue.waiting), (2000, 1000, 1000));
    let after = list(&node, v1::QueuePart::Waiting).await;
    let what = |messages: Vec<v1::KeptMessage>| -> Vec<_> {
        messages.into_iter().map(|kept| (kept.message_id, kept.enqueued_unix_ms, kept.message)).collect()
    };
    assert_eq!(what(after), what(before));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_consumer_held_that_left_on_a_full_disk_goes_to_another_at_once() {
    let disk = FaultyDisk::new(3);
    // So little that no room is made in advance.
    disk.set_capacity(Some(1024 * 1024));
    let node = start_on(&disk).await;
    create(&node, v1::QueueSettings::default()).await;
    publish(&node, messages(0..3)).await.unwrap();
    let mut leaving = Consumer::open(&node, 3).await;
    leaving.take(3).await;
    let mut other = Consumer::open(&node, 3).await;
    disk.set_capacity(Some(disk.used_bytes()));
    drop(leaving);
    // The attempt is not counted, since that could not be noted down.
    let (taken, ids) = other.take(3).await;
    assert!(taken.iter().all(|(_, attempt)| *attempt == 1), "{taken:?}");
    disk.set_capacity(None);
    other.acknowledge(&ids).await;
    assert_eq!(look(&node).await.acknowledged_total, 3);
    node.shutdown().await.unwrap();
}
