//! `roster bench memory`: what a node keeps in memory, idle and for each connection, watch and instance.
//!
//! Each thing is added on top of what is there already, and the growth is divided by how many there are.
//! Nothing is taken away in between: its memory would be used again, and what comes next look cheaper. So
//! the parts are only exact on a node that did nothing before.

use std::time::Duration;

use anyhow::{Context, bail};
use roster_client::Client;

use super::cost::Cost;
use super::node::BenchNode;
use super::progress;
use super::register;
use super::registering::{self, Facts, Population};
use super::standing::Standing;
use super::watching::Watching;
use crate::exit::{Ending, Exit};
use crate::render::{Figure, Measured};

/// Two looks at the memory that follow each other by this much and differ by less than a percent are one.
const SETTLING: Duration = Duration::from_millis(300);
const LOOKS_MAX: u32 = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench memory
  roster bench memory --instances 100000,1000000 --watches 5000,100000
  roster bench memory --output json

Looks at the resident memory of the node when it is idle, then with connections that each have a watch
stream, then with watches on 64 connections, then with instances that have two tags and two metadata pairs.
It is read from /proc: the node must be on this machine. Lines of --output text: a name and a value.")]
pub(crate) struct MemoryLoad {
    /// How many connections are opened
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    connections: u32,
    /// How many watches are there, in rising steps
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [5_000, 100_000])]
    watches: Vec<u32>,
    /// How many instances are there, in rising steps
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    instances: Vec<u32>,
}

/// Connections that carry the watches, and those that carry the instances.
const STREAMS: u32 = 64;

pub(super) async fn run(load: &MemoryLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    let rising = |steps: &[u32]| steps.first().is_some_and(|first| *first > 0) && steps.is_sorted_by(|a, b| a < b);
    if !rising(&load.watches) || !rising(&load.instances) {
        return Err(Ending::error(Exit::Usage, "steps must rise, and the first be 1 or more"));
    }
    let client = node.client()?;
    let idle = settled(&client, node).await?;
    let mut figures = vec![Figure::count("idle_bytes", idle)];

    let bar = progress::bar("connecting", load.connections.into());
    let mut connected = Vec::new();
    for _ in 0..load.connections {
        connected.push(Watching::open(node.connect().await?, vec!["bench/memory-nothing".to_owned()]).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let resident = settled(&client, node).await?;
    figures.push(Figure::count("connections", load.connections.into()));
    figures.push(each("bytes_per_connection_with_a_watch", idle, resident, load.connections));

    let mut watching = Vec::new();
    for _ in 0..STREAMS {
        watching.push(Watching::open(node.connect().await?, vec!["bench/memory-nothing".to_owned()]).await?);
    }
    let base = settled(&client, node).await?;
    let bar = progress::bar("watching", load.watches.iter().copied().max().unwrap_or_default().into());
    let mut there = 0;
    for &step in &load.watches {
        for (stream, watching) in (0..STREAMS).zip(&mut watching) {
            let share = |watches: u32| watches / STREAMS + u32::from(stream < watches % STREAMS);
            let selectors = (share(there)..share(step)).map(|watch| format!("bench/memory-{}", watch % 1_000));
            watching.subscribe(selectors.collect()).await?;
        }
        bar.set_position(step.into());
        there = step;
        figures.push(each(format!("bytes_per_watch_at_{step}"), base, settled(&client, node).await?, step));
    }
    bar.finish_and_clear();

    let mut sessions = registering::sessions(node, STREAMS).await?;
    let base = settled(&client, node).await?;
    let bar = progress::bar("registering", load.instances.iter().copied().max().unwrap_or_default().into());
    let mut there = 0;
    for &step in &load.instances {
        let population = Population {
            prefix: "bench/memory-held-",
            first: there,
            instances: step - there,
            services: 1_000,
            facts: Facts::Full,
        };
        let registered = population.register(sessions, 100, &bar).await?;
        there = step;
        let standing = Standing::new(registered.sessions);
        let resident = settled(&client, node).await?;
        figures.push(each(format!("bytes_per_instance_at_{step}"), base, resident, step));
        figures.push(Figure::count(format!("node_resident_bytes_at_{step}"), resident));
        sessions = standing.leave().await?;
    }
    bar.finish_and_clear();
    register::goodbye(sessions).await?;
    drop((connected, watching));
    Ok(Measured { workload: "memory", figures, latencies: Vec::new() })
}

fn each(name: impl Into<std::borrow::Cow<'static, str>>, before: u64, after: u64, count: u32) -> Figure {
    Figure::measure(name, (after as f64 - before as f64) / f64::from(count))
}

/// The resident memory, when it has stopped changing.
async fn settled(client: &Client, node: &BenchNode) -> anyhow::Result<u64> {
    let mut last = None;
    for _ in 0..LOOKS_MAX {
        let bytes = Cost::take(client, node.url()).await?.resident_bytes();
        let bytes = bytes.context("the node is not on this machine: its memory cannot be seen")?;
        if last.is_some_and(|last: u64| last.abs_diff(bytes) * 100 < bytes) {
            return Ok(bytes);
        }
        last = Some(bytes);
        tokio::time::sleep(SETTLING).await;
    }
    bail!("the memory of the node does not settle; is somebody else using it?")
}
