//! A registry and a queue inside one process, without a socket.
//!
//! ```text
//! cargo run -p roster-embedded --all-features --example embedded [DIRECTORY]
//! ```
//! Without a directory it uses a temporary one. It ends by itself, and fails when the restart of the node
//! loses or doubles a message.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use roster_client::queue::{QueueName, Settings as QueueSettings};
use roster_client::{Announcement, Selector, State};
use roster_embedded::Embedded;
use roster_server::Settings;
use serde::{Deserialize, Serialize};

/// What takes longer than this here is not going well.
const PATIENCE: Duration = Duration::from_secs(20);
const ORDERS: u64 = 10;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(PATIENCE, run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let directory = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    // What is acknowledged is synced to the disk, as with a node of its own process.
    let settings = Settings { data_dir: directory, ..Settings::default() };
    let roster = Embedded::start(settings.clone()).await?;
    let client = roster.client().name("embedded").build()?;

    // Be known, and know who serves: parts of a process find each other as processes would.
    let registrar = client.registrar().start();
    let handle = registrar.register(Announcement::new("example/orders", "10.0.0.7", 8080)?);
    if let State::Refused(refusal) = handle.settled().await {
        return Err(refusal.message.into());
    }
    let watch = client.watch(Selector::parse("example/orders")?).start();
    for instance in watch.view().loaded().await?.all() {
        println!("serves example/orders: {}", instance.registration.address);
    }

    // Publish: each is on the disk when this returns.
    let orders = QueueName::parse("example/orders")?;
    let producer = client.producer::<Order>(orders.clone()).create(QueueSettings::default()).start();
    for number in 1..=ORDERS {
        producer.publish(&Order { number }).await?;
    }
    producer.close(PATIENCE).await?;

    // Work on some of them, then stop in the middle: one is held without a verdict.
    let mut done = BTreeSet::new();
    let mut consumer = client.consumer::<Order>(orders.clone()).pull();
    for _ in 0..ORDERS / 2 {
        let claim = consumer.next().await?;
        done.insert(claim.value.number);
        claim.ack();
    }
    let held = consumer.next().await?;
    println!("done: {done:?}; order {} is being worked on", held.value.number);
    // Returns before its deadline only when every verdict is given, so this one waits in vain.
    if consumer.close(Duration::from_millis(200)).await.is_ok() {
        return Err("a consumer has closed with a message in its hands".into());
    }
    drop(held);
    registrar.close().await?;
    roster.shutdown().await?;

    // A restart keeps what was not done.
    let roster = Embedded::start(settings).await?;
    let client = roster.client().name("embedded").build()?;
    let status = client.queues().get(&orders).await?;
    println!("after a restart {} wait", status.waiting + status.failed);
    let mut consumer = client.consumer::<Order>(orders).pull();
    while done.len() as u64 != ORDERS {
        let claim = consumer.next().await?;
        if !done.insert(claim.value.number) {
            return Err(format!("order {} is delivered again, though it was acknowledged", claim.value.number).into());
        }
        claim.ack();
    }
    // Returns when the node has all verdicts on its disk.
    consumer.close(PATIENCE).await?;
    println!("done: {done:?}");
    roster.shutdown().await?;
    Ok(())
}
