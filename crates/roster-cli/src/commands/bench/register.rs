//! `roster bench register`: many registrations at once, each acknowledged by itself.
//!
//! Each connection has one session and keeps a number of registrations in flight: what was answered in
//! one message is replaced by as many in the next. A registration is timed from when it is handed to
//! the stream until its own acknowledgement is read.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use roster_proto::v1;
use tokio::task::JoinSet;

use super::cost::Cost;
use super::latencies::Latencies;
use super::node::BenchNode;
use super::progress;
use super::session::{self, Session};
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
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
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
    let mut sessions = Vec::new();
    for _ in 0..load.connections {
        sessions.push(Session::open(node).await?);
    }
    let bar = progress::bar("registering", load.instances.into());
    let before = Cost::take(&client, node.url()).await?;
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for (lane, session) in (0..).zip(sessions) {
        let registrations = Registrations {
            next: lane,
            step: load.connections,
            load: Numbers { instances: load.instances, services: load.services },
        };
        lanes.spawn(drive(session, registrations, load.in_flight, bar.clone()));
    }
    let mut latencies = Latencies::new()?;
    let mut sessions = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        let (session, lane) = lane.context("a connection failed")??;
        latencies.add(&lane)?;
        sessions.push(session);
    }
    let elapsed = start.elapsed();
    let after = Cost::take(&client, node.url()).await?;
    bar.finish_and_clear();
    ensure!(latencies.count() == u64::from(load.instances), "{} were acknowledged", latencies.count());
    let mut farewells: JoinSet<_> = sessions.into_iter().map(Session::goodbye).collect();
    while let Some(farewell) = farewells.join_next().await {
        farewell.context("a connection failed")??;
    }
    Ok(report(load, elapsed, &latencies, &before, &after))
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

/// Registers all of its share, `in_flight` at a time.
async fn drive(
    mut session: Session,
    mut registrations: Registrations,
    in_flight: u32,
    bar: ProgressBar,
) -> anyhow::Result<(Session, Latencies)> {
    let mut latencies = Latencies::new()?;
    // By request id, which counts from 0.
    let mut handed_over: Vec<Instant> = Vec::new();
    let mut outstanding = 0;
    let mut room = in_flight as usize;
    loop {
        let now = Instant::now();
        let operations: Vec<v1::Operation> = registrations
            .by_ref()
            .take(room)
            .map(|registration| {
                handed_over.push(now);
                session::register(handed_over.len() as u64 - 1, registration)
            })
            .collect();
        outstanding += operations.len();
        if outstanding == 0 {
            return Ok((session, latencies));
        }
        if !operations.is_empty() {
            session.operate(operations).await?;
        }
        let results = session.results().await?;
        let now = Instant::now();
        for result in &results {
            session::active(result)?;
            let since = usize::try_from(result.request_id).ok().and_then(|index| handed_over.get(index));
            latencies.record(now - *since.context("an answer to what was not asked")?);
        }
        room = results.len();
        outstanding = outstanding.checked_sub(room).context("more answers than questions")?;
        bar.inc(room as u64);
    }
}

/// The share of one connection: every `step`th instance.
#[derive(Debug)]
struct Registrations {
    next: u32,
    step: u32,
    load: Numbers,
}

#[derive(Debug, Clone, Copy)]
struct Numbers {
    instances: u32,
    services: u32,
}

impl Iterator for Registrations {
    type Item = v1::Registration;

    fn next(&mut self) -> Option<v1::Registration> {
        let number = self.next;
        if number >= self.load.instances {
            return None;
        }
        self.next = number.saturating_add(self.step);
        let [_, high, middle, low] = number.to_be_bytes();
        Some(v1::Registration {
            service: format!("bench/register-{}", number % self.load.services),
            host: format!("10.{high}.{middle}.{low}"),
            port: 8080,
            kind: v1::Kind::Member.into(),
            zone: "bench".to_owned(),
            ..v1::Registration::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_connections_are_all_instances_once() {
        let load = Numbers { instances: 1_000, services: 7 };
        let shares = (0..64).flat_map(|next| Registrations { next, step: 64, load });
        let mut hosts: Vec<String> = shares.map(|registration| registration.host).collect();
        hosts.sort();
        hosts.dedup();
        assert_eq!(hosts.len(), 1_000);
    }
}
