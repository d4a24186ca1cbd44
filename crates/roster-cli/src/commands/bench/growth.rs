//! `roster bench growth`: the same work with more and more there. Nothing may cost more than in proportion.
//!
//! Each part is done at sizes over two decades and has figures with the size in their name: what one
//! operation took (`_elapsed_us`), and what it cost the node (`_node_cpu_us`). The first is as noisy as the
//! machine; the second is what a size is judged by. The parts stand in `growth_sessions`, `growth_watches`
//! and `growth_queue`.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use roster_client::Client;

use super::cost::Cost;
use super::node::{BenchNode, Grounds};
use super::progress;
use super::registering::{Facts, Population};
use super::session::Session;
use crate::render::{Figure, Measured, Percentiles};

/// Connections of everything that does not say otherwise.
pub(super) const CONNECTIONS: u32 = 64;
/// How long anything may take that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Where everything is registered.
pub(super) const PREFIX: &str = "bench/growth/";
/// In flight on each connection, where registering is not what is measured.
const FILLING: u32 = 500;
/// Between two looks whether a rebuild is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench growth --within 30min
  roster bench growth --part register --part fanout
  roster bench growth --divide-by 100 --output json

Starts a node of its own for each part, and does the same at a hundredth, a tenth and all of the size:
  register  registrations with up to 1,000,000 instances there
  fanout    changes to 1,000 watches, beside up to 10,000 other services
  expire    up to 100,000 sessions lost at once, until a watcher knows that all are gone
  storm     up to 10,000 watchers that arrive at once after a restart of the node
  service   one service of up to 50,000 instances: registered, listed, watched
  prefix    one watch over up to 100,000 services
  queue     messages published and consumed with up to 10,000,000 waiting

What one operation took and what it cost the node are in microseconds. Rebuilds of the log are waited for and
not counted. Lines of --output text: a name and a value; a name, a count, and the median, the 99th percentile
and the maximum in microseconds.")]
pub(crate) struct GrowthLoad {
    /// Only this part; several allowed
    #[arg(long = "part", value_name = "PART", value_enum)]
    parts: Vec<Part>,
    /// All sizes are divided by this, to see whether it works
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    divide_by: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Register,
    Fanout,
    Expire,
    Storm,
    Service,
    Prefix,
    Queue,
}

pub(super) async fn run(load: &GrowthLoad, grounds: Grounds<'_>) -> anyhow::Result<Measured> {
    let mut found = Found { divide_by: load.divide_by, figures: Vec::new(), latencies: Vec::new() };
    let parts = if load.parts.is_empty() { Part::value_variants() } else { &load.parts };
    for part in parts {
        match part {
            Part::Register => found.register(grounds).await.context("part register")?,
            Part::Fanout => found.fanout(grounds).await.context("part fanout")?,
            Part::Expire => found.expire(grounds).await.context("part expire")?,
            Part::Storm => found.storm(grounds).await.context("part storm")?,
            Part::Service => found.service(grounds).await.context("part service")?,
            Part::Prefix => found.prefix(grounds).await.context("part prefix")?,
            Part::Queue => found.queue(grounds).await.context("part queue")?,
        }
    }
    Ok(Measured { workload: "growth", figures: found.figures, latencies: found.latencies })
}

/// What the parts have found so far.
#[derive(Debug)]
pub(super) struct Found {
    divide_by: u32,
    pub(super) figures: Vec<Figure>,
    pub(super) latencies: Vec<Percentiles>,
}

impl Found {
    /// So much, or less when it is only to be seen whether it works.
    pub(super) fn size(&self, full: u32) -> u32 {
        (full / self.divide_by).max(1)
    }

    /// A hundredth, a tenth and all of it.
    pub(super) fn decades(&self, full: u32) -> Vec<u32> {
        let mut sizes = [100, 10, 1].map(|part| self.size(full / part)).to_vec();
        sizes.dedup();
        sizes
    }

    /// What one operation took and cost: the medians of having measured it several times.
    pub(super) fn spent(&mut self, name: &str, spent: &[Spent]) {
        let elapsed = median(spent.iter().map(|spent| spent.elapsed_us).collect());
        self.figures.extend(elapsed.map(|elapsed| Figure::measure(format!("{name}_elapsed_us"), elapsed)));
        self.cost(name, spent);
    }

    /// The same of what waits for something on purpose: how long it took says nothing.
    pub(super) fn cost(&mut self, name: &str, spent: &[Spent]) {
        let cpu = median(spent.iter().filter_map(|spent| spent.cpu_us).collect());
        self.figures.extend(cpu.map(|cpu| Figure::measure(format!("{name}_node_cpu_us"), cpu)));
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Of one operation, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    elapsed_us: f64,
    /// When the node is on this machine.
    cpu_us: Option<f64>,
}

/// Runs from its beginning until it is read.
#[derive(Debug)]
pub(super) struct Meter {
    client: Client,
    url: String,
    before: Cost,
    start: Instant,
}

impl Meter {
    /// Begins when the node is at rest: a rebuild that the filling began is no cost of what is measured.
    ///
    /// # Errors
    /// When the node does not answer, or does not come to rest.
    pub(super) async fn begin(node: &BenchNode) -> anyhow::Result<Self> {
        let client = node.client()?;
        tokio::time::timeout(PATIENCE, rest(&client)).await.context("a rebuild did not end in time")??;
        let before = Cost::take(&client, node.url()).await?;
        Ok(Self { client, url: node.url().to_owned(), before, start: Instant::now() })
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Of the node when it began.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.before.resident_bytes()
    }

    /// What each of so many operations took.
    ///
    /// # Errors
    /// When the node does not answer.
    pub(super) async fn read(&self, operations: u64) -> anyhow::Result<Spent> {
        let elapsed = self.start.elapsed();
        let after = Cost::take(&self.client, &self.url).await?;
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / operations as f64;
        Ok(Spent { elapsed_us: each(elapsed), cpu_us: after.cpu_since(&self.before).map(each) })
    }
}

async fn rest(client: &Client) -> anyhow::Result<()> {
    loop {
        let status = client.status().await.context("ask for the status of the node")?;
        if [status.log, status.queue_log].into_iter().flatten().all(|log| !log.rebuilding) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

pub(super) fn population(first: u32, instances: u32, services: u32) -> Population {
    Population { prefix: PREFIX, first, instances, services, facts: Facts::Bare }
}

pub(super) async fn start(grounds: Grounds<'_>) -> anyhow::Result<BenchNode> {
    Ok(BenchNode::Own(Box::new(grounds.start(&[]).await?)))
}

pub(super) async fn fill(population: Population, sessions: Vec<Session>) -> anyhow::Result<Vec<Session>> {
    let bar = progress::bar("filling", population.instances.into());
    let registered = population.register(sessions, FILLING, &bar).await?;
    bar.finish_and_clear();
    Ok(registered.sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(divide_by: u32) -> Found {
        Found { divide_by, figures: Vec::new(), latencies: Vec::new() }
    }

    #[test]
    fn sizes_are_two_decades_apart_and_none_comes_twice() {
        assert_eq!(found(1).decades(50_000), [500, 5_000, 50_000]);
        assert_eq!(found(1_000).decades(10_000), [1, 10]);
    }

    #[test]
    fn what_was_measured_several_times_is_told_by_its_median() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
