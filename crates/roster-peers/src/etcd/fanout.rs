//! Changes of a service of a few keys, delivered to all who watch its prefix.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use super::watching::Watching;
use super::wire;
use crate::measured::{Latencies, Measured};
use crate::process;

const PREFIX: &str = "/bench/fanout/";
/// Beside the time that the changes take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct FanoutLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 1_000)]
    watchers: u32,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    #[arg(long, default_value_t = 20)]
    instances: u32,
    #[arg(long, default_value_t = 100)]
    changes: u32,
    #[arg(long, default_value_t = 5)]
    rate: u32,
}

pub(crate) async fn fanout(load: &FanoutLoad) -> anyhow::Result<Measured> {
    let channel = wire::connect(&load.address).await?;
    for instance in 0..load.instances {
        wire::put(channel.clone(), format!("{PREFIX}{instance}"), "before".to_owned(), 0).await?;
    }
    let streams = load.connections.min(load.watchers);
    let mut watchings = Vec::new();
    for stream in 0..streams {
        let watches = load.watchers / streams + u32::from(stream < load.watchers % streams);
        let mut watching = Watching::open(wire::connect(&load.address).await?, PREFIX).await?;
        watching.more((1..watches).map(|_| PREFIX.to_owned())).await?;
        watchings.push((watching, watches));
    }
    let before = process::cpu(load.pid)?;
    let interval = Duration::from_secs(1) / load.rate;
    let start = Instant::now() + interval;
    let mut readers = JoinSet::new();
    for (mut watching, watches) in watchings {
        let expected = u64::from(watches) * u64::from(load.changes);
        readers.spawn(async move {
            let mut latencies = Latencies::new()?;
            while latencies.count() < expected {
                let response = watching.next().await?;
                let now = Instant::now();
                for kv in response.events.into_iter().filter_map(|event| event.kv) {
                    let change: u32 = String::from_utf8_lossy(&kv.value).parse().context("not a change")?;
                    latencies.record(now.saturating_duration_since(start + interval * change));
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let runtime = tokio::runtime::Handle::current();
    let (changes, instances) = (load.changes, load.instances);
    // A thread of its own: the timers of the runtime are a millisecond coarse, and wait for its other tasks.
    let calling = tokio::task::spawn_blocking(move || {
        let mut calls = Vec::new();
        for change in 0..changes {
            thread::sleep((start + interval * change).saturating_duration_since(Instant::now()));
            let key = format!("{PREFIX}{}", change % instances);
            calls.push(runtime.spawn(wire::put(channel.clone(), key, change.to_string(), 0)));
        }
        calls
    });
    let mut latencies = Latencies::new()?;
    let gathering = async {
        while let Some(reader) = readers.join_next().await {
            latencies.add(&reader.context("a reader failed")??)?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE + interval * load.changes, gathering).await.context("not all was delivered")??;
    for call in calling.await.context("the caller failed")? {
        call.await.context("a change failed")??;
    }
    let cpu = process::cpu(load.pid)?.saturating_sub(before);
    Ok(Measured::default()
        .figure("cpu_us_each", cpu.as_secs_f64() * 1e6 / latencies.count() as f64)
        .times("delivered", &latencies))
}
