//! Messages on their way out of a queue, as the SDK consumes them: each is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use indicatif::ProgressBar;
use roster_client::queue::{PullConsumer, QueueName, Raw};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::latencies::Latencies;
use super::node::BenchNode;
use super::publishing;

/// How long the node may take to confirm the last acknowledgements.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was consumed.
#[derive(Debug)]
pub(super) struct Consumed {
    /// From the publication to the handler, of first deliveries.
    pub(super) latencies: Latencies,
    /// Deliveries beyond the first of their message.
    pub(super) redelivered: u64,
    /// When the node had confirmed all acknowledgements.
    pub(super) end: Instant,
}

/// Consumers with a connection each, at work until so many messages came.
#[derive(Debug)]
pub(super) struct Consuming {
    tasks: JoinSet<anyhow::Result<Consumed>>,
}

impl Consuming {
    /// Begins to consume. `start` is when the clock of the messages began.
    ///
    /// # Errors
    /// When an address is not one.
    pub(super) fn begin(
        node: &BenchNode,
        queue: &QueueName,
        crew: Crew,
        start: Instant,
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let (taken, over) = (AtomicU64::new(0), watch::Sender::new(crew.messages == 0));
        let count = Arc::new(Count { goal: crew.messages, taken, over });
        let mut tasks = JoinSet::new();
        for _ in 0..crew.consumers {
            let consumer = node.client()?.consumer::<Bytes>(queue.clone()).format::<Raw>();
            let consumer = consumer.concurrency(crew.window).context("begin to consume")?.pull();
            tasks.spawn(work(consumer, Arc::clone(&count), start, bar.clone()));
        }
        Ok(Self { tasks })
    }

    /// # Errors
    /// When a consumer ended before all messages had come.
    pub(super) async fn end(mut self) -> anyhow::Result<Consumed> {
        let mut all = Consumed { latencies: Latencies::new()?, redelivered: 0, end: Instant::now() };
        while let Some(consumed) = self.tasks.join_next().await {
            let consumed = consumed.context("a consumer failed")??;
            all.latencies.add(&consumed.latencies)?;
            all.redelivered += consumed.redelivered;
            all.end = all.end.max(consumed.end);
        }
        Ok(all)
    }
}

/// Who consumes, and how much of all together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crew {
    pub(super) consumers: u32,
    pub(super) window: u32,
    pub(super) messages: u64,
}

/// How many messages have come, for all consumers together.
#[derive(Debug)]
struct Count {
    goal: u64,
    taken: AtomicU64,
    over: watch::Sender<bool>,
}

impl Count {
    /// One came for the first time.
    fn took(&self) {
        if self.taken.fetch_add(1, Ordering::Relaxed) + 1 == self.goal {
            self.over.send_replace(true);
        }
    }

    fn is_over(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.goal
    }
}

async fn work(
    mut consumer: PullConsumer<Bytes, Raw>,
    count: Arc<Count>,
    start: Instant,
    bar: ProgressBar,
) -> anyhow::Result<Consumed> {
    let mut over = count.over.subscribe();
    let (mut latencies, mut redelivered) = (Latencies::new()?, 0);
    while !count.is_over() {
        let claim = tokio::select! {
            biased;
            claim = consumer.next() => claim.context("consume")?,
            _ = over.wait_for(|over| *over) => break,
        };
        if claim.attempt == 1 {
            let published = publishing::published_at(start, &claim.value)?;
            latencies.record(published.elapsed());
            claim.ack();
            count.took();
            bar.inc(1);
        } else {
            claim.ack();
            redelivered += 1;
        }
        // What waits already is taken without waiting: the others of this thread must have their turn.
        tokio::task::consume_budget().await;
    }
    consumer.close(PATIENCE).await.context("end consuming")?;
    Ok(Consumed { latencies, redelivered, end: Instant::now() })
}
