//! A process that publishes, and one with many producers that have nothing to publish.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use roster_client::queue::{QueueName, Raw};

use super::super::node::BenchNode;
use super::super::publishing::{Producers, Publications};
use super::answer::Answer;
use super::usage;
use crate::render::Figure;

pub(super) const BYTES: usize = 100;

pub(super) async fn measure(
    node: &BenchNode,
    queue: &str,
    messages: u64,
    in_flight: u32,
    producers: u32,
    idle: Duration,
) -> anyhow::Result<Answer> {
    let queue = QueueName::parse(queue).context("name the queue")?;
    let publications =
        Publications { queue: queue.clone(), messages, bytes: BYTES, connections: 1, in_flight, rate: None };
    let publishing = Producers::connect(node, &publications).await?;
    let before = usage::settled().await?;
    usage::forget_peak()?;
    let (start, cpu) = (Instant::now(), usage::cpu());
    publications.publish(&publishing, start, &indicatif::ProgressBar::hidden()).await?;
    let spent = usage::cpu() - cpu;
    let per_second = messages as f64 / start.elapsed().as_secs_f64();
    let peak = usage::peak()?;
    publishing.close().await?;

    let client = node.client()?;
    let another = || client.producer::<Bytes>(queue.clone()).format::<Raw>().start();
    let first = another();
    first.last_sequence().await.context("begin to publish")?;
    let alone = usage::settled().await?;
    let others: Vec<_> = (1..producers).map(|_| another()).collect();
    for producer in &others {
        producer.last_sequence().await.context("begin to publish")?;
    }
    let together = usage::settled().await?;
    let idle_cpu = usage::cpu_us_per_second(idle).await;

    let figures = vec![
        Figure::count("published_messages", messages),
        Figure::measure("publishing_messages_per_second", per_second),
        Figure::measure("publishing_cpu_us_per_message", spent.as_secs_f64() * 1e6 / messages as f64),
        Figure::count("publishing_bytes_before", before),
        Figure::count("publishing_bytes_at_most", peak),
        Figure::count("producers", producers.into()),
        Figure::measure("bytes_per_idle_producer", (together as f64 - alone as f64) / f64::from(producers - 1)),
        Figure::measure("producers_idle_cpu_us_per_second", idle_cpu),
    ];
    Ok(Answer { figures, latencies: Vec::new() })
}
