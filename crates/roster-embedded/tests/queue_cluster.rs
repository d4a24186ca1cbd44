//! Queue nodes that register themselves, and producers and consumers that follow them.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roster_client::queue::{ClusterConsumer, Delivery, QueueName, Settings as QueueSettings};
use roster_client::{Announcement, Client, Handle, Registrar};
use roster_server::{Node, Settings};
use tempfile::TempDir;

/// Nothing that a test waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

/// Waits for a state that is told by no signal.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn node(directory: &TempDir, name: &str, port: u16) -> Node {
    let listen = ([127, 0, 0, 1], port).into();
    Node::start(Settings { listen, data_dir: directory.path().join(name), ..Settings::default() }).await.unwrap()
}

fn client(registry: &Node) -> Client {
    Client::builder().endpoint(format!("http://{}", registry.listen())).build().unwrap()
}

/// A queue node that has registered itself.
struct Member {
    node: Node,
    registrar: Registrar,
    handle: Handle,
}

impl Member {
    async fn join(registry: &Node, directory: &TempDir, name: &str, port: u16) -> Self {
        let node = node(directory, name, port).await;
        let registrar = client(registry).registrar().start();
        let announcement = Announcement::new("orders-queue", "127.0.0.1", node.listen().port()).unwrap();
        let handle = registrar.register(announcement);
        soon("a registration", handle.settled()).await;
        Self { node, registrar, handle }
    }

    /// Callers go elsewhere, consumers stay.
    async fn drain(&self) {
        let mut draining = soon("a drain", self.handle.drain(PATIENCE)).await.unwrap();
        soon("that all have seen it", draining.finished()).await;
    }

    /// Waits until consumers have finished what it has.
    async fn emptied(&self) {
        let client = client(&self.node);
        soon("an empty queue", async {
            loop {
                let status = client.queues().get(&orders()).await.unwrap();
                if status.waiting + status.in_flight + status.failed == 0 {
                    return;
                }
            }
        })
        .await;
    }

    /// In order: callers go elsewhere first. What it has stays with it.
    async fn leave(self) {
        soon("to leave", self.handle.leave()).await.unwrap();
        soon("a farewell", self.registrar.close()).await.unwrap();
        self.node.shutdown().await.unwrap();
    }

    /// Streams break, and nobody is told to go elsewhere.
    fn crash(self) {
        drop(self);
    }
}

/// How often each number was received.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Received {
    fn note(&self, number: u64) {
        *self.0.lock().unwrap().entry(number).or_default() += 1;
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn missing(&self, sent: u64) -> Vec<u64> {
        let received = self.0.lock().unwrap();
        (1..=sent).filter(|number| !received.contains_key(number)).collect()
    }
}

fn orders() -> QueueName {
    QueueName::parse("orders").unwrap()
}

