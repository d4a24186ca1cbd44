//! The parts of `roster bench growth` about registrations and sessions: `register`, `service`, `expire`.

use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use roster_proto::v1::event::Event;
use tokio::task::JoinSet;

use super::fanout::{self, FanoutLoad};
use super::growth::{CONNECTIONS, Found, Meter, PATIENCE, PREFIX, Spent, fill, population, start};
use super::latencies::Latencies;
use super::node::{BenchNode, Grounds};
use super::progress;
use super::register;
use super::registering;
use super::restart;
use super::session::Session;
use super::standing::Standing;
use super::watching::Watching;
use crate::render::Figure;

/// A sample is registered, taken out and registered again, so often.
const REPEATS: u32 = 9;
/// How often a service is listed at each size: as often at all, for the first time costs more than the next.
const LISTINGS: u32 = 100;
/// Streams that one connection carries at most.
const STREAMS_PER_CONNECTION: u32 = 900;
/// The grace of the sessions that are lost together.
const GRACE: Duration = Duration::from_secs(3);

impl Found {
    pub(super) async fn register(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let mut sessions = registering::sessions(&node, CONNECTIONS).await?;
        let mut there = 0;
        for size in self.decades(1_000_000) {
            sessions = fill(population(there, size - there, 1_000), sessions).await?;
            there = size;
            let standing = Standing::new(sessions);
            self.sample(&format!("register_at_{size}"), &node, size, self.size(10_000), 1_000).await?;
            sessions = standing.leave().await?;
        }
        Ok(())
    }

    pub(super) async fn service(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let mut sessions = registering::sessions(&node, CONNECTIONS).await?;
        let mut there = 0;
        for size in self.decades(50_000) {
            sessions = fill(population(there, size - there, 1), sessions).await?;
            there = size;
            let standing = Standing::new(sessions);
            self.sample(&format!("service_at_{size}"), &node, size, self.size(1_000), 1).await?;

            let (channel, service) = (node.connect().await?, format!("{PREFIX}0"));
            let meter = Meter::begin(&node).await?;
            for _ in 0..LISTINGS {
                let listed = restart::list(channel.clone(), &service).await?;
                anyhow::ensure!(listed == u64::from(size), "{listed} instances are listed");
            }
            let spent = meter.read(u64::from(LISTINGS) * u64::from(size)).await?;
            self.spent(&format!("list_at_{size}"), &[spent]);

            let load = FanoutLoad { watchers: 10, connections: 10, instances: size, changes: 100, rate: 20 };
            let delivered = fanout::measure(&load, &node).await?;
            self.latencies.push(delivered.latencies.percentiles(format!("service_change_delivered_at_{size}")));
            sessions = standing.leave().await?;
        }
        Ok(())
    }

    /// Registrations on top of so many that are there.
    async fn sample(
        &mut self,
        name: &str,
        node: &BenchNode,
        there: u32,
        sample: u32,
        services: u32,
    ) -> anyhow::Result<()> {
        // Whether one falls due meanwhile depends on what was filled in before: its cost is that of the log, not of these.
        node.client()?.rebuild().await.context("rebuild before a sample")?;
        let (mut all, mut latencies): (Vec<Spent>, _) = (Vec::new(), Latencies::new()?);
        for _ in 0..REPEATS {
            let sessions = registering::sessions(node, CONNECTIONS).await?;
            let meter = Meter::begin(node).await?;
            let registered = population(there, sample, services).register(sessions, 16, &ProgressBar::hidden()).await?;
            all.push(meter.read(sample.into()).await?);
            latencies.add(&registered.latencies)?;
            register::goodbye(registered.sessions).await?;
        }
        self.spent(name, &all);
        self.latencies.push(latencies.percentiles(name.to_owned()));
        Ok(())
    }

    pub(super) async fn expire(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        self.figures.push(Figure::measure("expire_grace_seconds", GRACE.as_secs_f64()));
        for size in self.decades(100_000) {
            // Nobody answers pings, and the loss is meant.
            let settings = ["sessions.guard-fraction=1.0", "sessions.ping-interval=1h", "sessions.ping-timeout=1h"];
            let node = BenchNode::Own(Box::new(grounds.start(&settings).await?));
            let opened = open(&node, size).await?;
            let mut watching = Watching::open(node.connect().await?, vec![PREFIX.to_owned()]).await?;
            let meter = Meter::begin(&node).await?;
            drop(opened);
            let mut gone = Gone::new(size)?;
            let watch = gone.watch(&mut watching, meter.start());
            tokio::time::timeout(PATIENCE, watch).await.context("not all were removed")??;
            let spent = meter.read(size.into()).await?;
            self.cost(&format!("expire_at_{size}"), &[spent]);
            self.latencies.push(gone.suspect.percentiles(format!("expire_lost_to_suspect_at_{size}")));
            self.latencies.push(gone.removed.percentiles(format!("expire_lost_to_removed_at_{size}")));
        }
        Ok(())
    }
}

/// So many sessions with an instance each.
async fn open(node: &BenchNode, sessions: u32) -> anyhow::Result<Vec<Session>> {
    let connections = sessions.div_ceil(STREAMS_PER_CONNECTION).max(CONNECTIONS.min(sessions));
    let bar = progress::bar("opening sessions", sessions.into());
    let mut lanes = JoinSet::new();
    for lane in 0..connections {
        let channel = node.connect().await?;
        let share = population(0, sessions, 1_000);
        let bar = bar.clone();
        lanes.spawn(async move {
            let mut opened = Vec::new();
            for number in (lane..sessions).step_by(connections as usize) {
                let mut session = Session::open_on(channel.clone(), Some(GRACE)).await?;
                session.register_one(share.registration(number)).await?;
                opened.push(session);
                bar.inc(1);
            }
            anyhow::Ok(opened)
        });
    }
    let mut opened = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        opened.extend(lane.context("a connection failed")??);
    }
    bar.finish_and_clear();
    Ok(opened)
}

/// When each lost session was seen suspect, and removed.
struct Gone {
    left: u32,
    /// A watcher that is reset is told anew what is left; what it is not told was removed.
    loading: bool,
    suspect: Latencies,
    removed: Latencies,
}

impl Gone {
    fn new(sessions: u32) -> anyhow::Result<Self> {
        Ok(Self { left: sessions, loading: false, suspect: Latencies::new()?, removed: Latencies::new()? })
    }

    async fn watch(&mut self, watching: &mut Watching, start: Instant) -> anyhow::Result<()> {
        while self.left > 0 || self.loading {
            let events = watching.events().await?;
            let elapsed = start.elapsed();
            for (_, event) in events {
                match event {
                    Event::Suspect(_) => self.suspect.record(elapsed),
                    Event::Removed(_) => {
                        self.removed.record(elapsed);
                        self.left = self.left.saturating_sub(1);
                    }
                    Event::Reset(_) => (self.left, self.loading) = (0, true),
                    Event::Up(_) => self.left += 1,
                    Event::Loaded(_) => self.loading = false,
                    Event::Bookmark(_)
                    | Event::Changed(_)
                    | Event::Draining(_)
                    | Event::MainChanged(_)
                    | Event::Replaced(_)
                    | Event::Refused(_) => {}
                }
            }
        }
        Ok(())
    }
}
