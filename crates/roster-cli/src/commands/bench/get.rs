//! `roster bench get`: reads all instances of a service, one call for each answer.
//!
//! Without `--rate` every connection keeps its calls in flight, and a call is timed from its start. With
//! it, calls are due at fixed times, and a call is timed from when it was due: what waits because an
//! earlier one is slow counts in full.
//!
//! The client is as lean as the load on peers, for both share the processors with the server (`roster-load`). Of an
//! answer as much is read as shows that it is whole: each instance, its id and what it registered as.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use indicatif::ProgressBar;
use roster_load::{Caller, Connection, Method};
use roster_proto::v1;
use tokio::task::JoinSet;

use super::cost::Cost;
use super::latencies::Latencies;
use super::node::BenchNode;
use super::progress;
use super::register;
use super::registering::{self, Facts, Population};
use super::standing::Standing;
use crate::render::{Figure, Measured};

const PREFIX: &str = "bench/get-";
const METHOD: &str = "/roster.v1.Registry/ListInstances";
/// The bar moves after so many answers of a lane.
const STRIDE: u32 = 32;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench get
  roster bench get --rate 5000 --requests 50000
  roster bench get --server http://127.0.0.1:7400 --output json

Registers instances, then lists the instances of one service after the other with unary calls, and checks
that each answer is whole. With --rate a call is timed from when it was due, give or take a millisecond;
without it, as many calls as may be in flight always are. Lines of --output text: a name and a value; a
name, a count, and the median, the 99th percentile and the maximum in microseconds.")]
pub(crate) struct GetLoad {
    /// How many calls there are
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    requests: u32,
    /// How many services there are
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    services: u32,
    /// How many instances each of them has
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    instances: u32,
    /// Over how many connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How many calls of each connection are under way at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    in_flight: u32,
    /// So many calls a second, whether or not they are answered in time [default: as many as get through]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

pub(super) async fn run(load: &GetLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    let client = node.client()?;
    let instances = load.services.checked_mul(load.instances).context("too many instances")?;
    let population = Population { prefix: PREFIX, first: 0, instances, services: load.services, facts: Facts::Full };
    let bar = progress::bar("registering", instances.into());
    let registered = population.register(registering::sessions(node, 4).await?, 500, &bar).await?;
    bar.finish_and_clear();
    let standing = Standing::new(registered.sessions);

    let address = node.url().trim_start_matches("http://").trim_end_matches('/');
    let method = Method::new(address, METHOD)?;
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(address).await?);
    }
    let bar = progress::bar("reading", load.requests.into());
    let lanes = load.connections * load.in_flight;
    let before = Cost::take(&client, node.url()).await?;
    let start = Instant::now();
    let mut readers = JoinSet::new();
    for (first, connection) in (0..).zip(connections) {
        let calls = Calls { next: first, step: lanes, requests: load.requests, start, rate: load.rate };
        let latencies = Arc::new(Mutex::new(Latencies::new()?));
        let reader = Reader {
            method: method.clone(),
            services: load.services,
            instances: load.instances,
            latencies: latencies.clone(),
            bar: bar.clone(),
        };
        let step = load.connections;
        let running = connection.run(load.in_flight, move |lane, caller| {
            reader.clone().read(caller, Calls { next: calls.next + lane * step, ..calls })
        });
        readers.spawn(async move { running.await.map(|_| latencies) });
    }
    let mut latencies = Latencies::new()?;
    while let Some(reader) = readers.join_next().await {
        let of_one = reader.context("a reader failed")??;
        latencies.add(&of_one.lock().unwrap_or_else(PoisonError::into_inner))?;
    }
    let elapsed = start.elapsed();
    let after = Cost::take(&client, node.url()).await?;
    bar.finish_and_clear();
    register::goodbye(standing.leave().await?).await?;

    let requests = f64::from(load.requests);
    let mut figures = vec![
        Figure::count("requests", load.requests.into()),
        Figure::count("services", load.services.into()),
        Figure::count("instances_each", load.instances.into()),
        Figure::count("connections", load.connections.into()),
        Figure::count("in_flight", load.in_flight.into()),
        Figure::measure("seconds", elapsed.as_secs_f64()),
        Figure::measure("reads_per_second", requests / elapsed.as_secs_f64()),
    ];
    if let Some(rate) = load.rate {
        figures.push(Figure::count("due_per_second", rate.into()));
    }
    if let Some(cpu) = after.cpu_since(&before) {
        figures.push(Figure::measure("node_cpu_us_per_read", cpu.as_secs_f64() * 1e6 / requests));
    }
    if let Some(bytes) = after.resident_bytes() {
        figures.push(Figure::count("node_resident_bytes", bytes));
    }
    Ok(Measured { workload: "get", figures, latencies: vec![latencies.percentiles("read")] })
}

