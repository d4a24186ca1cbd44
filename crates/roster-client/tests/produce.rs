//! Producers against a node: what becomes of messages when connections, nodes and queues come and go.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::time::Duration;

use bytes::Bytes;
use roster_client::queue::{
    Content, Contents, DeadLetters, Fate, KeptMessage, Link, Message, MessagesQuery, Producer, ProducerId, QueueName,
    Raw, Settings, SettingsChange,
};
use roster_client::testing::FakeNode;
use roster_client::{Advice, Client, Error, Refusal, RefusalCode};
use serde::Serialize;

/// Of the stopped clock: it costs nothing, and nothing that goes well takes that long.
const DEADLINE: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().build().unwrap()
}

fn orders() -> QueueName {
    QueueName::parse("orders").unwrap()
}

#[derive(Serialize)]
struct Order {
    number: u64,
}

fn producer(client: &Client) -> Producer<Order> {
    client.producer::<Order>(orders()).create(Settings::default()).start()
}

async fn kept(client: &Client) -> Vec<KeptMessage> {
    let query = MessagesQuery { limit: 1000, content: Content::With, ..Default::default() };
    client.queues().messages(&orders(), query).await.unwrap().messages
}

async fn numbers(client: &Client) -> Vec<u64> {
    let number = |kept: KeptMessage| {
        let value: serde_json::Value = serde_json::from_slice(kept.message.unwrap().payload()).unwrap();
        value["number"].as_u64().unwrap()
    };
    kept(client).await.into_iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_stored_as_json_and_its_receipt_names_it() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = producer(&client);
    let receipts = [
        within(producer.publish(&Order { number: 7 })).await.unwrap(),
        within(producer.publish(&Order { number: 8 })).await.unwrap(),
    ];
    let kept = kept(&client).await;
    let ids: Vec<_> = kept.iter().map(|kept| Some(kept.id)).collect();
    assert_eq!(receipts.map(|receipt| receipt.message_id).to_vec(), ids);
    assert_eq!(receipts.map(|receipt| receipt.sequence), [1, 2]);
    let message = kept[0].message.as_ref().unwrap();
    assert_eq!((message.content_type(), &message.payload()[..]), ("application/json", &b"{\"number\":7}"[..]));
}

