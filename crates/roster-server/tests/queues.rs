//! Queues as a client sees them: what is published is handed out until it is acknowledged.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::publish_result::Outcome;
use roster_proto::v1::refusal::Code;
use support::queues::{Consumer, JOBS, Producer, create, list, look, look_until, message, messages, publish, queues};
use support::start;
use tempfile::tempdir;

fn retry_at_once(attempts_max: u32) -> v1::QueueSettings {
    v1::QueueSettings {
        attempts_max: Some(attempts_max),
        back_off_first_ms: Some(0),
        back_off_last_ms: Some(0),
        ..Default::default()
    }
}

fn text(numbers: impl IntoIterator<Item = u64>, attempt: u32) -> Vec<(String, u32)> {
    numbers.into_iter().map(|number| (number.to_string(), attempt)).collect()
}

#[tokio::test]
async fn what_was_not_acknowledged_is_there_after_a_restart() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings::default()).await;
    let published = publish(&node, messages(0..10)).await.unwrap();
    assert_eq!((published.first_message_id, published.stored), (1, 10));
    let mut consumer = Consumer::open(&node, 256).await;
    assert_eq!((consumer.opened.consumer_id, consumer.opened.ack_timeout_ms), (1, 30_000));
    let (taken, ids) = consumer.take(10).await;
    assert_eq!(taken, text(0..10, 1));
    consumer.acknowledge(&ids[..4]).await;
    let queue = look(&node).await;
    assert_eq!((queue.waiting, queue.in_flight, queue.acknowledged_total, queue.consumers), (0, 6, 4, 1));
    assert!(queue.oldest_unix_ms > 0 && queue.publish_rate > 0.0);
    node.shutdown().await.unwrap();
    assert_eq!(consumer.next().await.unwrap_err().code(), tonic::Code::Unavailable);

    let node = start(&directory).await;
    let mut consumer = Consumer::open(&node, 256).await;
    // A node that ends ends no attempt: nobody can say who worked on what.
    assert_eq!(consumer.take(6).await.0, text(4..10, 1));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_cut_stream_held_goes_to_another_at_once() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings::default()).await;
    publish(&node, messages(0..5)).await.unwrap();
    let mut first = Consumer::open(&node, 256).await;
    assert_eq!(first.take(5).await.0.len(), 5);
    let mut second = Consumer::open(&node, 256).await;
    drop(first);
    assert_eq!(second.take(5).await.0, text(0..5, 2));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_fails_too_often_is_a_dead_letter_with_its_reason() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, retry_at_once(3)).await;
    let described = v1::QueueMessage {
        content_type: "text/plain".into(),
        headers: vec![v1::MetadataEntry { key: "trace".into(), value: "7".into() }],
        ..message("poison")
    };
    publish(&node, vec![described.clone()]).await.unwrap();
    let mut consumer = Consumer::open(&node, 1).await;
    for attempt in 1..=3 {
        let delivery = consumer.next().await.unwrap();
        assert_eq!((delivery.attempt, delivery.message.as_ref()), (attempt, Some(&described)));
        consumer.nack(delivery.message_id, "it has no subject", None).await;
    }
    let queue = look_until(&node, "a dead letter", |queue| queue.dead == 1).await;
    assert_eq!((queue.waiting, queue.failed, queue.failed_total, queue.dead_total), (0, 0, 3, 1));
    let dead = list(&node, v1::QueuePart::Dead).await;
    assert_eq!((dead[0].attempts, dead[0].reason.as_str()), (3, "it has no subject"));
    assert_eq!(dead[0].message.as_ref(), Some(&described));

    let all = v1::DeadRequest { queue: JOBS.into(), all: true, ..Default::default() };
    let moved = queues(&node).await.requeue_dead(all.clone()).await.unwrap().into_inner();
    assert_eq!((moved.messages, moved.unknown), (1, 0));
    let delivery = consumer.next().await.unwrap();
    assert_eq!(delivery.attempt, 1, "as if it had never failed");
    for attempt in 1..=3 {
        let id = if attempt == 1 { delivery.message_id } else { consumer.next().await.unwrap().message_id };
        consumer.nack(id, "still none", Some(0)).await;
    }
    look_until(&node, "a dead letter", |queue| queue.dead == 1).await;
    let moved = queues(&node).await.drop_dead(all).await.unwrap().into_inner();
    assert_eq!(moved.messages, 1);
    assert_eq!(look(&node).await.dead, 0);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn messages_are_published_and_handed_out_while_all_dead_letters_are_requeued() {
    const DEAD: u64 = 60_000;
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { in_flight_max: Some(DEAD as u32), ..retry_at_once(1) }).await;
    publish(&node, messages(0..DEAD)).await.unwrap();
    drop(Consumer::open(&node, DEAD as u32).await);
    look_until(&node, "dead letters", |queue| queue.dead == DEAD).await;

    let all = v1::DeadRequest { queue: JOBS.into(), all: true, ..Default::default() };
    let mut operator = queues(&node).await;
    let requeued = tokio::spawn(async move { operator.requeue_dead(all).await.unwrap().into_inner() });
    // Of those that are requeued and not dead again a consumer gets one, and a message more is published.
    look_until(&node, "a part of them", |queue| queue.dead < DEAD).await;
    let mut consumer = Consumer::open(&node, 1).await;
    assert_eq!(consumer.next().await.unwrap().attempt, 1);
    publish(&node, messages(0..1)).await.unwrap();
    assert!(look(&node).await.dead > 0, "it was answered before all were requeued");
    let moved = requeued.await.unwrap();
    assert_eq!((moved.messages, moved.unknown), (DEAD, 0));
    let queue = look(&node).await;
    assert_eq!((queue.dead, queue.failed + queue.in_flight, queue.waiting), (0, DEAD, 1));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_failed_message_waits_as_long_as_its_consumer_says() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings::default()).await;
    publish(&node, messages(0..2)).await.unwrap();
    let mut consumer = Consumer::open(&node, 1).await;
    let id = consumer.next().await.unwrap().message_id;
    let began = std::time::Instant::now();
    consumer.nack(id, "later", Some(600)).await;
    let (taken, ids) = consumer.take(1).await;
    assert_eq!(taken, text([1], 1), "others do not wait for it");
    consumer.acknowledge(&ids).await;
    assert_eq!(look(&node).await.failed, 1);
    assert_eq!(consumer.take(1).await.0, text([0], 2));
    assert!(began.elapsed().as_millis() >= 590, "after {:?}", began.elapsed());
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_deadline_passes_unless_it_is_extended() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { ack_timeout_ms: Some(300), ..retry_at_once(9) }).await;
    publish(&node, messages(0..2)).await.unwrap();
    let mut slow = Consumer::open(&node, 2).await;
    let (_, ids) = slow.take(2).await;
    let extend = vec![v1::Extend { message_id: ids[0], extra_ms: 60_000 }];
    slow.say(v1::ConsumeRequest { extend, window: Some(0), ..Default::default() }).await;
    let mut other = Consumer::open(&node, 2).await;
    assert_eq!(other.take(1).await.0, text([1], 2));
    let queue = look(&node).await;
    assert_eq!((queue.in_flight, queue.failed_total), (2, 1), "the extended one is where it was");
    let failed = list(&node, v1::QueuePart::Failed).await;
    assert_eq!((failed[0].message_id, failed[0].reason.as_str()), (ids[1], "not acknowledged in time"));
    assert!(failed[0].in_flight);
    // What came too late counts all the same.
    slow.acknowledge(&[ids[1]]).await;
    assert_eq!(look(&node).await.acknowledged_total, 1);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once_also_across_a_restart() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings::default()).await;
    let mut producer = Producer::open(&node, "billing-1").await;
    assert_eq!(producer.opened.last_sequence, 0);
    producer.send(1, messages(1..6)).await;
    producer.send(4, messages(4..9)).await;
    assert_eq!((producer.stored().await, producer.stored().await), ((5, 0), (3, 2)));
    node.shutdown().await.unwrap();

    let node = start(&directory).await;
    let mut producer = Producer::open(&node, "billing-1").await;
    assert_eq!(producer.opened.last_sequence, 8);
    producer.send(4, messages(4..9)).await;
    producer.send(9, messages(9..10)).await;
    assert_eq!((producer.stored().await, producer.stored().await), ((0, 5), (1, 0)));
    let request = v1::PublishRequest {
        queue: JOBS.into(),
        messages: messages(9..11),
        producer: "billing-1".into(),
        first_sequence: 9,
    };
    let published = queues(&node).await.publish(request).await.unwrap().into_inner().published.unwrap();
    assert_eq!((published.stored, published.duplicates), (1, 1));
    let mut consumer = Consumer::open(&node, 256).await;
    assert_eq!(consumer.take(10).await.0, text(1..11, 1));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_gap_is_refused_and_so_is_what_is_too_large_and_the_stream_goes_on() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { message_bytes_max: Some(10), ..Default::default() }).await;
    let mut producer = Producer::open(&node, "p").await;
    assert_eq!(producer.opened.message_bytes_max, 10);
    producer.send(1, messages(1..3)).await;
    producer.send(7, messages(1..3)).await;
    producer.send(3, vec![message("01234567890")]).await;
    producer.send(4, messages(1..2)).await;
    producer.send(3, messages(3..4)).await;
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match producer.result().await.unwrap() {
            (first, Outcome::Published(published)) => (first, published.stored, None),
            (first, Outcome::Refusal(refusal)) => (first, refusal.expected_sequence, Some(refusal.code())),
        });
    }
    let gap = Some(Code::SequenceGap);
    let expected = [(1, 2, None), (7, 3, gap), (3, 0, Some(Code::MessageTooLarge)), (4, 3, gap), (3, 1, None)];
    assert_eq!(told, expected);
    drop(producer.requests);
    assert!(producer.responses.message().await.unwrap().is_none(), "a stream that has said all ends well");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_a_call_and_lets_a_stream_wait() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { waiting_max: Some(10), ..Default::default() }).await;
    let mut producer = Producer::open(&node, "p").await;
    for batch in 0..6 {
        producer.send(batch * 4 + 1, messages(batch * 4..batch * 4 + 4)).await;
    }
    assert_eq!((producer.stored().await, producer.stored().await), ((4, 0), (4, 0)));
    let refused = publish(&node, messages(0..3)).await.unwrap_err();
    let refusal = v1::Refusal::of_status(&refused).unwrap();
    assert_eq!((refusal.code(), refusal.limit_max), (Code::QueueFull, 10));
    assert!(refusal.message.contains("jobs is full"), "{}", refusal.message);
    let commands = commands_of(&node).await;
    let mut consumer = Consumer::open(&node, 3).await;
    let mut taken = Vec::new();
    while taken.len() < 24 {
        let (some, ids) = consumer.take(1).await;
        taken.extend(some);
        consumer.acknowledge(&ids).await;
    }
    assert_eq!(taken, text(0..24, 1), "each once and in order");
    for _ in 2..6 {
        assert_eq!(producer.stored().await, (4, 0));
    }
    assert_eq!(commands_of(&node).await - commands, 4 + 24, "nothing is logged only to be refused");
    node.shutdown().await.unwrap();
}

