//! Which parts are measured, and how large; what each part finds at the node when it begins.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use roster_client::Client;
use roster_proto::v1;
use tokio::sync::mpsc;

use super::super::node::BenchNode;
use super::super::progress;
use super::super::publishing::{Producers, Publications};
use super::super::queue;
use super::super::session::{self, Session};
use super::answer::{Answer, Errand, Schedule, now};
use super::producers::BYTES;
use super::watches::{PREFIX, WEIGHT_BASE};
use super::worker_process::WorkerProcess;
use crate::commands::words;
use crate::exit::{Ending, Exit};
use crate::render::Measured;

/// Registrations in one message.
const REGISTRATIONS: u32 = 5_000;
/// A consumer has this window by default, and so many of them may wait at the same queue.
const IN_FLIGHT_MAX: u32 = 1_000_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench client
  roster bench client --part watches --services 1000 --instances 20
  roster bench client --part watches --instances 0
  roster bench client --part producers --part consumers --messages 1000000 --output json

Each part runs in a process of its own, which uses the SDK and does next to nothing else: its memory and
processor time are what is measured. Watches: of so many services with so many instances each, and then
changes on a schedule, each timed from when it was due until the watch told it. Registrations: through one
registrar. Producers and consumers: one that works, and then many on one connection that have nothing to do.
Lines of --output text: a name and a value; a name, a count, and the median, the 99th percentile and the
maximum in microseconds.")]
pub(crate) struct ClientLoad {
    /// What is measured; several allowed [default: all]
    #[arg(long = "part", value_name = "PART", value_enum)]
    parts: Vec<Part>,
    /// How many services are watched
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    services: u32,
    /// How many instances each of them has
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    instances: u32,
    /// How many times one of them changes
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=900_000))]
    changes: u32,
    /// How many changes a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How many instances are registered
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    registrations: u32,
    /// How many messages are published, and how many are consumed
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: u64,
    /// How many of them are published at a time
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// How many producers, and how many consumers, one client has in the end
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    fellows: u32,
    /// For how long nothing happens
    #[arg(long, value_name = "SPAN", default_value = "20s", value_parser = words::span)]
    idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Watches,
    Registrations,
    Producers,
    Consumers,
}

