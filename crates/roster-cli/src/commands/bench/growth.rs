//! `roster bench growth`: the same work with more and more there. Nothing may cost more than in proportion.
//!
//! Each part has a fresh node of its own, and figures with the size in their name.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use roster_proto::v1::event::Event;
use tokio::task::JoinSet;

use super::cost::Cost;
use super::fanout::{self, FanoutLoad};
use super::growth_queue;
use super::latencies::Latencies;
use super::node::{BenchNode, Grounds};
use super::progress;
use super::registering::{self, Facts, Population};
use super::restart;
use super::session::Session;
use super::standing::Standing;
use super::watching::Watching;
use crate::render::{Figure, Measured, Percentiles};

/// Connections of everything that does not say otherwise.
const CONNECTIONS: u32 = 64;
/// Streams that one connection carries at most.
const STREAMS_PER_CONNECTION: u32 = 900;
/// In flight on each connection, where registering is not what is measured.
const FILLING: u32 = 500;
/// The grace of the sessions that are lost together.
const GRACE: Duration = Duration::from_secs(5);
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench growth --within 30min
  roster bench growth --part register --part fanout
  roster bench growth --divide-by 100 --output json

Starts a fresh node for each part:
  register  registrations with 10,000, 100,000 and 1,000,000 instances there
  fanout    changes to 1,000 watches, alone and with 10,000 other services
  expire    100,000 sessions lost at once, until a watcher knows that all are gone
  storm     10,000 watchers that arrive at once after a restart of the node
  service   one service of 50,000 instances: registered, listed, watched
  prefix    one watch over 100,000 services
  queue     messages published and consumed with 10,000, 100,000, 1,000,000 and 10,000,000 waiting

Lines of --output text: a name and a value; a name, a count, and the median, the 99th percentile and the
maximum in microseconds.")]
pub(crate) struct GrowthLoad {
    /// Only this part; several allowed
    #[arg(long = "part", value_name = "PART", value_enum)]
    parts: Vec<Part>,
    /// All sizes are divided by this, to see whether it works
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    divide_by: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Register,
    Fanout,
    Expire,
    Storm,
    Service,
    Prefix,
    Queue,
}

pub(super) async fn run(load: &GrowthLoad, grounds: Grounds<'_>) -> anyhow::Result<Measured> {
    let mut found = Found { divide_by: load.divide_by, ..Found::default() };
    let parts = if load.parts.is_empty() { Part::value_variants() } else { &load.parts };
    for part in parts {
        match part {
            Part::Register => found.register(grounds).await.context("part register")?,
            Part::Fanout => found.fanout(grounds).await.context("part fanout")?,
            Part::Expire => found.expire(grounds).await.context("part expire")?,
            Part::Storm => found.storm(grounds).await.context("part storm")?,
            Part::Service => found.service(grounds).await.context("part service")?,
            Part::Prefix => found.prefix(grounds).await.context("part prefix")?,
            Part::Queue => found.queue(grounds).await.context("part queue")?,
        }
    }
    Ok(Measured { workload: "growth", figures: found.figures, latencies: found.latencies })
}

#[derive(Debug, Default)]
struct Found {
    divide_by: u32,
    figures: Vec<Figure>,
    latencies: Vec<Percentiles>,
}

impl Found {
    fn size(&self, full: u32) -> u32 {
        (full / self.divide_by).max(1)
    }

    fn cpu(&mut self, name: String, before: &Cost, after: &Cost, each: u32) {
        if let Some(cpu) = after.cpu_since(before) {
            self.figures.push(Figure::measure(name, cpu.as_secs_f64() * 1e6 / f64::from(each)));
        }
    }

