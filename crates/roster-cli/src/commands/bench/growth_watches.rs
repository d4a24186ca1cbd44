//! The parts of `roster bench growth` about watches: `fanout`, `storm`, `prefix`.

use std::time::Instant;

use anyhow::Context;
use roster_proto::v1::event::Event;
use tokio::task::JoinSet;

use super::fanout::{self, FanoutLoad};
use super::growth::{CONNECTIONS, Found, Meter, PATIENCE, PREFIX, fill, population, start};
use super::latencies::Latencies;
use super::node::Grounds;
use super::registering;
use super::standing::Standing;
use super::watching::Watching;
use crate::render::Figure;

/// Instances of each service that watchers arrive at.
const INSTANCES: u32 = 20;
/// Newcomers below a watched prefix, one after the other.
const NEWCOMERS: u32 = 100;
/// A prefix is watched anew so often at each size.
const WATCHED: u32 = 7;

impl Found {
    pub(super) async fn fanout(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let watchers = self.size(1_000);
        let load = FanoutLoad { watchers, connections: CONNECTIONS, instances: 20, changes: 100, rate: 10 };
        for services in self.decades(10_000) {
            let node = start(grounds).await?;
            let sessions = registering::sessions(&node, 4).await?;
            let standing = Standing::new(fill(population(0, services, services), sessions).await?);
            let delivered = fanout::measure(&load, &node).await?;
            let name = format!("fanout_at_{services}");
            if let Some(cpu) = delivered.cpu {
                let each = cpu.as_secs_f64() * 1e6 / delivered.latencies.count() as f64;
                self.figures.push(Figure::measure(format!("{name}_node_cpu_us"), each));
            }
            self.latencies.push(delivered.latencies.percentiles(name));
            standing.leave().await?;
        }
        Ok(())
    }

    pub(super) async fn storm(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let mut node = start(grounds).await?;
        let services = self.size(10_000);
        let sessions = registering::sessions(&node, CONNECTIONS).await?;
        let sessions = fill(population(0, services * INSTANCES, services), sessions).await?;
        for size in self.decades(10_000) {
            node.kill().await?;
            node.start_again().await?;
            let mut channels = Vec::new();
            for _ in 0..CONNECTIONS.min(size) {
                channels.push(node.connect().await?);
            }
            let meter = Meter::begin(&node).await?;
            let start = meter.start();
            let mut arriving = JoinSet::new();
            for watcher in 0..size {
                let channel = channels[watcher as usize % channels.len()].clone();
                let selectors = vec![format!("{PREFIX}{}", watcher % services)];
                arriving.spawn(async move {
                    let watching = Watching::open(channel, selectors).await?;
                    anyhow::Ok((start.elapsed(), watching))
                });
            }
            let (mut whole, mut arrived) = (Latencies::new()?, Vec::new());
            while let Some(watcher) = arriving.join_next().await {
                let (elapsed, watching) = watcher.context("a watcher failed")??;
                let known = watching.known;
                anyhow::ensure!(known == u64::from(INSTANCES), "a watcher knows {known} instances");
                whole.record(elapsed);
                arrived.push(watching);
            }
            let spent = meter.read(size.into()).await?;
            self.spent(&format!("storm_at_{size}"), &[spent]);
            self.latencies.push(whole.percentiles(format!("storm_arrival_to_whole_state_at_{size}")));
        }
        drop(sessions);
        Ok(())
    }

    pub(super) async fn prefix(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let mut sessions = registering::sessions(&node, CONNECTIONS).await?;
        let (mut there, mut newcomers) = (0, 0);
        for size in self.decades(100_000) {
            sessions = fill(population(there, size - there, size), sessions).await?;
            there = size;
            let expected = u64::from(size + newcomers);
            let channel = node.connect().await?;
            let mut all = Vec::new();
            for _ in 0..WATCHED {
                let meter = Meter::begin(&node).await?;
                let watching = Watching::open(channel.clone(), vec![PREFIX.to_owned()]).await?;
                anyhow::ensure!(watching.known == expected, "the watch knows {} instances", watching.known);
                all.push(meter.read(expected).await?);
            }
            self.spent(&format!("prefix_at_{size}"), &all);

            // A newcomer at a time, from its call to the watch.
            let mut watching = Watching::open(channel, vec![PREFIX.to_owned()]).await?;
            let mut latencies = Latencies::new()?;
            let session = sessions.first_mut().context("no session")?;
            let meter = Meter::begin(&node).await?;
            for number in 0..NEWCOMERS {
                // From the far end: the numbers before are filled.
                let registration = population(0, 0, u32::MAX).registration(u32::MAX - 1 - newcomers - number);
                let host = registration.host.clone();
                let called = Instant::now();
                session.register_one(registration).await?;
                let seen = tokio::time::timeout(PATIENCE, up(&mut watching, &host)).await;
                latencies.record(seen.context("a change was never delivered")?? - called);
            }
            newcomers += NEWCOMERS;
            let spent = meter.read(NEWCOMERS.into()).await?;
            self.spent(&format!("prefix_change_at_{size}"), &[spent]);
            self.latencies.push(latencies.percentiles(format!("prefix_change_delivered_at_{size}")));
        }
        Ok(())
    }
}

/// When the watch was told of an instance at this host.
async fn up(watching: &mut Watching, host: &str) -> anyhow::Result<Instant> {
    loop {
        let events = watching.events().await?;
        let now = Instant::now();
        let is_it = |event: &Event| {
            let Event::Up(instance) = event else { return false };
            instance.registration.as_ref().is_some_and(|registration| registration.host == host)
        };
        if events.iter().any(|(_, event)| is_it(event)) {
            return Ok(now);
        }
    }
}
