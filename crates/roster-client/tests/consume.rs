//! Consumers against a node: what becomes of work when connections, nodes and handlers come and go.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use roster_client::queue::{
    Contents, Delivery, Link, Message, MessagesQuery, QueueName, QueueStatus, Raw, Retry, Settings,
};
use roster_client::testing::FakeNode;
use roster_client::{Client, Error, RefusalCode};
use tokio::sync::Semaphore;

/// Of the stopped clock: it costs nothing, and nothing that goes well takes that long.
const DEADLINE: Duration = Duration::from_secs(600);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn eventually(mut happened: impl AsyncFnMut() -> bool) {
    within(async {
        let mut pause = Duration::from_millis(10);
        while !happened().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    })
    .await;
}

fn orders() -> QueueName {
    QueueName::parse("orders").unwrap()
}

/// A client of a node whose queue has these messages.
async fn stocked(node: &FakeNode, messages: impl IntoIterator<Item = u64>) -> Client {
    stocked_with(node, Settings::default(), messages).await
}

async fn stocked_with(node: &FakeNode, settings: Settings, messages: impl IntoIterator<Item = u64>) -> Client {
    let client = node.client_builder().name("test").build().unwrap();
    client.queues().create(&orders(), settings).await.unwrap();
    let messages: Vec<_> = messages.into_iter().map(|n| Message::plain(Bytes::from(n.to_string()))).collect();
    client.queues().publish(&orders(), &messages).await.unwrap();
    client
}

/// Asked again when the connection is cut under the call.
async fn status(client: &Client) -> QueueStatus {
    within(async {
        loop {
            if let Ok(status) = client.queues().get(&orders()).await {
                return status;
            }
        }
    })
    .await
}

fn is_empty(status: &QueueStatus) -> bool {
    (status.waiting, status.in_flight, status.failed) == (0, 0, 0)
}

/// What handlers have seen.
#[derive(Default, Clone)]
struct Seen(Arc<Mutex<Vec<(u64, u32)>>>);

impl Seen {
    fn note(&self, order: &Delivery<u64>) {
        self.0.lock().unwrap().push((order.value, order.attempt));
    }

    fn all(&self) -> Vec<(u64, u32)> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_is_done_once() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, 0..1000).await;
    let seen = Seen::default();
    let consumer = client.consumer::<u64>(orders()).start({
        let seen = seen.clone();
        move |order: Delivery<u64>| {
            seen.note(&order);
            async { Ok::<_, String>(()) }
        }
    });
    eventually(async || is_empty(&status(&client).await)).await;
    let mut done = seen.all();
    done.sort_unstable();
    assert_eq!(done, (0..1000).map(|n| (n, 1)).collect::<Vec<_>>());
    let counts = consumer.counts();
    assert_eq!((counts.delivered, counts.acknowledged, counts.nacked, counts.duplicates), (1000, 1000, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn handlers_run_side_by_side_and_no_more_than_allowed() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, 0..100).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let _consumer = client.consumer::<u64>(orders()).concurrency(16).unwrap().start({
        let most = most.clone();
        move |_| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, String>(())
            }
        }
    });
    eventually(async || is_empty(&status(&client).await)).await;
    assert_eq!(most.load(Ordering::SeqCst), 16);
}

#[tokio::test(start_paused = true)]
async fn failures_panics_and_what_does_not_parse_come_again_and_end_as_dead_letters() {
    let node = FakeNode::in_memory();
    let settings = Settings { attempts_max: 3, ..Settings::default() };
    let client = stocked_with(&node, settings, [1, 2]).await;
    client.queues().publish(&orders(), &[Message::plain(Bytes::from_static(b"three"))]).await.unwrap();
    let consumer = client.consumer::<u64>(orders()).start(|order: Delivery<u64>| async move {
        match order.value {
            1 => Err("out of stock"),
            n => panic!("no {n}"),
        }
    });
    eventually(async || status(&client).await.dead == 3).await;
    let query = MessagesQuery { part: Contents::Dead, ..Default::default() };
    let dead = client.queues().messages(&orders(), query).await.unwrap().messages;
    let reasons: Vec<_> = dead.iter().map(|dead| (dead.attempts, dead.reason.as_deref().unwrap())).collect();
    assert_eq!(reasons[..2], [(3, "out of stock"), (3, "panic: no 2")]);
    assert!(reasons[2].1.starts_with("the payload does not parse: expected"), "{reasons:?}");
    assert_eq!((consumer.counts().nacked, consumer.counts().redelivered), (9, 6));
}

