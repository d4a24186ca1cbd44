//! A queue on five members that are killed and started again all the time, while a producer of the cluster
//! publishes and somebody consumes from each of them.
//!
//! Each message is a number. What a receipt says is compared with what was consumed: which member has the
//! message, under which id.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roster_client::InstanceId;
use roster_client::queue::{ClusterPending, ClusterReceipt, QueueName, Raw, Settings};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::node::{self, Node, free_port};
use crate::{PATIENCE, scale};

const SERVICE: &str = "churned";
const MEMBERS: usize = 5;
/// Between two kills.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a killed member is away at most, without the time of its start.
const AWAY_MILLIS_MAX: u64 = 700;
/// A kill comes within so long after a burst of messages.
const BURST_MILLIS: u64 = 20;
/// The rest comes in so many steps between two kills.
const STEPS: usize = 50;
/// What the producer leaves unanswered.
const WINDOW: usize = 8_192;

/// What came from one member, in the order in which it came.
#[derive(Default)]
struct Consumed {
    /// Each message once: its id, and the number in it.
    first: Vec<(u64, u64)>,
    ids: BTreeMap<u64, u64>,
    /// Messages that came again.
    again: u64,
}

/// Consumes from one member, whatever becomes of it, until it is told to stop.
async fn consume(listen: SocketAddr, queue: QueueName, seen: Arc<Seen>, mut stop: watch::Receiver<bool>) -> Consumed {
    let consumer = node::client(listen).consumer::<Bytes>(queue).format::<Raw>().create(settings());
    let mut consumer = consumer.pull();
    let mut consumed = Consumed::default();
    loop {
        let claim = tokio::select! {
            claim = consumer.next() => claim.unwrap(),
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let id = claim.id.get();
        let number = u64::from_le_bytes(claim.value[..].try_into().unwrap());
        claim.ack();
        match consumed.ids.insert(id, number) {
            None => {
                consumed.first.push((id, number));
                seen.note(number);
            }
            Some(before) => {
                assert_eq!(before, number, "message {id} of {listen} changed");
                consumed.again += 1;
            }
        }
    }
    consumer.close(PATIENCE).await.unwrap();
    consumed
}

/// Which numbers came, from whichever member.
struct Seen {
    each: Vec<AtomicU64>,
    missing: watch::Sender<u64>,
}

impl Seen {
    fn note(&self, number: u64) {
        if self.each[usize::try_from(number).unwrap()].fetch_add(1, Ordering::Relaxed) == 0 {
            self.missing.send_modify(|missing| *missing -= 1);
        }
    }
}

fn settings() -> Settings {
    Settings { waiting_max: 10_000_000, ..Settings::default() }
}

/// Publishes the numbers as fast as it is allowed to; the receipts, by number.
async fn publish(
    registry: roster_client::Client,
    queue: QueueName,
    messages: u64,
    budget: Arc<Semaphore>,
) -> Published {
    let members = registry.queue_cluster(SERVICE).unwrap();
    let producer = members.producer::<Bytes>(queue).format::<Raw>().create(settings()).start();
    let mut waiting: VecDeque<(Instant, ClusterPending)> = VecDeque::new();
    let mut published = Published { receipts: Vec::new(), slowest: Duration::ZERO };
    for number in 0..messages {
        budget.acquire().await.unwrap().forget();
        let payload = Bytes::copy_from_slice(&number.to_le_bytes());
        waiting.push_back((Instant::now(), producer.publish_soon(&payload).await.unwrap()));
        if waiting.len() == WINDOW {
            published.take(waiting.pop_front().unwrap()).await;
        }
    }
    for each in waiting {
        published.take(each).await;
    }
    producer.close(PATIENCE).await.unwrap();
    published
}

struct Published {
    receipts: Vec<ClusterReceipt>,
    slowest: Duration,
}

impl Published {
    async fn take(&mut self, (since, pending): (Instant, ClusterPending)) {
        let receipt = tokio::time::timeout(PATIENCE, pending).await.expect("a receipt in time");
        self.receipts.push(receipt.expect("no publication fails"));
        self.slowest = self.slowest.max(since.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_killed_all_the_time_lose_nothing_and_keep_the_order() {
    let messages = scale("ROSTER_TEST_CHURN_MESSAGES", 20_000);
    let kills = scale("ROSTER_TEST_CHURN_KILLS", 4);
    let seed = scale("ROSTER_TEST_SEED", 7);
    let folder = tempfile::tempdir().unwrap();
    let registry = Node::start(&folder.path().join("registry"), &[]);
    let start =
        |listen, member: usize| Node::start_member(listen, &folder.path().join(member.to_string()), &registry, SERVICE);
    let places: Vec<SocketAddr> = (0..MEMBERS).map(|_| SocketAddr::from(([127, 0, 0, 1], free_port()))).collect();
    let mut members: Vec<Node> = places.iter().zip(0..).map(|(listen, member)| start(*listen, member)).collect();

    let queue = QueueName::parse("numbers").unwrap();
    let (stop, stopped) = watch::channel(false);
    let each = (0..messages).map(|_| AtomicU64::new(0)).collect();
    let seen = Arc::new(Seen { each, missing: watch::Sender::new(messages) });
    let mut consumers = JoinSet::new();
    for (member, listen) in places.iter().copied().enumerate() {
        let consuming = consume(listen, queue.clone(), seen.clone(), stopped.clone());
        consumers.spawn(async move { (member, consuming.await) });
    }
    let budget = Arc::new(Semaphore::new(0));
    let publishing = tokio::spawn(publish(registry.client.clone(), queue.clone(), messages, budget.clone()));

    // Each second has its part of the messages. Half of it comes just before the kill, as fast as it goes, so
    // that the kill meets messages on their way.
    let mut chance = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    for kill in 0..kills {
        let part = usize::try_from(messages * (kill + 1) / kills - messages * kill / kills).unwrap();
        let victim = chance.usize(..MEMBERS);
        budget.add_permits(part / 2);
        tokio::time::sleep(Duration::from_micros(chance.u64(..BURST_MILLIS * 1_000))).await;
        members[victim].kill();
        let mut back = Some(Instant::now() + Duration::from_millis(chance.u64(..AWAY_MILLIS_MAX)));
        let next = began + INTERVAL * u32::try_from(kill + 1).unwrap();
        let step = next.saturating_duration_since(Instant::now()) / u32::try_from(STEPS).unwrap();
        let rest = part - part / 2;
        for number in 0..STEPS {
            budget.add_permits(rest * (number + 1) / STEPS - rest * number / STEPS);
            tokio::time::sleep(step).await;
            if back.take_if(|back| *back <= Instant::now()).is_some() {
                members[victim] = start(places[victim], victim);
            }
        }
        if back.is_some() {
            members[victim] = start(places[victim], victim);
        }
    }
    let published = tokio::time::timeout(PATIENCE, publishing).await.expect("all is published in time").unwrap();
    let spent = began.elapsed();
    let mut missing = seen.missing.subscribe();
    let everything = tokio::time::timeout(PATIENCE, missing.wait_for(|missing| *missing == 0)).await.is_ok();
    assert!(everything, "{} of {messages} messages were lost", *seen.missing.borrow());
    stop.send_replace(true);
    let mut consumed: Vec<Consumed> = (0..MEMBERS).map(|_| Consumed::default()).collect();
    while let Some(ended) = consumers.join_next().await {
        let (member, what) = ended.unwrap();
        consumed[member] = what;
    }

    // What was acknowledged is where the receipt says, and every member kept the order of each producer.
    let mut homes: HashMap<InstanceId, BTreeSet<usize>> = HashMap::new();
    let mut lines: HashMap<InstanceId, Vec<(u64, u64)>> = HashMap::new();
    for (receipt, number) in published.receipts.iter().zip(0..) {
        let Some(id) = receipt.receipt.message_id else { continue };
        let has_it = |member: &usize| consumed[*member].ids.get(&id.get()) == Some(&number);
        let homes = homes.entry(receipt.member).or_insert_with(|| (0..MEMBERS).collect());
        homes.retain(|member| has_it(member));
        assert!(!homes.is_empty(), "message {id} of {}, the number {number}, was not delivered", receipt.member);
        lines.entry(receipt.member).or_default().push((receipt.receipt.sequence, id.get()));
    }
    for (member, line) in &mut lines {
        line.sort_unstable();
        assert!(line.is_sorted_by(|one, next| one.1 < next.1), "{member}: ids are in the order of sequences");
    }
    for consumed in &consumed {
        assert!(consumed.first.is_sorted_by(|one, next| one.0 < next.0), "first deliveries come in order");
    }
    for member in &members {
        let left = member.client.queues().get(&queue).await.unwrap();
        assert_eq!((left.waiting, left.in_flight, left.failed, left.dead), (0, 0, 0, 0));
    }
    let stored: u64 = consumed.iter().map(|consumed| consumed.ids.len() as u64).sum();
    let again: u64 = consumed.iter().map(|consumed| consumed.again).sum();
    println!(
        "{messages} messages through {MEMBERS} members, {kills} kills, {spent:.1?}: none lost; {} stored by two \
         members, {again} delivered again; the slowest receipt took {:.1?}; {} incarnations of members",
        stored - messages,
        published.slowest,
        lines.len(),
    );
}