    async fn register(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let client = node.client()?;
        let mut sessions = registering::sessions(&node, CONNECTIONS).await?;
        let sample = self.size(50_000);
        let mut there = 0;
        for step in [10_000, 100_000, 1_000_000].map(|step| self.size(step)) {
            let more = population(there, step.saturating_sub(there), 1_000);
            sessions = fill(more, sessions).await?;
            there = there.max(step);
            let bar = progress::bar("registering", sample.into());
            let before = Cost::take(&client, node.url()).await?;
            let registered = population(there, sample, 1_000).register(sessions, 16, &bar).await?;
            let after = Cost::take(&client, node.url()).await?;
            bar.finish_and_clear();
            there += sample;
            sessions = registered.sessions;
            let rate = f64::from(sample) / registered.elapsed.as_secs_f64();
            self.figures.push(Figure::measure(format!("register_at_{step}_per_second"), rate));
            self.cpu(format!("register_at_{step}_node_cpu_us"), &before, &after, sample);
            self.latencies.push(registered.latencies.percentiles(format!("register_at_{step}")));
        }
        Ok(())
    }

    async fn fanout(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let watchers = self.size(1_000);
        let load = FanoutLoad { watchers, connections: CONNECTIONS, instances: 20, changes: 100, rate: 5 };
        for services in [0, self.size(10_000)] {
            let node = start(grounds).await?;
            let sessions = registering::sessions(&node, 4).await?;
            let standing = Standing::new(fill(population(0, services, services.max(1)), sessions).await?);
            let delivered = fanout::measure(&load, &node).await?;
            let name = format!("fanout_with_{services}_services");
            if let Some(cpu) = delivered.cpu {
                let each = cpu.as_secs_f64() * 1e6 / delivered.latencies.count() as f64;
                self.figures.push(Figure::measure(format!("{name}_node_cpu_us"), each));
            }
            self.latencies.push(delivered.latencies.percentiles(name));
            standing.leave().await?;
        }
        Ok(())
    }

    async fn expire(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        // Nobody answers pings, and the loss is meant.
        let settings = ["sessions.guard-fraction=1.0", "sessions.ping-interval=1h", "sessions.ping-timeout=1h"];
        let node = BenchNode::Own(Box::new(grounds.start(&settings).await?));
        let client = node.client()?;
        let sessions = self.size(100_000);
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
        let mut watching = Watching::open(node.connect().await?, vec![PREFIX.to_owned()]).await?;
        let before = Cost::take(&client, node.url()).await?;
        let start = Instant::now();
        drop(opened);
        let mut gone = Gone::new(sessions)?;
        tokio::time::timeout(PATIENCE, gone.watch(&mut watching, start)).await.context("not all were removed")??;
        let after = Cost::take(&client, node.url()).await?;
        self.figures.push(Figure::count("expire_sessions", sessions.into()));
        self.figures.push(Figure::measure("expire_grace_seconds", GRACE.as_secs_f64()));
        self.cpu("expire_node_cpu_us_per_session".to_owned(), &before, &after, sessions);
        self.latencies.push(gone.suspect.percentiles("expire_lost_to_suspect"));
        self.latencies.push(gone.removed.percentiles("expire_lost_to_removed"));
        Ok(())
    }

    async fn storm(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let mut node = start(grounds).await?;
        let (watchers, services) = (self.size(10_000), self.size(10_000));
        let instances = services * 20;
        let sessions = registering::sessions(&node, CONNECTIONS).await?;
        let sessions = fill(population(0, instances, services), sessions).await?;
        node.kill().await?;
        node.start_again().await?;
        drop(sessions);
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS.min(watchers) {
            channels.push(node.connect().await?);
        }
        let client = node.client()?;
        let before = Cost::take(&client, node.url()).await?;
        let start = Instant::now();
        let mut arriving = JoinSet::new();
        for watcher in 0..watchers {
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
            anyhow::ensure!(watching.known == 20, "a watcher knows {} instances", watching.known);
            whole.record(elapsed);
            arrived.push(watching);
        }
        let after = Cost::take(&client, node.url()).await?;
        self.figures.push(Figure::count("storm_watchers", watchers.into()));
        self.cpu("storm_node_cpu_us_per_watcher".to_owned(), &before, &after, watchers);
        self.latencies.push(whole.percentiles("storm_arrival_to_whole_state"));
        Ok(())
    }