#[tokio::test(start_paused = true)]
async fn a_failure_may_choose_when_it_comes_again() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, [1]).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let _consumer = client.consumer::<u64>(orders()).start({
        let times = times.clone();
        move |order: Delivery<u64>| {
            times.lock().unwrap().push(tokio::time::Instant::now());
            async move {
                match order.attempt {
                    1 => Err(Box::<dyn std::error::Error + Send + Sync>::from(Retry::after(DEADLINE / 2, "later"))),
                    _ => Ok(()),
                }
            }
        }
    });
    eventually(async || is_empty(&status(&client).await)).await;
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= DEADLINE / 2, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_keeps_its_message() {
    let node = FakeNode::in_memory();
    let settings = Settings { ack_timeout_millis: 1000, ..Settings::default() };
    let client = stocked_with(&node, settings, [1]).await;
    let seen = Seen::default();
    let _consumer = client.consumer::<u64>(orders()).start({
        let seen = seen.clone();
        move |order: Delivery<u64>| {
            seen.note(&order);
            async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<_, String>(())
            }
        }
    });
    eventually(async || is_empty(&status(&client).await)).await;
    assert_eq!(seen.all(), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_through_a_loss_is_not_started_twice_and_its_word_counts() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, 0..10).await;
    let (seen, gate) = (Seen::default(), Arc::new(Semaphore::new(0)));
    let consumer = client.consumer::<u64>(orders()).start({
        let (seen, gate) = (seen.clone(), gate.clone());
        move |order: Delivery<u64>| {
            seen.note(&order);
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, String>(())
            }
        }
    });
    eventually(async || seen.all().len() == 10).await;
    node.kill_connections();
    eventually(async || consumer.counts().duplicates == 10).await;
    node.stop();
    gate.add_permits(10);
    node.resume();
    eventually(async || is_empty(&status(&client).await)).await;
    assert_eq!(seen.all().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_undone_when_connections_break_all_the_time() {
    let node = FakeNode::in_memory();
    let settings = Settings { attempts_max: 1000, ..Settings::default() };
    let client = stocked_with(&node, settings, 0..2000).await;
    let seen = Seen::default();
    let _consumer = client.consumer::<u64>(orders()).concurrency(32).unwrap().start({
        let seen = seen.clone();
        move |order: Delivery<u64>| {
            seen.note(&order);
            async {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..50))).await;
                Ok::<_, String>(())
            }
        }
    });
    while !is_empty(&status(&client).await) {
        node.kill_connections();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
    }
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    seen.all().into_iter().for_each(|(n, _)| *times.entry(n).or_default() += 1);
    assert_eq!(times.len(), 2000);
    assert!(times.values().all(|times| *times == 1), "with one consumer even that holds");
}

#[tokio::test(start_paused = true)]
async fn closing_lets_handlers_finish_and_waits_for_the_node() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, 0..100).await;
    let seen = Seen::default();
    let consumer = client.consumer::<u64>(orders()).concurrency(4).unwrap().start({
        let seen = seen.clone();
        move |order: Delivery<u64>| {
            seen.note(&order);
            async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Ok::<_, String>(())
            }
        }
    });
    eventually(async || seen.all().len() == 4).await;
    within(consumer.close(Duration::from_secs(60))).await.unwrap();
    let status = status(&client).await;
    assert_eq!((status.totals.acknowledged, status.in_flight, status.consumers), (4, 0, 0));
    assert_eq!(seen.all().len(), 4, "nothing more was begun");
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_longer_than_it_may() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, [1]).await;
    let consumer = client.consumer::<u64>(orders()).start(|_| std::future::pending::<Result<(), String>>());
    eventually(async || consumer.counts().delivered == 1).await;
    let error = within(consumer.close(Duration::from_secs(5))).await.unwrap_err();
    assert!(error.to_string().ends_with("it has left with 1 messages still being done"), "{error}");
    eventually(async || status(&client).await.failed == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_consumer_held_goes_to_others_at_once() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, [1]).await;
    let stuck = client.consumer::<u64>(orders()).start(|_| std::future::pending::<Result<(), String>>());
    eventually(async || stuck.counts().delivered == 1).await;
    drop(stuck);
    let before = tokio::time::Instant::now();
    let mut other = client.consumer::<u64>(orders()).pull();
    let claim = within(other.next()).await.unwrap();
    assert_eq!((claim.value, claim.attempt), (1, 2));
    assert!(before.elapsed() < Duration::from_millis(20), "without the back-off of a failure");
    claim.ack();
}

#[tokio::test(start_paused = true)]
async fn who_pulls_owes_a_verdict() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, [1, 2, 3]).await;
    let mut puller = client.consumer::<Message>(orders()).format::<Raw>().concurrency(3).unwrap().pull();
    within(puller.next()).await.unwrap().ack();
    within(puller.next()).await.unwrap().nack_after(DEADLINE * 2, "not today");
    drop(within(puller.next()).await.unwrap());
    let again = within(puller.next()).await.unwrap();
    assert_eq!((&again.value.payload()[..], again.attempt), (&b"3"[..], 2));
    let query = MessagesQuery { part: Contents::Failed, ..Default::default() };
    let failed = client.queues().messages(&orders(), query).await.unwrap().messages;
    let reasons: Vec<_> = failed.iter().map(|failed| failed.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["not today", "dropped without a verdict"]);
    again.ack();
    within(puller.close(DEADLINE)).await.unwrap();
    assert_eq!(status(&client).await.totals.acknowledged, 2);
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_was_given_up_takes_nothing() {
    let node = FakeNode::in_memory();
    let client = stocked(&node, []).await;
    let mut puller = client.consumer::<u64>(orders()).pull();
    for n in 0..10 {
        let patience = Duration::from_secs(1);
        assert!(tokio::time::timeout(patience, puller.next()).await.is_err());
        client.queues().publish(&orders(), &[Message::plain(Bytes::from(n.to_string()))]).await.unwrap();
        let claim = within(puller.next()).await.unwrap();
        assert_eq!((claim.value, claim.attempt), (n, 1));
        claim.ack();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_queue_ends_the_consumer_with_the_reason() {
    let node = FakeNode::in_memory();
    let client = node.client_builder().build().unwrap();
    let mut puller = client.consumer::<u64>(orders()).pull();
    let error = within(puller.next()).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { refusal, .. } if refusal.code() == RefusalCode::UnknownQueue), "{error}");
    let consumer =
        client.consumer::<u64>(orders()).create(Settings::default()).start(|_| async { Ok::<_, String>(()) });
    within(consumer.link().wait_for(Link::is_connected)).await.unwrap();
    client.queues().delete(&orders()).await.unwrap();
    eventually(async || client.queues().get(&orders()).await.is_ok_and(|status| status.consumers == 1)).await;
}
