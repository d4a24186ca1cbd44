//! `roster bench queue`: messages through a queue, each acknowledged when it is durable.
//!
//! It speaks through the SDK, as whoever uses queues does: what is measured is the node with its clients.

use std::time::Instant;

use anyhow::{Context, ensure};
use roster_client::Client;
use roster_client::queue::{QueueName, Settings};
use roster_core::limits;

use super::consuming::{Consuming, Crew};
use super::cost::Cost;
use super::node::BenchNode;
use super::progress;
use super::publishing::{self, Producers, Publications};
use crate::render::{Figure, Measured};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench queue
  roster bench queue --consume
  roster bench queue --consume --rate 100000 --messages 2000000
  roster bench queue --server http://127.0.0.1:7400 --output json

Publishes to a new queue below bench/, and removes it at the end; when it is given up, the queue stays. With --rate a message is timed from when it was due,
give or take a millisecond; without it, as many messages as may be in flight always are. Lines of --output
text: a name and a value; a name, a count, and the median, the 99th percentile and the maximum in
microseconds.")]
pub(crate) struct QueueLoad {
    /// How many messages there are
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: u64,
    /// The length of each
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(publishing::BYTES_MIN as i64..=1_048_576))]
    bytes: u32,
    /// Over how many connections they are published
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// How many are on their way at a time, of all connections together
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// Consume and acknowledge them, too
    #[arg(long)]
    consume: bool,
    /// By how many consumers, with a connection each
    #[arg(long, value_name = "N", default_value_t = 4, requires = "consume", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    consumers: u32,
    /// How many messages each of them holds at most
    #[arg(long, value_name = "N", default_value_t = 1_024, requires = "consume", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    window: u32,
    /// So many messages a second, whether or not they are stored in time [default: as many as get through]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

pub(super) async fn run(load: &QueueLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    let client = node.client()?;
    let queue = create(&client, load.messages, load.bytes, load.consumers.saturating_mul(load.window)).await?;
    let publications = Publications {
        queue: queue.clone(),
        messages: load.messages,
        bytes: load.bytes as usize,
        connections: load.connections,
        in_flight: load.in_flight,
        rate: load.rate,
    };
    let producers = Producers::connect(node, &publications).await?;
    let before = Cost::take(&client, node.url()).await?;
    let start = Instant::now();
    let crew = Crew { consumers: load.consumers, window: load.window, messages: load.messages };
    let bar = progress::bar(if load.consume { "consuming" } else { "publishing" }, load.messages);
    let silent = indicatif::ProgressBar::hidden();
    let consuming = load.consume.then(|| Consuming::begin(node, &queue, crew, start, &bar)).transpose()?;
    let published = publications.publish(&producers, start, if load.consume { &silent } else { &bar }).await?;
    let mut elapsed = start.elapsed();
    let consumed = match consuming {
        Some(consuming) => Some(consuming.end().await?),
        None => None,
    };
    if let Some(consumed) = &consumed {
        elapsed = consumed.end - start;
    }
    let after = Cost::take(&client, node.url()).await?;
    bar.finish_and_clear();
    producers.close().await?;
    let left = client.queues().get(&queue).await.context("look at the queue")?;
    let kept = left.waiting + left.in_flight + left.failed + left.dead;
    client.queues().delete(&queue).await.context("remove the queue")?;
    let expected = if load.consume { 0 } else { load.messages };
    ensure!(kept == expected, "{kept} messages are in the queue, and not {expected}");

    let messages = load.messages as f64;
    let mut figures = vec![
        Figure::count("messages", load.messages),
        Figure::count("bytes", load.bytes.into()),
        Figure::count("connections", load.connections.into()),
        Figure::count("in_flight", load.in_flight.into()),
        Figure::measure("seconds", elapsed.as_secs_f64()),
        Figure::measure("messages_per_second", messages / elapsed.as_secs_f64()),
        Figure::count("syncs", after.queue_syncs - before.queue_syncs),
    ];
    if let Some(rate) = load.rate {
        figures.push(Figure::count("due_per_second", rate.into()));
    }
    if let Some(consumed) = &consumed {
        figures.push(Figure::count("consumers", load.consumers.into()));
        figures.push(Figure::count("redelivered", consumed.redelivered));
    }
    if let Some(cpu) = after.cpu_since(&before) {
        figures.push(Figure::measure("node_cpu_us_per_message", cpu.as_secs_f64() * 1e6 / messages));
    }
    if let Some(bytes) = after.resident_bytes() {
        figures.push(Figure::count("node_resident_bytes", bytes));
    }
    let mut latencies = vec![published.percentiles("published")];
    latencies.extend(consumed.map(|consumed| consumed.latencies.percentiles("delivered")));
    Ok(Measured { workload: "queue", figures, latencies })
}

/// A queue of its own with room for so much.
pub(super) async fn create(client: &Client, messages: u64, bytes: u32, in_flight: u32) -> anyhow::Result<QueueName> {
    let name = format!("bench/queue-{:016x}", fastrand::u64(..));
    let queue = QueueName::parse(&name).context("name the queue")?;
    let settings = Settings {
        in_flight_max: in_flight.clamp(1, limits::IN_FLIGHT_MESSAGES_MAX),
        waiting_max: messages.max(1),
        waiting_bytes_max: messages.saturating_mul(bytes.into()).max(bytes.into()),
        ..Settings::default()
    };
    client.queues().create(&queue, settings).await.context("make a queue")?;
    Ok(queue)
}
