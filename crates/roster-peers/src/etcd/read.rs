//! Reading: the keys of a service, over and over; and all keys, when a server has just started.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::register::{lease, put_all};
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
    put_all(&leased, 0..load.services * load.instances, load.services, 500).await?;
    let mut channels = Vec::new();
    for _ in 0..load.connections {
        channels.push(wire::connect(&load.address).await?);
    }
    let before = process::cpu(load.pid)?;
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    let step = load.connections * load.in_flight;
    for lane in 0..step {
        let channel = channels[(lane % load.connections) as usize].clone();
        let (requests, services, instances) = (load.requests, load.services, load.instances as usize);
        lanes.spawn(async move {
            let mut latencies = Latencies::new()?;
            for number in (lane..requests).step_by(step as usize) {
                let prefix = format!("{ROOT}service-{}/", number % services);
                let called = Instant::now();
                let answer = wire::range(channel.clone(), all_below(&prefix)).await?;
                latencies.record(called.elapsed());
                ensure!(answer.kvs.len() == instances, "{} keys in an answer", answer.kvs.len());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Latencies::new()?;
    while let Some(lane) = lanes.join_next().await {
        latencies.add(&lane.context("a lane failed")??)?;
    }
    let elapsed = start.elapsed();
    let cpu = process::cpu(load.pid)?.saturating_sub(before);
    let requests = f64::from(load.requests);
    Ok(Measured::default()
        .figure("per_second", requests / elapsed.as_secs_f64())
        .figure("cpu_us_each", cpu.as_secs_f64() * 1e6 / requests)
        .times("read", &latencies))
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