#[tokio::test(start_paused = true)]
async fn messages_in_numbers_share_batches_and_keep_their_order() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = producer(&client);
    let mut pending = Vec::new();
    for number in 0..1000 {
        pending.push(within(producer.publish_soon(&Order { number })).await.unwrap());
    }
    for pending in pending {
        within(pending).await.unwrap();
    }
    assert_eq!(numbers(&client).await, (0..1000).collect::<Vec<_>>());
    assert!(node.batches_published() < 50, "{} batches", node.batches_published());
    assert_eq!(producer.unanswered(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_when_connections_break() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = producer(&client);
    for round in 0..20 {
        for number in 0..50 {
            drop(within(producer.publish_soon(&Order { number: round * 50 + number })).await.unwrap());
        }
        tokio::task::yield_now().await;
        if round % 3 == 0 { node.restart() } else { node.kill_connections() }
    }
    within(producer.flush()).await;
    assert_eq!(numbers(&client).await, (0..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn publishing_waits_for_a_node_that_is_away() {
    let node = FakeNode::in_memory();
    node.stop();
    let client = client(&node);
    let producer = producer(&client);
    let pending = within(producer.publish_soon(&Order { number: 1 })).await.unwrap();
    let mut link = producer.link();
    within(link.wait_for(|link| matches!(link, Link::Away { .. }))).await.unwrap();
    assert!(!producer.is_connected());
    node.resume();
    assert!(within(pending).await.is_ok());
    assert!(producer.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_makes_publishers_wait_and_no_longer_than_needed() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = client.producer::<Bytes>(orders()).format::<Raw>().create(Settings::default()).buffer(2, 1 << 20);
    let producer = producer.start();
    node.pause();
    let message = Bytes::from_static(b"x");
    let waiting = [producer.publish_soon(&message).await.unwrap(), producer.publish_soon(&message).await.unwrap()];
    let third = tokio::time::timeout(Duration::from_secs(1), producer.publish_soon(&message)).await;
    assert!(third.is_err(), "there is room for two");
    node.resume();
    within(producer.publish_soon(&message)).await.unwrap().await.unwrap();
    for pending in waiting {
        within(pending).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_slows_publishers_and_refuses_none() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let settings = Settings { waiting_max: 1, ..Settings::default() };
    let producer = client.producer::<Order>(orders()).create(settings).start();
    within(producer.publish(&Order { number: 1 })).await.unwrap();
    let second = producer.publish_soon(&Order { number: 2 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(producer.unanswered(), 1);
    assert_eq!(client.queues().purge(&orders(), Contents::All).await.unwrap(), 1);
    within(second).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_the_message_that_is_too_large_fails() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let settings = Settings { message_bytes_max: 1000, ..Settings::default() };
    let producer = client.producer::<Bytes>(orders()).format::<Raw>().create(settings).start();
    within(producer.publish(&Bytes::from_static(b"connected"))).await.unwrap();
    let change = SettingsChange { message_bytes_max: Some(3), ..Default::default() };
    client.queues().update(&orders(), change).await.unwrap();
    let mut pending = Vec::new();
    for bytes in [1, 2, 4, 3, 1001, 1] {
        pending.push(producer.publish_soon(&Bytes::from(vec![b'x'; bytes])).await.unwrap());
    }
    let mut fates = Vec::new();
    for pending in pending {
        fates.push(within(pending).await.map(|receipt| receipt.sequence).map_err(|lost| {
            assert!(
                matches!(&lost.error, Error::Refused { refusal, .. } if refusal.code() == RefusalCode::MessageTooLarge)
            );
            (lost.fate, lost.message.payload().len())
        }));
    }
    let too_large = |bytes| Err((Fate::NotStored, bytes));
    assert_eq!(fates, [Ok(2), Ok(3), too_large(4), Ok(4), too_large(1001), Ok(5)]);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = producer(&client);
    for code in [RefusalCode::ReadOnly, RefusalCode::Unavailable] {
        node.refuse_next_publish(Refusal { code: code.into(), ..Default::default() });
    }
    within(producer.publish(&Order { number: 1 })).await.unwrap();
    assert_eq!(node.batches_published(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_queue_is_an_error_unless_it_shall_be_created() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = client.producer::<Order>(orders()).start();
    let error = within(producer.publish(&Order { number: 1 })).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { refusal, .. } if refusal.code() == RefusalCode::UnknownQueue), "{error}");
    assert_eq!(error.advice(), Advice::FixRequest);
    within(producer.publish(&Order { number: 1 })).await.unwrap_err();

    let producer = self::producer(&client);
    within(producer.publish(&Order { number: 1 })).await.unwrap();
    client.queues().delete(&orders()).await.unwrap();
    within(producer.publish(&Order { number: 2 })).await.unwrap();
    assert_eq!(numbers(&client).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn other_settings_than_those_of_the_queue_are_named() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    assert!(client.queues().create(&orders(), Settings::default()).await.unwrap().created);
    assert!(!client.queues().create(&orders(), Settings::default()).await.unwrap().created);
    let settings = Settings { attempts_max: 3, ..Settings::default() };
    let producer = client.producer::<Order>(orders()).create(settings).start();
    let error = within(producer.publish(&Order { number: 1 })).await.unwrap_err().to_string();
    assert!(error.contains("attempts-max is 16 and not 3"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_whether_the_message_may_be_stored() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    client.queues().create(&orders(), Settings::default()).await.unwrap();
    node.stop();
    let producer = client.producer::<Order>(orders()).timeout(Duration::from_secs(2)).start();
    let lost = within(producer.publish_soon(&Order { number: 1 }).await.unwrap()).await.unwrap_err();
    assert!(matches!(lost.error, Error::TimedOut { .. }), "{lost:?}");
    assert_eq!((lost.fate, lost.to_string()), (Fate::NotStored, "the message is not stored".to_owned()));
    assert_eq!(producer.unanswered(), 0);
    node.resume();
    // The pause before the next connection may be longer than one timeout.
    within(async { while producer.publish(&Order { number: 2 }).await.is_err() {} }).await;
    node.pause();
    let lost = within(producer.publish_soon(&Order { number: 3 }).await.unwrap()).await.unwrap_err();
    assert_eq!((lost.fate, lost.to_string()), (Fate::Unknown, "the message is not known to be stored".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_named_producer_goes_on_after_a_restart_of_its_process() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let start = || client.producer::<Order>(orders()).create(Settings::default()).id("import").unwrap().start();
    let first = start();
    assert_eq!(within(first.last_sequence()).await.unwrap(), 0);
    within(first.publish(&Order { number: 1 })).await.unwrap();
    within(first.close(DEADLINE)).await.unwrap();
    let second = start();
    assert_eq!(within(second.last_sequence()).await.unwrap(), 1);
    assert_eq!(within(second.publish(&Order { number: 2 })).await.unwrap().sequence, 2);
    assert_eq!(numbers(&client).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn abandoning_hands_back_each_message_once() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = producer(&client);
    within(producer.publish(&Order { number: 1 })).await.unwrap();
    node.pause();
    let watched = producer.publish_soon(&Order { number: 2 }).await.unwrap();
    for number in [3, 4] {
        drop(producer.publish_soon(&Order { number }).await.unwrap());
    }
    let orphans = producer.abandon();
    let payloads: Vec<_> = orphans.iter().map(Message::payload).collect();
    assert_eq!(payloads, [&b"{\"number\":3}"[..], &b"{\"number\":4}"[..]]);
    let lost = within(watched).await.unwrap_err();
    assert_eq!(&lost.message.payload()[..], b"{\"number\":2}");
    assert!(matches!(lost.error, Error::Closed { .. }));
    assert!(producer.abandon().is_empty());
    let error = producer.publish(&Order { number: 5 }).await.unwrap_err();
    assert_eq!(error.to_string(), "the producer of orders has ended: abandoned");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_in_is_sent_after_the_producer_is_dropped() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let producer = producer(&client);
    let pending = producer.publish_soon(&Order { number: 1 }).await.unwrap();
    drop(producer);
    within(pending).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_tells_when_not_everything_was_stored() {
    let node = FakeNode::in_memory();
    node.stop();
    let producer = producer(&client(&node));
    drop(producer.publish_soon(&Order { number: 1 }).await.unwrap());
    let error = within(producer.close(Duration::from_secs(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "the producer of orders has ended: not everything was answered in time");
}

#[tokio::test(start_paused = true)]
async fn queues_are_kept_by_hand() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let queues = client.queues();
    let names: Vec<_> = (0..25).map(|n| QueueName::parse(&format!("team/q{n:04}")).unwrap()).collect();
    for name in &names {
        queues.create(name, Settings::default()).await.unwrap();
    }
    let listed = queues.list("team/").await.unwrap();
    assert_eq!(listed.into_iter().map(|status| status.queue).collect::<Vec<_>>(), names);

    let messages = [Message::plain(Bytes::from_static(b"a")), Message::plain(Bytes::from_static(b"b"))];
    let stored = queues.publish(&names[0], &messages).await.unwrap();
    assert_eq!((stored.stored, stored.duplicates, stored.first.map(|id| id.get())), (2, 0, Some(1)));
    let id = ProducerId::parse("by hand").unwrap();
    queues.publish_as(&names[0], &id, 1, &messages).await.unwrap();
    let again = queues.publish_as(&names[0], &id, 1, &messages).await.unwrap();
    assert_eq!((again.stored, again.duplicates, again.first), (0, 2, None));
    let status = queues.get(&names[0]).await.unwrap();
    assert_eq!((status.waiting, status.bytes, status.totals.published), (4, 4, 4));
    let page = queues.messages(&names[0], MessagesQuery { limit: 3, ..Default::default() }).await.unwrap();
    assert_eq!((page.messages.len(), page.more), (3, true));
    let moved = queues.requeue(&names[0], DeadLetters::These(vec![page.messages[0].id])).await.unwrap();
    assert_eq!((moved.messages, moved.unknown), (0, 1));
    assert_eq!(queues.drop_dead(&names[0], DeadLetters::All).await.unwrap().messages, 0);
    assert_eq!(queues.delete(&names[0]).await.unwrap(), 4);
    assert!(queues.get(&names[0]).await.is_err());
}
