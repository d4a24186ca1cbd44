//! A process that consumes, and one with many consumers that have nothing to consume.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use roster_client::Client;
use roster_client::queue::{Consumer, Delivery, QueueName, Raw};
use tokio::sync::Notify;

use super::super::node::BenchNode;
use super::answer::Answer;
use super::usage;
use crate::render::Figure;

/// How long the node may take to confirm the last acknowledgements.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages that came.
#[derive(Debug)]
struct Count {
    goal: u64,
    taken: AtomicU64,
    over: Notify,
}

pub(super) async fn measure(
    node: &BenchNode,
    queue: &str,
    messages: u64,
    consumers: u32,
    idle: Duration,
) -> anyhow::Result<Answer> {
    let queue = QueueName::parse(queue).context("name the queue")?;
    let client = node.client()?;
    // What a connection takes is not counted.
    client.status().await.context("ask for the status of the node")?;
    let before = usage::settled().await?;
    usage::forget_peak()?;
    let (start, cpu) = (Instant::now(), usage::cpu());
    let count = Arc::new(Count { goal: messages, taken: AtomicU64::new(0), over: Notify::new() });
    let consumer = start_consumer(&client, &queue, &count);
    tokio::select! {
        () = count.over.notified() => {}
        error = consumer.ended() => bail!("consume: {error}"),
    }
    consumer.close(PATIENCE).await.context("end consuming")?;
    let spent = usage::cpu() - cpu;
    let per_second = messages as f64 / start.elapsed().as_secs_f64();
    let peak = usage::peak()?;

    let first = connected(start_consumer(&client, &queue, &count)).await?;
    let alone = usage::settled().await?;
    let mut others = Vec::new();
    for _ in 1..consumers {
        others.push(start_consumer(&client, &queue, &count));
    }
    for consumer in &mut others {
        wait_for_link(consumer).await?;
    }
    let together = usage::settled().await?;
    let idle_cpu = usage::cpu_us_per_second(idle).await;
    drop((first, others));

    let figures = vec![
        Figure::count("consumed_messages", messages),
        Figure::measure("consuming_messages_per_second", per_second),
        Figure::measure("consuming_cpu_us_per_message", spent.as_secs_f64() * 1e6 / messages as f64),
        Figure::count("consuming_bytes_before", before),
        Figure::count("consuming_bytes_at_most", peak),
        Figure::count("consumers", consumers.into()),
        Figure::measure("bytes_per_idle_consumer", (together as f64 - alone as f64) / f64::from(consumers - 1)),
        Figure::measure("consumers_idle_cpu_us_per_second", idle_cpu),
    ];
    Ok(Answer { figures, latencies: Vec::new() })
}

fn start_consumer(client: &Client, queue: &QueueName, count: &Arc<Count>) -> Consumer {
    let count = count.clone();
    client.consumer::<Bytes>(queue.clone()).format::<Raw>().start(move |delivery: Delivery<Bytes>| {
        // A message counts once, however often it comes.
        if delivery.attempt == 1 && count.taken.fetch_add(1, Ordering::Relaxed) + 1 == count.goal {
            count.over.notify_one();
        }
        async { Ok::<(), Infallible>(()) }
    })
}

async fn connected(consumer: Consumer) -> anyhow::Result<Consumer> {
    wait_for_link(&consumer).await?;
    Ok(consumer)
}

async fn wait_for_link(consumer: &Consumer) -> anyhow::Result<()> {
    let mut link = consumer.link();
    tokio::select! {
        link = link.wait_for(|link| link.is_connected()) => { link.context("consume")?; Ok(()) }
        error = consumer.ended() => bail!("consume: {error}"),
    }
}
