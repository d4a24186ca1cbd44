//! Resident memory of the server: idle, and what connections, watches and keys add. Nothing is taken away
//! in between: its memory would be used again, and what comes next look cheaper.

use super::register::{Facts, lease, put_all};
use super::watching::Watching;
use super::wire;
use crate::measured::Measured;
use crate::process::settled_bytes;

const STREAMS: u32 = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct MemoryLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 1_000)]
    connections: u32,
    #[arg(long, value_delimiter = ',', default_values_t = [5_000])]
    watches: Vec<u32>,
    #[arg(long, value_delimiter = ',', default_values_t = [100_000])]
    instances: Vec<u32>,
}

pub(crate) async fn memory(load: &MemoryLoad) -> anyhow::Result<Measured> {
    let idle = settled_bytes(load.pid).await?;
    let mut measured = Measured::default().figure("idle_bytes", idle as f64);
    let mut connected = Vec::new();
    for _ in 0..load.connections {
        connected.push(Watching::open(wire::connect(&load.address).await?, "/bench/nothing/").await?);
    }
    let resident = settled_bytes(load.pid).await?;
    measured = measured.figure("bytes_per_connection_with_a_watch", each(idle, resident, load.connections));

    let mut watching = Vec::new();
    for _ in 0..STREAMS {
        watching.push(Watching::open(wire::connect(&load.address).await?, "/bench/nothing/").await?);
    }
    let base = settled_bytes(load.pid).await?;
    let mut there = 0;
    for &step in &load.watches {
        for (stream, watching) in (0..STREAMS).zip(&mut watching) {
            let share = |watches: u32| watches / STREAMS + u32::from(stream < watches % STREAMS);
            let names = (share(there)..share(step)).map(|watch| format!("/bench/watched-{}/", watch % 1_000));
            watching.more(names).await?;
        }
        there = step;
        let name = format!("bytes_per_watch_at_{step}");
        measured = measured.figure(name, each(base, settled_bytes(load.pid).await?, step));
    }

    let mut leased = Vec::new();
    for _ in 0..STREAMS {
        leased.push(lease(&load.address).await?);
    }
    let base = settled_bytes(load.pid).await?;
    let mut there = 0;
    for &step in &load.instances {
        put_all(&leased, there..step, 1_000, Facts::Full, 16).await?;
        there = step;
        let name = format!("bytes_per_instance_at_{step}");
        measured = measured.figure(name, each(base, settled_bytes(load.pid).await?, step));
    }
    drop((connected, watching));
    Ok(measured)
}

fn each(before: u64, after: u64, count: u32) -> f64 {
    (after as f64 - before as f64) / f64::from(count)
}