pub(in super::super) async fn run(load: &ClientLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    if load.idle.is_zero() {
        return Err(Ending::error(Exit::Usage, "with --idle 0 nothing can be seen of being idle"));
    }
    let parts = if load.parts.is_empty() { Part::value_variants() } else { &load.parts };
    let mut measured = Measured { workload: "client", figures: Vec::new(), latencies: Vec::new() };
    let bar = progress::bar("measuring", parts.len() as u64);
    for part in parts {
        let Answer { figures, latencies } = match part {
            Part::Watches => load.watches(node).await?,
            Part::Registrations => {
                let errand = Errand::Registrations { instances: load.registrations, idle: load.idle };
                WorkerProcess::start(node.url(), &errand)?.end().await?
            }
            Part::Producers => load.producers(node).await?,
            Part::Consumers => load.consumers(node).await?,
        };
        measured.figures.extend(figures);
        measured.latencies.extend(latencies);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(measured)
}

impl ClientLoad {
    async fn watches(&self, node: &BenchNode) -> anyhow::Result<Answer> {
        let mut session = Session::open(node).await?;
        let instances = self.services * self.instances;
        for first in (0..instances).step_by(REGISTRATIONS as usize) {
            let numbers = first..(first + REGISTRATIONS).min(instances);
            let mut registered = numbers.len();
            session.operate(numbers.map(|number| self.registration(number, WEIGHT_BASE)).collect()).await?;
            while registered > 0 {
                let results = session.results().await?;
                results.iter().try_for_each(|result| session::active(result).map(|_| ()))?;
                registered = registered.saturating_sub(results.len());
            }
        }
        let changes = if instances == 0 { 0 } else { self.changes };
        let errand = Errand::Watches { services: self.services, instances: self.instances, changes, idle: self.idle };
        let mut process = WorkerProcess::start(node.url(), &errand)?;
        let schedule = async {
            if changes > 0 {
                let ready: String = process.hear().await?;
                ensure!(ready == "ready", "the measured process said {ready:?}");
                let schedule = Schedule::from_now(Duration::from_secs(1) / self.rate);
                process.say(&schedule).await?;
                return Ok(Some(schedule));
            }
            anyhow::Ok(None)
        };
        let schedule = attend(&mut session, schedule).await?;
        if let Some(schedule) = schedule {
            self.change(&mut session, schedule).await?;
        }
        let answer = attend(&mut session, process.end()).await?;
        session.goodbye().await?;
        Ok(answer)
    }

    /// Calls every change at its time; returns when the node has made them.
    async fn change(&self, session: &mut Session, schedule: Schedule) -> anyhow::Result<()> {
        // A thread of its own: the timers of the runtime are a millisecond coarse, and wait for its other tasks.
        let (ticks, mut due) = mpsc::channel(1_024);
        let changes = self.changes;
        let clock = tokio::task::spawn_blocking(move || {
            for number in 0..changes {
                std::thread::sleep(schedule.due(number).saturating_sub(now()));
                if ticks.blocking_send(number).is_err() {
                    return;
                }
            }
        });
        let mut made = 0;
        while made < changes as usize {
            tokio::select! {
                Some(number) = due.recv() => {
                    // The weight counts from one above the first: nothing changes nothing.
                    let change = self.registration(number, WEIGHT_BASE + 1 + number);
                    session.operate(vec![change]).await?;
                }
                results = session.results() => {
                    let results = results?;
                    results.iter().try_for_each(|result| session::active(result).map(|_| ()))?;
                    made += results.len();
                }
            }
        }
        clock.await.context("the clock failed")
    }

    /// Changes go from service to service.
    fn registration(&self, number: u32, weight: u32) -> v1::Operation {
        let instance = number % (self.services * self.instances);
        let [_, high, middle, low] = instance.to_be_bytes();
        let pair = |key: &str, value: String| v1::MetadataEntry { key: key.to_owned(), value };
        let registration = v1::Registration {
            service: format!("{PREFIX}{}", instance % self.services),
            host: format!("10.{high}.{middle}.{low}"),
            port: 8080,
            kind: v1::Kind::Member.into(),
            weight: Some(weight),
            zone: "bench".to_owned(),
            tags: vec!["blue".to_owned(), "http".to_owned()],
            metadata: vec![pair("build", instance.to_string()), pair("protocol", "grpc".to_owned())],
            ..v1::Registration::default()
        };
        session::register(number.into(), registration)
    }

    async fn producers(&self, node: &BenchNode) -> anyhow::Result<Answer> {
        let client = node.client()?;
        let name = queue::create(&client, self.messages, BYTES as u32, 1).await?;
        let errand = Errand::Producers {
            queue: name.as_str().to_owned(),
            messages: self.messages,
            in_flight: self.in_flight,
            producers: self.fellows,
            idle: self.idle,
        };
        let answer = WorkerProcess::start(node.url(), &errand)?.end().await?;
        let kept = client.queues().get(&name).await.context("look at the queue")?.waiting;
        client.queues().delete(&name).await.context("remove the queue")?;
        ensure!(kept == self.messages, "{kept} messages are in the queue, and not {}", self.messages);
        Ok(answer)
    }

    async fn consumers(&self, node: &BenchNode) -> anyhow::Result<Answer> {
        let client: Client = node.client()?;
        let name = queue::create(&client, self.messages, BYTES as u32, IN_FLIGHT_MAX).await?;
        let publications = Publications {
            queue: name.clone(),
            messages: self.messages,
            bytes: BYTES,
            connections: 1,
            in_flight: 8_192,
            rate: None,
        };
        let producers = Producers::connect(node, &publications).await?;
        publications.publish(&producers, Instant::now(), &indicatif::ProgressBar::hidden()).await?;
        producers.close().await?;
        let errand = Errand::Consumers {
            queue: name.as_str().to_owned(),
            messages: self.messages,
            consumers: self.fellows,
            idle: self.idle,
        };
        let answer = WorkerProcess::start(node.url(), &errand)?.end().await?;
        let left = client.queues().get(&name).await.context("look at the queue")?;
        client.queues().delete(&name).await.context("remove the queue")?;
        let left = left.waiting + left.in_flight + left.failed + left.dead;
        ensure!(left == 0, "{left} messages are left in the queue");
        Ok(answer)
    }
}

/// Does this, and answers the pings of the session meanwhile.
async fn attend<T>(session: &mut Session, done: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            done = &mut done => return done,
            results = session.results() => { results.context("a session that stands by")?; }
        }
    }
}