fn consume(client: &Client, received: &Received) -> ClusterConsumer {
    let received = received.clone();
    let consumers = client.queue_cluster("orders-queue").unwrap().consumers::<u64>(orders());
    consumers.create(QueueSettings::default()).start(move |order: Delivery<u64>| {
        received.note(order.value);
        async { Ok::<(), Infallible>(()) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn members_join_and_leave_and_each_message_is_received() {
    let directory = TempDir::new().unwrap();
    let registry = node(&directory, "registry", 0).await;
    let client = client(&registry);
    let received = Received::default();
    let consumers = consume(&client, &received);
    let members = client.queue_cluster("orders-queue").unwrap();
    let producer = members.producer::<u64>(orders()).create(QueueSettings::default()).sticky(16).start();

    let first = Member::join(&registry, &directory, "m0", 0).await;
    let mut sent = 0;
    let mut homes = std::collections::BTreeSet::new();
    let mut members = Vec::new();
    for number in 1..=4 {
        members.push(Member::join(&registry, &directory, &format!("m{number}"), 0).await);
        until("that it is followed", || {
            let connected = |member: &roster_client::Member| matches!(member.link, roster_client::Link::Connected);
            producer.members().iter().filter(|member| connected(member)).count() == members.len() + 1
        })
        .await;
        for _ in 0..200 {
            sent += 1;
            homes.insert(soon("a receipt", producer.publish(&sent)).await.unwrap().member);
        }
    }
    assert_eq!(homes.len(), 5, "each member gets its share");
    for member in members {
        let mut publishing = async || {
            for _ in 0..50 {
                sent += 1;
                soon("a receipt", producer.publish(&sent)).await.unwrap();
            }
        };
        tokio::join!(member.drain(), publishing());
        member.emptied().await;
        tokio::join!(member.leave(), publishing());
    }
    until("everything", || received.count() == usize::try_from(sent).unwrap()).await;
    assert_eq!(received.missing(sent), Vec::<u64>::new());
    soon("the end", producer.close(PATIENCE)).await.unwrap();
    soon("the end", consumers.close()).await;
    first.leave().await;
    registry.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_member_did_not_answer_is_published_to_another() {
    let directory = TempDir::new().unwrap();
    let registry = node(&directory, "registry", 0).await;
    let client = client(&registry);
    let received = Received::default();
    let victim = Member::join(&registry, &directory, "m0", 0).await;
    let members = client.queue_cluster("orders-queue").unwrap();
    let producer = members.producer::<u64>(orders()).create(QueueSettings::default()).sticky(1).start();
    soon("a receipt", producer.publish(&1)).await.unwrap();

    // Taken in by the producer of the victim, most of them not answered when it dies.
    let mut pending = Vec::new();
    for number in 2..=2_000 {
        pending.push(soon("room", producer.publish_soon(&number)).await.unwrap());
    }
    victim.crash();
    // Half of them are waited for, half are left to the producer.
    pending.truncate(1_000);
    let survivor = Member::join(&registry, &directory, "m1", 0).await;
    for pending in pending {
        soon("a receipt", pending).await.unwrap();
    }
    until("the others", || producer.unanswered() == 0).await;

    let consumers = consume(&client, &received);
    // What the victim has stored waits for its return.
    let back = Member::join(&registry, &directory, "m0", 0).await;
    until("everything", || received.count() == 2_000).await;
    assert_eq!(received.missing(2_000), Vec::<u64>::new(), "PC1: a message was dropped");
    soon("the end", consumers.close()).await;
    drop(producer);
    survivor.leave().await;
    back.leave().await;
    registry.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_member_publishing_says_so_in_time() {
    let directory = TempDir::new().unwrap();
    let registry = node(&directory, "registry", 0).await;
    let members = client(&registry).queue_cluster("orders-queue").unwrap();
    let producer = members.producer::<u64>(orders()).timeout(Duration::from_millis(200)).start();
    // Until the registry has answered, it says that.
    let is_told = async {
        while producer.publish(&1).await.unwrap_err().to_string() != "no instance of orders-queue is registered" {}
    };
    soon("that there is no member", is_told).await;
    registry.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_member_does_not_hold_up_the_others() {
    let directory = TempDir::new().unwrap();
    let registry = node(&directory, "registry", 0).await;
    let full = Member::join(&registry, &directory, "m0", 0).await;
    let roomy = Member::join(&registry, &directory, "m1", 0).await;
    // The queue of one member keeps one message, and has it.
    let of = |member: &Member| {
        Client::builder().endpoint(format!("http://{}", member.node.listen())).build().unwrap().queues()
    };
    let small = QueueSettings { waiting_max: 1, ..QueueSettings::default() };
    soon("a queue", of(&full).create(&orders(), small)).await.unwrap();
    soon("a queue", of(&roomy).create(&orders(), QueueSettings::default())).await.unwrap();
    let message = roster_client::queue::Message::plain("0".into());
    soon("a message", of(&full).publish(&orders(), &[message])).await.unwrap();

    let members = client(&registry).queue_cluster("orders-queue").unwrap();
    let producer = members.producer::<u64>(orders()).patience(Duration::from_millis(200)).sticky(1).start();
    for number in 1..=20 {
        soon("a receipt", producer.publish(&number)).await.unwrap();
    }
    assert!(soon("a status", of(&roomy).get(&orders())).await.unwrap().waiting >= 20);
    drop(producer);
    full.leave().await;
    roomy.leave().await;
    registry.shutdown().await.unwrap();
}
