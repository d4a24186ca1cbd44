//! A message each millisecond through a cluster of queue nodes, and a consumer on each of them.
//!
//! The producer keeps to the clock, whatever the answers do: what it could not hand out in time is due
//! since its millisecond, and follows at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use roster_client::Client;
use roster_client::queue::{ClusterConsumer, ClusterProducer, Delivery, QueueName, Settings};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use super::ledger::Ledger;
use crate::exit;

/// The name of the queue at each member.
const QUEUE: &str = "notes";
const INTERVAL: Duration = Duration::from_millis(1);
/// Messages in a row to the same member: so few that each member gets some in each second.
const STICKY: u32 = 16;
/// How long a message may look for a member before it counts as failed.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers that may be waited for at a time.
const ANSWERS_MAX: usize = 16_384;
const ASK_INTERVAL: Duration = Duration::from_millis(5);

/// A message.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    number: usize,
}

#[derive(Debug)]
pub(super) struct Traffic {
    ledger: Arc<Ledger>,
    stopped: Arc<AtomicBool>,
    /// The one that publishes. Ends with this.
    publishing: JoinSet<()>,
    producer: ClusterProducer<Note>,
    consumers: ClusterConsumer,
}

impl Traffic {
    /// Begins to publish and to consume.
    ///
    /// # Errors
    /// When this is not the name of a service.
    pub(super) fn start(registry: &Client, service: &str) -> anyhow::Result<Self> {
        let (members, queue) = (registry.queue_cluster(service)?, QueueName::parse(QUEUE)?);
        let (ledger, stopped) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let consumers = members.consumers::<Note>(queue.clone()).create(Settings::default());
        let received = ledger.clone();
        let consumers = consumers.start(move |note: Delivery<Note>| {
            received.received(note.value.number, Instant::now());
            std::future::ready(Ok::<(), Infallible>(()))
        });
        let producer = members.producer::<Note>(queue).create(Settings::default());
        let producer = producer.sticky(STICKY).timeout(PUBLISH_TIMEOUT).start();
        let mut publishing = JoinSet::new();
        publishing.spawn(publish(producer.clone(), ledger.clone(), stopped.clone()));
        Ok(Self { ledger, stopped, publishing, producer, consumers })
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Publishes nothing more, and waits until what was published is answered.
    ///
    /// # Errors
    /// When it is not in time.
    pub(super) async fn stop(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        let ended = timeout(patience, self.publishing.join_next()).await;
        let ended = ended.with_context(|| format!("messages were not answered within {patience:?}"))?;
        ended.transpose()?;
        Ok(())
    }

    /// Waits until everything is received, at most so long.
    pub(super) async fn settle(&self, patience: Duration) {
        let settled = until(patience, || self.ledger.is_settled().then_some(()));
        // Who does not find it so will say what is missing.
        let _ = settled.await;
    }

    /// Ends all streams.
    ///
    /// # Errors
    /// When messages are on their way.
    pub(super) async fn close(self, patience: Duration) -> anyhow::Result<()> {
        self.consumers.close().await;
        Ok(self.producer.close(patience).await?)
    }
}

/// Asks again and again.
pub(super) async fn until<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    let mut ticks = tokio::time::interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
    }
}

/// What the queue of the node there keeps, once it keeps nothing or the patience is over: messages that
/// wait, are in flight, failed or are dead.
///
/// # Errors
/// When the node does not say.
pub(super) async fn left_in(node: &Client, patience: Duration) -> anyhow::Result<u64> {
    let (queues, queue, deadline) = (node.queues(), QueueName::parse(QUEUE)?, Instant::now() + patience);
    let mut ticks = tokio::time::interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let status = queues.get(&queue).await?;
        if status.totals.published == 0 {
            bail!("nothing was published to the last member");
        }
        let left = status.waiting + status.in_flight + status.failed + status.dead;
        if left == 0 || Instant::now() > deadline {
            return Ok(left);
        }
    }
}

async fn publish(producer: ClusterProducer<Note>, ledger: Arc<Ledger>, stopped: Arc<AtomicBool>) {
    let mut answers = JoinSet::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let due = ticks.tick().await.into_std();
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let number = ledger.sent(due);
        match producer.publish_soon(&Note { number }).await {
            Ok(answer) => {
                let ledger = ledger.clone();
                answers.spawn(async move {
                    match answer.await {
                        Ok(receipt) => ledger.stored(receipt.member, Instant::now()),
                        Err(error) => ledger.failed(exit::chain(&error.into())),
                    }
                });
            }
            Err(error) => ledger.failed(exit::chain(&error.into())),
        }
        while answers.try_join_next().is_some() {}
        if answers.len() >= ANSWERS_MAX {
            answers.join_next().await;
        }
    }
    while answers.join_next().await.is_some() {}
}
