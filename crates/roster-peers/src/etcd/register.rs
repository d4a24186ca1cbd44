//! Puts under leases, each acknowledged by itself.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::wire;
use crate::measured::{Latencies, Measured};
use crate::process;

/// Longer than any workload takes.
const LEASE_SECONDS: i64 = 3_600;

#[derive(Debug, clap::Args)]
pub(crate) struct RegisterLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 100_000)]
    instances: u32,
    #[arg(long, default_value_t = 1_000)]
    services: u32,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    #[arg(long, default_value_t = 16)]
    in_flight: u32,
}

pub(crate) async fn register(load: &RegisterLoad) -> anyhow::Result<Measured> {
    let mut leased = Vec::new();
    for _ in 0..load.connections {
        leased.push(lease(&load.address).await?);
    }
    let before = process::cpu(load.pid)?;
    let (elapsed, latencies) = put_all(&leased, 0..load.instances, load.services, Facts::Bare, load.in_flight).await?;
    let cpu = process::cpu(load.pid)?.saturating_sub(before);
    let instances = f64::from(load.instances);
    Ok(Measured::default()
        .figure("per_second", instances / elapsed.as_secs_f64())
        .figure("cpu_us_each", cpu.as_secs_f64() * 1e6 / instances)
        .times("acknowledged", &latencies))
}

/// A connection with a lease.
pub(super) async fn lease(address: &str) -> anyhow::Result<(Channel, i64)> {
    let channel = wire::connect(address).await?;
    let lease = wire::grant(channel.clone(), LEASE_SECONDS).await?;
    Ok((channel, lease.id))
}

/// What an instance says about itself, as a registration of `roster bench` does in the same workload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Facts {
    /// Where it is.
    Bare,
    /// Two tags and two metadata pairs beside.
    Full,
}

impl Facts {
    fn value(self, number: u32) -> String {
        let [_, high, middle, low] = number.to_be_bytes();
        let facts = match self {
            Self::Bare => String::new(),
            Self::Full => {
                format!(r#","tags":["blue","http"],"metadata":{{"build":"{number}","protocol":"grpc"}}"#)
            }
        };
        format!(r#"{{"host":"10.{high}.{middle}.{low}","port":8080,"zone":"bench"{facts}}}"#)
    }
}

pub(super) fn key(number: u32, services: u32) -> String {
    format!("/bench/service-{}/{number}", number % services)
}

pub(super) async fn put_all(
    leased: &[(Channel, i64)],
    numbers: std::ops::Range<u32>,
    services: u32,
    facts: Facts,
    in_flight: u32,
) -> anyhow::Result<(Duration, Latencies)> {
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    let step = leased.len() * in_flight as usize;
    for lane in 0..step {
        let (channel, lease) = leased[lane % leased.len()].clone();
        let numbers = numbers.clone().skip(lane).step_by(step);
        lanes.spawn(async move {
            let mut latencies = Latencies::new()?;
            for number in numbers {
                let called = Instant::now();
                wire::put(channel.clone(), key(number, services), facts.value(number), lease).await?;
                latencies.record(called.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Latencies::new()?;
    while let Some(lane) = lanes.join_next().await {
        latencies.add(&lane.context("a lane failed")??)?;
    }
    Ok((start.elapsed(), latencies))
}
