//! Queues and the SDK together, over sockets and inside one process.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

mod ways;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use roster_client::Client;
use roster_client::queue::{
    Consumer, Contents, DeadLetters, Delivery, KeptMessage, Message, MessagesQuery, PullConsumer, QueueName, Settings,
};
use tokio::sync::Semaphore;
use ways::{Ground, PATIENCE, Process, Way, each_way, queue, soon, status, until};

each_way!(
    what_is_published_is_consumed_once,
    closing_returns_when_the_node_has_everything,
    what_nobody_began_counts_as_no_attempt_when_its_consumer_closes,
    a_queue_that_keeps_little_takes_what_comes_in_parts,
    what_keeps_failing_becomes_a_dead_letter_with_its_reason,
    what_does_not_parse_becomes_a_dead_letter_with_its_reason,
    what_was_not_acknowledged_survives_a_restart,
    what_a_killed_consumer_held_goes_to_another_at_once,
    a_producer_goes_on_over_restarts_without_loss_or_double,
    a_consumer_goes_on_over_a_restart_with_its_handlers,
    a_slow_handler_keeps_its_message,
);

fn orders() -> QueueName {
    queue("orders")
}

async fn stock(client: &Client, settings: Settings, numbers: impl IntoIterator<Item = u64>) {
    soon("the queue", client.queues().create(&orders(), settings)).await.unwrap();
    publish(client, numbers).await;
}

async fn publish(client: &Client, numbers: impl IntoIterator<Item = u64>) {
    let messages: Vec<_> = numbers.into_iter().map(|n| Message::plain(Bytes::from(n.to_string()))).collect();
    soon("to be stored", client.queues().publish(&orders(), &messages)).await.unwrap();
}

fn pull(client: &Client) -> PullConsumer<u64> {
    client.consumer::<u64>(orders()).pull()
}

async fn dead(client: &Client) -> Vec<KeptMessage> {
    let query = MessagesQuery { part: Contents::Dead, ..Default::default() };
    soon("dead letters", client.queues().messages(&orders(), query)).await.unwrap().messages
}

