//! The queue part of `roster bench growth`: publishing and consuming with more and more waiting.
//!
//! What is consumed is at the head of the queue and what is published at its end, so that both ends of a
//! large queue are used. As much is consumed as was published, so the queue keeps its size.

use std::time::Instant;

use anyhow::Context;
use indicatif::ProgressBar;

use super::consuming::{Consuming, Crew};
use super::cost::Cost;
use super::growth::{Found, Meter, start};
use super::latencies::Latencies;
use super::node::Grounds;
use super::progress;
use super::publishing::{Producers, Publications};
use super::queue;
use crate::render::Figure;

/// The length of a message.
const BYTES: u32 = 100;
/// In flight of all connections, where publishing is measured and where it is not.
const MEASURED: u32 = 1_024;
const FILLING: u32 = 32_768;
const CREW: Crew = Crew { consumers: 4, window: 256, messages: 0 };
/// A sample is published and consumed so often.
const REPEATS: u32 = 3;

impl Found {
    pub(super) async fn queue(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let client = node.client()?;
        let (sizes, sample) = (self.decades(10_000_000), u64::from(self.size(100_000)));
        let largest = sizes.iter().copied().max().unwrap_or_default();
        let queue =
            queue::create(&client, u64::from(largest) + 2 * sample, BYTES, CREW.consumers * CREW.window).await?;
        let publications = Publications {
            queue,
            messages: sample,
            bytes: BYTES as usize,
            connections: 4,
            in_flight: MEASURED,
            rate: None,
        };
        let hidden = ProgressBar::hidden();
        let idle = Cost::take(&client, node.url()).await?.resident_bytes();
        for size in sizes {
            let there = client.queues().get(&publications.queue).await.context("look at the queue")?;
            let messages = u64::from(size).saturating_sub(there.waiting + there.failed);
            let filling = Publications { messages, in_flight: FILLING, ..publications.clone() };
            let bar = progress::bar("filling", messages);
            // Before the clock of the messages begins.
            let producers = Producers::connect(&node, &publications).await?;
            filling.publish(&producers, Instant::now(), &bar).await?;
            bar.finish_and_clear();

            let (mut published, mut consumed, mut latencies) = (Vec::new(), Vec::new(), Latencies::new()?);
            for repeat in 0..REPEATS {
                let meter = Meter::begin(&node).await?;
                if repeat == 0
                    && let (Some(idle), Some(bytes)) = (idle, meter.resident_bytes())
                {
                    let each = (bytes as f64 - idle as f64) / f64::from(size);
                    self.figures.push(Figure::measure(format!("queue_at_{size}_resident_bytes_per_message"), each));
                }
                latencies.add(&publications.publish(&producers, meter.start(), &hidden).await?)?;
                published.push(meter.read(sample).await?);

                let meter = Meter::begin(&node).await?;
                let crew = Crew { messages: sample, ..CREW };
                Consuming::begin(&node, &publications.queue, crew, meter.start(), &hidden)?.end().await?;
                consumed.push(meter.read(sample).await?);
            }
            producers.close().await?;
            self.spent(&format!("publish_at_{size}"), &published);
            self.spent(&format!("consume_at_{size}"), &consumed);
            self.latencies.push(latencies.percentiles(format!("publish_at_{size}")));
        }
        Ok(())
    }
}
