//! A provider dies: its lease is no longer kept alive, and at some time a watcher is told.
//!
//! A lease is kept alive at a third of its time, as etcd's own client does; the provider dies at a random
//! moment between two of these. The kill of its process would change nothing: the server does not look
//! at its connection.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::watching::Watching;
use super::wire::{self, EventType, LeaseKeepAliveRequest};
use crate::measured::{Latencies, Measured};

const PREFIX: &str = "/bench/crash/";

#[derive(Debug, clap::Args)]
pub(crate) struct CrashLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    trials: u32,
    /// In seconds; 1 is raised to the least that the server gives
    #[arg(long)]
    lease: i64,
}

pub(crate) async fn crash(load: &CrashLoad) -> anyhow::Result<Measured> {
    let mut watching = Watching::open(wire::connect(&load.address).await?, PREFIX).await?;
    let mut latencies = Latencies::new()?;
    let mut given = 0;
    for trial in 0..load.trials {
        let channel = wire::connect(&load.address).await?;
        let lease = wire::grant(channel.clone(), load.lease).await?;
        given = lease.ttl;
        let key = format!("{PREFIX}{trial}");
        wire::put(channel.clone(), key.clone(), "up".to_owned(), lease.id).await?;
        let (requests, outgoing) = mpsc::channel(1);
        requests.send(LeaseKeepAliveRequest { id: lease.id }).await.context("keep a lease alive")?;
        let mut kept = wire::keep_alive(channel, ReceiverStream::new(outgoing)).await?;
        kept.message().await.context("keep a lease alive")?.context("keep a lease alive")?;
        // Evenly spread instead of by chance: the middle of each share of the interval between two.
        let third = Duration::from_secs(u64::try_from(given).unwrap_or_default()) / 3;
        tokio::time::sleep(third.mul_f64((f64::from(trial) + 0.5) / f64::from(load.trials))).await;
        drop((requests, kept));
        let died = Instant::now();
        let gone = async {
            loop {
                let response = watching.next().await?;
                let now = Instant::now();
                let is_it = response.events.iter().any(|event| {
                    event.kind() == EventType::Delete && event.kv.as_ref().is_some_and(|kv| kv.key == key.as_bytes())
                });
                if is_it {
                    return anyhow::Ok(now);
                }
            }
        };
        let gone =
            tokio::time::timeout(third * 3 + Duration::from_secs(30), gone).await.context("no removal came")??;
        latencies.record(gone - died);
    }
    Ok(Measured::default().figure("lease_seconds", given as f64).times("killed_to_known", &latencies))
}