/// How often each number was handled.
#[derive(Default, Clone)]
struct Handled(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Handled {
    fn note(&self, number: u64) {
        *self.0.lock().unwrap().entry(number).or_default() += 1;
    }

    fn times(&self, number: u64) -> usize {
        self.0.lock().unwrap().get(&number).copied().unwrap_or_default()
    }

    fn all(&self) -> BTreeMap<u64, usize> {
        self.0.lock().unwrap().clone()
    }

    async fn all_of(&self, numbers: std::ops::Range<u64>) {
        until("everything", async || numbers.clone().all(|number| self.times(number) > 0)).await;
    }

    fn consume(&self, client: &Client) -> Consumer {
        let handled = self.clone();
        client.consumer::<u64>(orders()).start(move |order: Delivery<u64>| {
            handled.note(order.value);
            async { Ok::<(), String>(()) }
        })
    }
}

fn once(numbers: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    numbers.map(|number| (number, 1)).collect()
}

async fn what_is_published_is_consumed_once(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    let producer = client.producer::<u64>(orders()).create(Settings::default()).start();
    let handled = Handled::default();
    let consumer = client.consumer::<u64>(orders()).create(Settings::default());
    let consumer = consumer.start({
        let handled = handled.clone();
        move |order: Delivery<u64>| {
            assert_eq!((order.attempt, order.message.content_type()), (1, "application/json"));
            handled.note(order.value);
            async { Ok::<(), String>(()) }
        }
    });
    for number in 0..100 {
        assert_eq!(soon("a receipt", producer.publish(&number)).await.unwrap().sequence, number + 1);
    }
    handled.all_of(0..100).await;
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(handled.all(), once(0..100));
    let status = status(&client, &orders()).await;
    assert_eq!((status.waiting, status.in_flight, status.failed, status.dead), (0, 0, 0, 0));
    assert_eq!((status.totals.published, status.totals.acknowledged, status.totals.failed), (100, 100, 0));
    ground.stop().await;
}

async fn closing_returns_when_the_node_has_everything(way: Way) {
    let mut ground = Ground::start(way).await;
    let client = ground.client();
    let producer = client.producer::<u64>(orders()).create(Settings::default()).start();
    for number in 0..500 {
        drop(soon("room", producer.publish_soon(&number)).await.unwrap());
    }
    soon("the end", producer.close(PATIENCE)).await.unwrap();
    assert_eq!(status(&client, &orders()).await.waiting, 500);

    let mut consumer = pull(&client);
    for _ in 0..300 {
        soon("a message", consumer.next()).await.unwrap().ack();
    }
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(status(&client, &orders()).await.totals.acknowledged, 300);
    until("that the rest is given back", async || status(&client, &orders()).await.in_flight == 0).await;
    ground.restart().await;
    let after = status(&ground.client(), &orders()).await;
    assert_eq!((after.totals.acknowledged, after.waiting + after.failed, after.dead), (300, 200, 0));
    ground.stop().await;
}

async fn what_keeps_failing_becomes_a_dead_letter_with_its_reason(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    let settings =
        Settings { attempts_max: 3, back_off_first_millis: 1, back_off_last_millis: 2, ..Settings::default() };
    stock(&client, settings, 0..20).await;
    let handled = Handled::default();
    let consumer = client.consumer::<u64>(orders()).start({
        let handled = handled.clone();
        move |order: Delivery<u64>| {
            handled.note(order.value);
            async move { if order.value == 7 { Err("the warehouse burns") } else { Ok(()) } }
        }
    });
    until("the dead letter", async || status(&client, &orders()).await.dead == 1).await;
    handled.all_of(0..20).await;
    assert_eq!(handled.times(7), 3, "as many attempts as the queue allows");
    let dead = dead(&client).await;
    let told: Vec<_> = dead.iter().map(|dead| (dead.attempts, dead.reason.as_deref())).collect();
    assert_eq!(told, [(3, Some("the warehouse burns"))]);
    let moved = soon("to be requeued", client.queues().requeue(&orders(), DeadLetters::All)).await.unwrap();
    assert_eq!(moved.messages, 1);
    until("three more attempts", async || handled.times(7) == 6).await;
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    ground.stop().await;
}

async fn what_does_not_parse_becomes_a_dead_letter_with_its_reason(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    let settings =
        Settings { attempts_max: 2, back_off_first_millis: 1, back_off_last_millis: 2, ..Settings::default() };
    stock(&client, settings, []).await;
    let odd = [Message::plain(Bytes::from_static(b"{\"number\": oh}")), Message::plain(Bytes::from_static(b"8"))];
    soon("to be stored", client.queues().publish(&orders(), &odd)).await.unwrap();
    let handled = Handled::default();
    let consumer = handled.consume(&client);
    until("the dead letter", async || status(&client, &orders()).await.dead == 1).await;
    handled.all_of(8..9).await;
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(handled.all(), once(8..9));
    let dead = dead(&client).await;
    let reason = dead[0].reason.clone().unwrap();
    assert!(reason.starts_with("the payload does not parse: "), "{reason}");
    ground.stop().await;
}

async fn what_was_not_acknowledged_survives_a_restart(way: Way) {
    let mut ground = Ground::start(way).await;
    let client = ground.client();
    stock(&client, Settings::default(), 0..10).await;
    let mut consumer = pull(&client);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(soon("a message", consumer.next()).await.unwrap());
    }
    assert_eq!(held.iter().map(|claim| claim.value).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for claim in held.drain(..2) {
        claim.ack();
    }
    until("that it is known", async || status(&client, &orders()).await.totals.acknowledged == 2).await;
    drop(consumer);
    drop(held);
    ground.restart().await;
    let client = ground.client();
    let handled = Handled::default();
    let consumer = handled.consume(&client);
    handled.all_of(2..10).await;
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(handled.all(), once(2..10));
    ground.stop().await;
}

async fn what_a_killed_consumer_held_goes_to_another_at_once(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    stock(&client, Settings::default(), 0..50).await;
    let process = Process::start();
    let other = ground.client();
    let held = process.run(async move {
        let mut consumer = pull(&other);
        let mut held = Vec::new();
        for _ in 0..50 {
            held.push(consumer.next().await.unwrap());
        }
        (consumer, held)
    });
    let held = held.await;
    assert_eq!(status(&client, &orders()).await.in_flight, 50);
    let mut consumer = pull(&client);
    process.kill();
    let mut again = BTreeMap::new();
    for _ in 0..50 {
        let claim = soon("what the other held", consumer.next()).await.unwrap();
        assert_eq!(claim.attempt, 2);
        again.insert(claim.value, 1);
        claim.ack();
    }
    assert_eq!(again, once(0..50));
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    drop(held);
    ground.stop().await;
}

async fn a_producer_goes_on_over_restarts_without_loss_or_double(way: Way) {
    let mut ground = Ground::start(way).await;
    let client = ground.client();
    let producer = client.producer::<u64>(orders()).create(Settings::default()).start();
    let publishing = tokio::spawn(async move {
        let mut pending = Vec::new();
        for number in 0..3_000 {
            pending.push(producer.publish_soon(&number).await.unwrap());
            if number % 10 == 0 {
                // So that each restart meets some that are on their way.
                producer.flush().await;
            }
        }
        for pending in pending {
            pending.await.unwrap();
        }
        producer
    });
    for restart in 1..=3 {
        let stored = restart * 500;
        until("some messages", async || {
            client.queues().get(&orders()).await.is_ok_and(|status| status.totals.published >= stored)
        })
        .await;
        ground.restart().await;
    }
    let producer = soon("the receipts", publishing).await.unwrap();
    let status = status(&client, &orders()).await;
    assert_eq!((status.totals.published, status.waiting), (3_000, 3_000));
    let mut consumer = pull(&client);
    for number in 0..3_000 {
        let claim = soon("a message", consumer.next()).await.unwrap();
        assert_eq!((claim.value, claim.attempt), (number, 1), "in the order of publishing");
        claim.ack();
    }
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    soon("the end", producer.close(PATIENCE)).await.unwrap();
    ground.stop().await;
}

async fn a_consumer_goes_on_over_a_restart_with_its_handlers(way: Way) {
    let mut ground = Ground::start(way).await;
    let client = ground.client();
    stock(&client, Settings::default(), 0..100).await;
    let (handled, gate) = (Handled::default(), Arc::new(Semaphore::new(0)));
    let consumer = client.consumer::<u64>(orders()).start({
        let (handled, gate) = (handled.clone(), gate.clone());
        move |order: Delivery<u64>| {
            handled.note(order.value);
            let gate = gate.clone();
            async move {
                if order.value == 3 {
                    let _ = gate.acquire().await;
                }
                Ok::<(), String>(())
            }
        }
    });
    handled.all_of(0..100).await;
    until("all but one", async || status(&client, &orders()).await.totals.acknowledged == 99).await;
    ground.restart().await;
    publish(&ground.client(), 100..200).await;
    handled.all_of(100..200).await;
    until("all but one", async || status(&client, &orders()).await.totals.acknowledged == 199).await;
    gate.add_permits(1);
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(handled.all(), once(0..200), "a handler that runs is not started again");
    let status = status(&client, &orders()).await;
    assert_eq!((status.totals.acknowledged, status.waiting, status.in_flight, status.failed), (200, 0, 0, 0));
    ground.stop().await;
}

async fn a_slow_handler_keeps_its_message(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    let settings = Settings { ack_timeout_millis: 2_000, ..Settings::default() };
    stock(&client, settings, 0..1).await;
    let (handled, gate) = (Handled::default(), Arc::new(Semaphore::new(0)));
    let consumer = client.consumer::<u64>(orders()).start({
        let (handled, gate) = (handled.clone(), gate.clone());
        move |order: Delivery<u64>| {
            handled.note(order.value);
            let gate = gate.clone();
            async move {
                let _ = gate.acquire().await;
                Ok::<(), String>(())
            }
        }
    });
    handled.all_of(0..1).await;
    // Taken later by one that asks for no more time: when that is over, the handler's would be, too.
    let witness = queue("witness");
    soon("the queue", client.queues().create(&witness, settings)).await.unwrap();
    soon("to be stored", client.queues().publish(&witness, &[Message::plain(Bytes::from_static(b"0"))])).await.unwrap();
    let mut other = client.consumer::<u64>(witness.clone()).extend_at_most(Duration::ZERO).pull();
    let held = soon("a message", other.next()).await.unwrap();
    until("that its time is over", async || status(&client, &witness).await.totals.failed == 1).await;
    let before = status(&client, &orders()).await;
    assert_eq!((before.in_flight, before.totals.failed), (1, 0));
    gate.add_permits(1);
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(handled.all(), once(0..1));
    assert_eq!(status(&client, &orders()).await.totals.acknowledged, 1);
    held.ack();
    soon("the end", other.close(PATIENCE)).await.unwrap();
    ground.stop().await;
}

/// A rolling restart of consumers must not make dead letters.
async fn what_nobody_began_counts_as_no_attempt_when_its_consumer_closes(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    stock(&client, Settings { attempts_max: 1, ..Settings::default() }, 0..200).await;

    let mut consumer = pull(&client);
    let first = soon("a message", consumer.next()).await.unwrap();
    until("the others to be handed out", async || status(&client, &orders()).await.in_flight == 200).await;
    first.ack();
    soon("the end", consumer.close(PATIENCE)).await.unwrap();

    assert_eq!(dead(&client).await.len(), 0);
    let handled = Handled::default();
    let consumer = handled.consume(&client);
    handled.all_of(1..200).await;
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    assert_eq!(handled.all(), once(1..200));
    ground.stop().await;
}

/// A batch of the SDK may be more than such a queue ever keeps.
async fn a_queue_that_keeps_little_takes_what_comes_in_parts(way: Way) {
    let ground = Ground::start(way).await;
    let client = ground.client();
    stock(&client, Settings { waiting_max: 3, ..Settings::default() }, []).await;
    let producer = client.producer::<u64>(orders()).start();
    let mut pending = Vec::new();
    for number in 0..20 {
        pending.push(soon("room", producer.publish_soon(&number)).await.unwrap());
    }
    let handled = Handled::default();
    let consumer = handled.consume(&client);
    for pending in pending {
        soon("a receipt", pending).await.unwrap();
    }
    handled.all_of(0..20).await;
    assert_eq!(handled.all(), once(0..20));
    soon("the end", consumer.close(PATIENCE)).await.unwrap();
    ground.stop().await;
}