    async fn service(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let client = node.client()?;
        let instances = self.size(50_000);
        let sessions = registering::sessions(&node, CONNECTIONS).await?;
        let bar = progress::bar("registering", instances.into());
        let before = Cost::take(&client, node.url()).await?;
        let registered = population(0, instances, 1).register(sessions, 16, &bar).await?;
        let after = Cost::take(&client, node.url()).await?;
        bar.finish_and_clear();
        self.figures.push(Figure::count("service_instances", instances.into()));
        let rate = f64::from(instances) / registered.elapsed.as_secs_f64();
        self.figures.push(Figure::measure("service_registrations_per_second", rate));
        self.cpu("service_node_cpu_us_per_registration".to_owned(), &before, &after, instances);
        self.latencies.push(registered.latencies.percentiles("service_registered"));
        let standing = Standing::new(registered.sessions);

        let start = Instant::now();
        let listed = restart::list(node.connect().await?, &format!("{PREFIX}0")).await?;
        anyhow::ensure!(listed == u64::from(instances), "{listed} instances are listed");
        self.figures.push(Figure::measure("service_listed_seconds", start.elapsed().as_secs_f64()));

        let load = FanoutLoad { watchers: 10, connections: 10, instances, changes: 100, rate: 20 };
        let delivered = fanout::measure(&load, &node).await?;
        self.latencies.push(delivered.latencies.percentiles("service_change_delivered"));
        standing.leave().await?;
        Ok(())
    }

    async fn queue(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let sizes = [10_000, 100_000, 1_000_000, 10_000_000].map(|size| self.size(size).into());
        for step in growth_queue::measure(&node, &sizes, self.size(200_000).into()).await? {
            self.figures.extend(step.figures);
            self.latencies.extend(step.latencies);
        }
        Ok(())
    }

    async fn prefix(&mut self, grounds: Grounds<'_>) -> anyhow::Result<()> {
        let node = start(grounds).await?;
        let client = node.client()?;
        let services = self.size(100_000);
        let sessions = registering::sessions(&node, CONNECTIONS).await?;
        let mut sessions = fill(population(0, services, services), sessions).await?;
        let channel = node.connect().await?;
        let before = Cost::take(&client, node.url()).await?;
        let start = Instant::now();
        let mut watching = Watching::open(channel, vec![PREFIX.to_owned()]).await?;
        let elapsed = start.elapsed();
        let after = Cost::take(&client, node.url()).await?;
        anyhow::ensure!(watching.known == u64::from(services), "the watch knows {} instances", watching.known);
        self.figures.push(Figure::count("prefix_services", services.into()));
        self.figures.push(Figure::measure("prefix_whole_state_seconds", elapsed.as_secs_f64()));
        self.cpu("prefix_node_cpu_us_per_service".to_owned(), &before, &after, services);

        // A newcomer at a time, from its call to the watch.
        let mut latencies = Latencies::new()?;
        let session = sessions.first_mut().context("no session")?;
        for number in 0..100 {
            let registration = population(0, services, services).registration(services + number);
            let host = registration.host.clone();
            let called = Instant::now();
            session.register_one(registration).await?;
            let seen = async {
                loop {
                    let events = watching.events().await?;
                    let now = Instant::now();
                    let is_it = |event: &Event| {
                        let Event::Up(instance) = event else { return false };
                        instance.registration.as_ref().is_some_and(|registration| registration.host == host)
                    };
                    if events.iter().any(|(_, event)| is_it(event)) {
                        return anyhow::Ok(now);
                    }
                }
            };
            let seen = tokio::time::timeout(PATIENCE, seen).await.context("a change was never delivered")??;
            latencies.record(seen - called);
        }
        self.latencies.push(latencies.percentiles("prefix_change_delivered"));
        Ok(())
    }
}

/// Where everything is registered.
const PREFIX: &str = "bench/growth/";

fn population(first: u32, instances: u32, services: u32) -> Population {
    Population { prefix: PREFIX, first, instances, services, facts: Facts::Bare }
}

async fn start(grounds: Grounds<'_>) -> anyhow::Result<BenchNode> {
    Ok(BenchNode::Own(Box::new(grounds.start(&[]).await?)))
}

async fn fill(population: Population, sessions: Vec<Session>) -> anyhow::Result<Vec<Session>> {
    let bar = progress::bar("filling", population.instances.into());
    let registered = population.register(sessions, FILLING, &bar).await?;
    bar.finish_and_clear();
    Ok(registered.sessions)
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
