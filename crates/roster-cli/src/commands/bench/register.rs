//! `roster bench register`: many registrations at once, each acknowledged by itself.

use std::time::Duration;

use tokio::task::JoinSet;

use super::cost::Cost;
use super::latencies::Latencies;
use super::node::BenchNode;
use super::progress;
use super::registering::{self, Facts, Population, Registered};
use super::session::Session;
use crate::render::{Figure, Measured};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench register
  roster bench register --instances 10000 --services 100 --output json
  roster bench register --server http://127.0.0.1:7400

Without --server it starts a node of its own, in a folder for temporary files. That folder should be on
the disk that matters: see --own-data-dir. Lines of --output text: a name and a value; a name, a count,
and the median, the 99th percentile and the maximum in microseconds.")]
pub(crate) struct RegisterLoad {
    /// How many instances are registered
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    instances: u32,
    /// Over how many services
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    services: u32,
    /// Over how many connections, with one session each
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How many of each connection are under way at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
}

pub(super) async fn run(load: &RegisterLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    let client = node.client()?;
    let sessions = registering::sessions(node, load.connections).await?;
    let population = Population {
        prefix: "bench/register-",
        first: 0,
        instances: load.instances,
        services: load.services,
        facts: Facts::Bare,
    };
    let bar = progress::bar("registering", load.instances.into());
    let before = Cost::take(&client, node.url()).await?;
    let Registered { elapsed, latencies, sessions } = population.register(sessions, load.in_flight, &bar).await?;
    let after = Cost::take(&client, node.url()).await?;
    bar.finish_and_clear();
    goodbye(sessions).await?;
    Ok(report(load, elapsed, &latencies, &before, &after))
}

/// Takes out what these have registered.
pub(super) async fn goodbye(sessions: Vec<Session>) -> anyhow::Result<()> {
    let mut farewells: JoinSet<_> = sessions.into_iter().map(Session::goodbye).collect();
    while let Some(farewell) = farewells.join_next().await {
        farewell??;
    }
    Ok(())
}

fn report(load: &RegisterLoad, elapsed: Duration, latencies: &Latencies, before: &Cost, after: &Cost) -> Measured {
    let registrations = f64::from(load.instances);
    let mut figures = vec![
        Figure::count("instances", load.instances.into()),
        Figure::count("services", load.services.into()),
        Figure::count("connections", load.connections.into()),
        Figure::count("in_flight", load.in_flight.into()),
        Figure::measure("seconds", elapsed.as_secs_f64()),
        Figure::measure("registrations_per_second", registrations / elapsed.as_secs_f64()),
        Figure::count("syncs", after.syncs - before.syncs),
        Figure::count("batches", after.batches - before.batches),
        Figure::count("commands", after.commands - before.commands),
    ];
    if let Some(cpu) = after.cpu_since(before) {
        figures.push(Figure::measure("node_cpu_us_per_registration", cpu.as_secs_f64() * 1e6 / registrations));
    }
    if let Some(bytes) = after.resident_bytes() {
        figures.push(Figure::count("node_resident_bytes", bytes));
    }
    Measured { workload: "register", figures, latencies: vec![latencies.percentiles("acknowledged")] }
}