async fn commands_of(node: &roster_server::Node) -> u64 {
    let mut admin = v1::admin_client::AdminClient::new(support::channel(node).await);
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    status.queue_log.unwrap().commands
}

#[tokio::test]
async fn a_purge_takes_what_it_names() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, retry_at_once(1)).await;
    publish(&node, messages(0..5)).await.unwrap();
    let mut consumer = Consumer::open(&node, 1).await;
    let id = consumer.next().await.unwrap().message_id;
    consumer.say(v1::ConsumeRequest { window: Some(0), ..Default::default() }).await;
    consumer.nack(id, "no", None).await;
    look_until(&node, "a dead letter", |queue| queue.dead == 1).await;
    let purge = |part: v1::QueuePart| v1::PurgeQueueRequest { queue: JOBS.into(), part: part.into() };
    let mut client = queues(&node).await;
    let refused = client.purge_queue(purge(v1::QueuePart::Unspecified)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(client.purge_queue(purge(v1::QueuePart::Waiting)).await.unwrap().into_inner().messages, 4);
    let queue = look(&node).await;
    assert_eq!((queue.waiting, queue.dead), (0, 1));
    assert_eq!(client.purge_queue(purge(v1::QueuePart::All)).await.unwrap().into_inner().messages, 1);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_queue_of_messages_that_no_request_can_hold_is_refused() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let settings = v1::QueueSettings { message_bytes_max: Some(16 * 1024 * 1024), ..Default::default() };
    let request = v1::CreateQueueRequest { queue: "jobs".into(), settings: Some(settings), ..Default::default() };
    let refused = queues(&node).await.create_queue(request).await.unwrap_err();
    assert!(refused.message().contains("limits.message-bytes"), "{}", refused.message());
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_never_fits_is_refused_for_good() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { waiting_max: Some(3), ..Default::default() }).await;
    let mut producer = Producer::open(&node, "p").await;
    producer.send(1, messages(0..4)).await;
    producer.send(1, messages(0..3)).await;
    let (_, Outcome::Refusal(refusal)) = producer.result().await.unwrap() else { panic!("it is refused") };
    assert_eq!(refusal.code(), Code::InvalidArgument, "{}", refusal.message);
    assert!(refusal.message.contains("may ever keep"), "{}", refusal.message);
    assert_eq!(producer.stored().await, (3, 0));
    let call = publish(&node, messages(0..4)).await.unwrap_err();
    assert!(call.message().contains("may ever keep"), "{call:?}");
    node.shutdown().await.unwrap();
}