/// The calls of one lane: every `step`th, each with the time when it is due.
#[derive(Debug, Clone, Copy)]
struct Calls {
    next: u32,
    step: u32,
    requests: u32,
    start: Instant,
    rate: Option<u32>,
}

impl Iterator for Calls {
    type Item = (u32, Option<Instant>);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next;
        if number >= self.requests {
            return None;
        }
        self.next = number.saturating_add(self.step);
        let after = self.rate.map(|rate| Duration::from_secs_f64(f64::from(number) / f64::from(rate)));
        Some((number, after.map(|after| self.start + after)))
    }
}

/// Reads on one connection.
#[derive(Debug, Clone)]
struct Reader {
    method: Method,
    services: u32,
    instances: u32,
    /// Of all lanes of the connection.
    latencies: Arc<Mutex<Latencies>>,
    bar: ProgressBar,
}

impl Reader {
    async fn read(self, mut caller: Caller, calls: Calls) -> anyhow::Result<()> {
        let mut read = 0;
        for (number, due) in calls {
            if let Some(due) = due {
                tokio::time::sleep_until(due.into()).await;
            }
            let since = due.unwrap_or_else(Instant::now);
            let selector = format!("{PREFIX}{}", number % self.services);
            let request = v1::ListInstancesRequest { selector, ..v1::ListInstancesRequest::default() };
            let answer: Answer = caller.unary(&self.method, &request).await.context("list a service")?;
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).record(since.elapsed());
            answer.check(self.instances)?;
            read += 1;
            if read % STRIDE == 0 {
                self.bar.inc(STRIDE.into());
            }
        }
        self.bar.inc((read % STRIDE).into());
        Ok(())
    }
}

/// As much of a `ListInstancesResponse` as shows that it is whole.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, repeated, tag = "1")]
    instances: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    position: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(uint64, tag = "1")]
    id: u64,
    /// An encoded `Registration`.
    #[prost(bytes = "bytes", tag = "2")]
    registration: Bytes,
}

impl Answer {
    fn check(&self, instances: u32) -> anyhow::Result<()> {
        let whole = self.instances.iter().filter(|entry| entry.id > 0 && !entry.registration.is_empty()).count();
        ensure!(whole == instances as usize, "{whole} whole instances in an answer");
        ensure!(self.position > 0, "an answer without a position");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_due_whether_or_not_the_one_before_was_answered() {
        let start = Instant::now();
        let calls = Calls { next: 1, step: 2, requests: 6, start, rate: Some(10) };
        let due: Vec<_> = calls.map(|(number, due)| (number, due.map(|due| (due - start).as_millis()))).collect();
        assert_eq!(due, [(1, Some(100)), (3, Some(300)), (5, Some(500))]);
    }

    #[test]
    fn an_answer_that_lacks_something_is_not_whole() {
        let whole = Entry { id: 7, registration: Bytes::from_static(b"facts") };
        let answer = |entries: &[&Entry], position| Answer {
            instances: entries.iter().map(|entry| (*entry).clone()).collect(),
            position,
        };
        assert!(answer(&[&whole, &whole], 9).check(2).is_ok());
        let (nameless, bare) =
            (Entry { id: 0, ..whole.clone() }, Entry { registration: Bytes::new(), ..whole.clone() });
        for (entries, position) in
            [(&[&whole][..], 9), (&[&whole, &nameless], 9), (&[&whole, &bare], 9), (&[&whole, &whole], 0)]
        {
            assert!(answer(entries, position).check(2).is_err());
        }
    }
}
