//! Reading: the keys of a service, over and over; and all keys, when a server has just started.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use roster_load::{Connection, Method};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::register::{Facts, lease, put_all};
use super::wire::{self, RangeRequest};
use crate::measured::{Latencies, Measured};
use crate::process;

const ROOT: &str = "/bench/";
const PAGE: i64 = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct GetLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 200_000)]
    requests: u32,
    #[arg(long, default_value_t = 1_000)]
    services: u32,
    #[arg(long, default_value_t = 20)]
    instances: u32,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    #[arg(long, default_value_t = 8)]
    in_flight: u32,
}

pub(crate) async fn get(load: &GetLoad) -> anyhow::Result<Measured> {
    let leased = [lease(&load.address).await?];
    put_all(&leased, 0..load.services * load.instances, load.services, Facts::Full, 500).await?;
    let method = Method::new(&load.address, wire::RANGE)?;
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(&load.address).await?);
    }
    let before = process::cpu(load.pid)?;
    let start = Instant::now();
    let mut readers = JoinSet::new();
    let step = (load.connections * load.in_flight) as usize;
    for (first, connection) in (0..).zip(connections) {
        let latencies = Arc::new(Mutex::new(Latencies::new()?));
        let (requests, services, instances) = (load.requests, load.services, load.instances as usize);
        let (shared, method, connections) = (latencies.clone(), method.clone(), load.connections);
        let running = connection.run(load.in_flight, move |lane, mut caller| {
            let (latencies, method) = (shared.clone(), method.clone());
            async move {
                for number in (first + lane * connections..requests).step_by(step) {
                    let prefix = format!("{ROOT}service-{}/", number % services);
                    let called = Instant::now();
                    let answer: Answer = caller.unary(&method, &all_below(&prefix)).await.context("read a range")?;
                    latencies.lock().unwrap_or_else(PoisonError::into_inner).record(called.elapsed());
                    answer.check(instances)?;
                }
                anyhow::Ok(())
            }
        });
        readers.spawn(async move { running.await.map(|_| latencies) });
    }
    let mut latencies = Latencies::new()?;
    while let Some(reader) = readers.join_next().await {
        let of_one = reader.context("a reader failed")??;
        latencies.add(&of_one.lock().unwrap_or_else(PoisonError::into_inner))?;
    }
    let elapsed = start.elapsed();
    let cpu = process::cpu(load.pid)?.saturating_sub(before);
    let requests = f64::from(load.requests);
    Ok(Measured::default()
        .figure("per_second", requests / elapsed.as_secs_f64())
        .figure("cpu_us_each", cpu.as_secs_f64() * 1e6 / requests)
        .times("read", &latencies))
}

/// As much of an answer as shows that it is whole; no more is read of one of a node.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

impl Answer {
    fn check(&self, keys: usize) -> anyhow::Result<()> {
        let whole = self.entries.iter().filter(|entry| !entry.key.is_empty() && !entry.value.is_empty()).count();
        ensure!(whole == keys, "{whole} whole keys in an answer");
        Ok(())
    }
}

fn all_below(prefix: &str) -> RangeRequest {
    let (key, range_end) = (prefix.as_bytes().to_vec(), wire::range_end(prefix));
    RangeRequest { key, range_end, limit: 0, count_only: false }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AnswerLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    instances: u32,
    /// When the server was started, in microseconds since 1970
    #[arg(long)]
    since: u64,
    /// For so many seconds
    #[arg(long, default_value_t = 300)]
    within: u64,
}

pub(crate) async fn answer(load: &AnswerLoad) -> anyhow::Result<Measured> {
    let waiting = tokio::time::timeout(Duration::from_secs(load.within), counted(load));
    let channel = waiting.await.context("the server did not count all keys in time")?;
    let full = since(load)?;
    let (mut key, mut read) = (ROOT.as_bytes().to_vec(), 0);
    loop {
        let request = RangeRequest { key, range_end: wire::range_end(ROOT), limit: PAGE, count_only: false };
        let page = wire::range(channel.clone(), request).await?;
        read += page.kvs.len();
        let Some(last) = page.kvs.last().filter(|_| page.more) else { break };
        key = [&last.key[..], &[0]].concat();
    }
    ensure!(read == load.instances as usize, "{read} keys were read, not {}", load.instances);
    let all = since(load)?;
    let (mut answered, mut listed) = (Latencies::new()?, Latencies::new()?);
    answered.record(full);
    listed.record(all);
    Ok(Measured::default().times("start_to_full_answer", &answered).times("start_to_all_read", &listed))
}

/// A connection to a server that counts all keys.
async fn counted(load: &AnswerLoad) -> Channel {
    loop {
        if let Ok(channel) = wire::connect(&load.address).await {
            let request = RangeRequest { count_only: true, ..all_below(ROOT) };
            let answer = wire::range(channel.clone(), request).await;
            if answer.is_ok_and(|answer| answer.count == i64::from(load.instances)) {
                return channel;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn since(load: &AnswerLoad) -> anyhow::Result<Duration> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("a clock before 1970")?;
    now.checked_sub(Duration::from_micros(load.since)).context("the server starts in the future")
}
