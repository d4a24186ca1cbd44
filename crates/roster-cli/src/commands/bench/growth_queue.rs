//! The queue part of `roster bench growth`: publishing and consuming with more and more waiting.
//!
//! What is consumed is at the head of the queue and what is published at its end, so that both ends of a
//! large queue are used.

use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use roster_client::Client;

use super::consuming::{Consuming, Crew};
use super::cost::Cost;
use super::node::BenchNode;
use super::progress;
use super::publishing::{Producers, Publications};
use super::queue;
use crate::render::{Figure, Percentiles};

/// The length of a message.
const BYTES: u32 = 100;
/// In flight of all connections, where publishing is measured and where it is not.
const MEASURED: u32 = 1_024;
const FILLING: u32 = 32_768;
const CREW: Crew = Crew { consumers: 4, window: 256, messages: 0 };

/// How long a rebuild may take, and between two looks whether it is done.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What was found with so many messages there.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) figures: Vec<Figure>,
    pub(super) latencies: Vec<Percentiles>,
}

/// Fills a queue to each of these sizes, and at each publishes and consumes `sample` messages.
///
/// # Errors
/// When the node cannot be reached, or does not take so much.
pub(super) async fn measure(node: &BenchNode, sizes: &[u64], sample: u64) -> anyhow::Result<Vec<Step>> {
    let client = node.client()?;
    let largest = sizes.iter().copied().max().unwrap_or_default();
    let queue = queue::create(&client, largest + 2 * sample, BYTES, CREW.consumers * CREW.window).await?;
    let (bytes, hidden) = (BYTES as usize, ProgressBar::hidden());
    let publications = Publications { queue, messages: sample, bytes, connections: 4, in_flight: MEASURED, rate: None };
    let idle = Cost::take(&client, node.url()).await?.resident_bytes();
    let mut steps = Vec::new();
    for &size in sizes {
        let there = client.queues().get(&publications.queue).await.context("look at the queue")?;
        let there = there.waiting + there.failed;
        let filling = Publications { messages: size.saturating_sub(there), in_flight: FILLING, ..publications.clone() };
        let bar = progress::bar("filling", filling.messages);
        let start = Instant::now();
        let producers = Producers::connect(node, &publications).await?;
        filling.publish(&producers, start, &bar).await?;
        bar.finish_and_clear();
        rebuilt(&client).await?;
        let full = Cost::take(&client, node.url()).await?;
        let mut figures = Vec::new();
        if let (Some(idle), Some(bytes)) = (idle, full.resident_bytes()) {
            let each = (bytes as f64 - idle as f64) / size.max(1) as f64;
            figures.push(Figure::measure(format!("queue_at_{size}_resident_bytes_per_message"), each));
        }

        let start = Instant::now();
        let published = publications.publish(&producers, start, &hidden).await?;
        let elapsed = start.elapsed();
        let after = Cost::take(&client, node.url()).await?;
        figures.extend(cost(&format!("publish_at_{size}"), sample, elapsed, &full, &after));
        producers.close().await?;

        let start = Instant::now();
        let crew = Crew { messages: sample, ..CREW };
        let consumed = Consuming::begin(node, &publications.queue, crew, start, &hidden)?.end().await?;
        let done = Cost::take(&client, node.url()).await?;
        figures.extend(cost(&format!("consume_at_{size}"), sample, consumed.end - start, &after, &done));
        let latencies = vec![published.percentiles(format!("publish_at_{size}"))];
        steps.push(Step { figures, latencies });
    }
    Ok(steps)
}

/// Waits for the rebuild that the filling may have begun: its cost is no cost of what is measured.
async fn rebuilt(client: &Client) -> anyhow::Result<()> {
    let waiting = async {
        while client.status().await?.queue_log.is_some_and(|log| log.rebuilding) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, waiting).await.context("the rebuild did not end in time")?
}

fn cost(name: &str, sample: u64, elapsed: Duration, before: &Cost, after: &Cost) -> Vec<Figure> {
    let mut figures = vec![Figure::measure(format!("{name}_per_second"), sample as f64 / elapsed.as_secs_f64())];
    if let Some(cpu) = after.cpu_since(before) {
        figures.push(Figure::measure(format!("{name}_node_cpu_us"), cpu.as_secs_f64() * 1e6 / sample as f64));
    }
    figures
}
