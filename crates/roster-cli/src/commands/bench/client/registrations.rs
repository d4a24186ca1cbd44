//! A process that registers many instances through one registrar.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use roster_client::{Announcement, Handle, State};

use super::super::node::BenchNode;
use super::answer::Answer;
use super::usage;
use crate::render::Figure;

pub(super) async fn measure(node: &BenchNode, instances: u32, idle: Duration) -> anyhow::Result<Answer> {
    let registrar = node.client()?.registrar().start();
    // What a connection and a session take is not counted.
    let first = registrar.register(announcement(u32::MAX)?);
    active(&first).await?;
    let before = usage::settled().await?;

    let (start, cpu) = (Instant::now(), usage::cpu());
    let announcements = (0..instances).map(announcement).collect::<anyhow::Result<Vec<_>>>()?;
    let handles: Vec<Handle> = announcements.into_iter().map(|announcement| registrar.register(announcement)).collect();
    for handle in &handles {
        active(handle).await?;
    }
    let (elapsed, spent) = (start.elapsed(), usage::cpu() - cpu);
    let after = usage::settled().await?;

    let idle_cpu = usage::cpu_us_per_second(idle).await;
    registrar.close().await.context("say goodbye")?;

    let each = f64::from(instances);
    let figures = vec![
        Figure::count("registered_instances", instances.into()),
        Figure::measure("registering_ms", elapsed.as_secs_f64() * 1e3),
        Figure::measure("registering_cpu_us_per_instance", spent.as_secs_f64() * 1e6 / each),
        Figure::measure("registered_bytes_per_instance", (after as f64 - before as f64) / each),
        Figure::measure("registered_idle_cpu_us_per_second", idle_cpu),
    ];
    Ok(Answer { figures, latencies: Vec::new() })
}

fn announcement(number: u32) -> anyhow::Result<Announcement> {
    let [_, high, middle, low] = number.to_be_bytes();
    let announcement = Announcement::new("bench/client-registered", &format!("10.{high}.{middle}.{low}"), 8080)?;
    let announcement = announcement.zone("bench").tag("blue").tag("http");
    Ok(announcement.metadata("build", &number.to_string()).metadata("protocol", "grpc"))
}

async fn active(handle: &Handle) -> anyhow::Result<()> {
    let state = handle.settled().await;
    ensure!(matches!(state, State::Active { .. }), "a registration is not active, but {state:?}");
    Ok(())
}
