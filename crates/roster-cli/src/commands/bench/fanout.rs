//! `roster bench fanout`: changes of one service, pushed to all who watch it.
//!
//! Changes are called on a schedule that waits for no answer, and a delivery is timed from when its
//! change was due, so that a slow node cannot slow the question down.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use roster_proto::v1;
use roster_proto::v1::event::Event;
use roster_proto::v1::registry_client::RegistryClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::cost::Cost;
use super::latencies::Latencies;
use super::node::BenchNode;
use super::progress;
use super::session::{self, Session};
use crate::render::{Figure, Measured};

const SERVICE: &str = "bench/fanout";
/// A change is recognised by its weight: this, and the number of the change.
const WEIGHT_BASE: u32 = 1_000;
/// Registrations in one message.
const REGISTRATIONS: u32 = 5_000;
/// How long after the last change deliveries are waited for.
const LATE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench fanout
  roster bench fanout --watchers 20000
  roster bench fanout --watchers 5000 --changes 100 --rate 5 --output json
  roster bench fanout --server http://127.0.0.1:7400

Without --server it starts a node of its own. Lines of --output text: a name and a value; a name, a
count, and the median, the 99th percentile and the maximum in microseconds.")]
pub(crate) struct FanoutLoad {
    /// How many watches there are
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) watchers: u32,
    /// Over how many connections at most, with one stream each
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) connections: u32,
    /// How many instances the watched service has
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pub(super) instances: u32,
    /// How many times one of them changes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=900_000))]
    pub(super) changes: u32,
    /// How many changes a second
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
}

/// When each change is due. Set once, before the first.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    interval: Duration,
}

impl Schedule {
    fn due(&self, change: u32) -> Instant {
        self.start + self.interval * change
    }
}

/// What [`measure`] has seen.
#[derive(Debug)]
pub(super) struct Delivered {
    streams: u32,
    resets: u64,
    pub(super) latencies: Latencies,
    /// Of the node, when it is on this machine.
    pub(super) cpu: Option<Duration>,
    resident_bytes: Option<u64>,
}

pub(super) async fn run(load: &FanoutLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    let Delivered { streams, resets, latencies, cpu, resident_bytes } = measure(load, node).await?;
    let mut figures = vec![
        Figure::count("watchers", load.watchers.into()),
        Figure::count("connections", streams.into()),
        Figure::count("instances", load.instances.into()),
        Figure::count("changes", load.changes.into()),
        Figure::count("changes_per_second", load.rate.into()),
        Figure::count("resets", resets),
    ];
    if let Some(cpu) = cpu {
        let per_delivery = cpu.as_secs_f64() * 1e6 / latencies.count() as f64;
        figures.push(Figure::measure("node_cpu_us_per_delivery", per_delivery));
    }
    if let Some(bytes) = resident_bytes {
        figures.push(Figure::count("node_resident_bytes", bytes));
    }
    Ok(Measured { workload: "fanout", figures, latencies: vec![latencies.percentiles("delivered")] })
}

/// # Errors
/// When the node cannot be reached, refuses something, or cannot keep up.
pub(super) async fn measure(load: &FanoutLoad, node: &BenchNode) -> anyhow::Result<Delivered> {
    let client = node.client()?;
    let mut session = Session::open(node).await?;
    for first in (0..load.instances).step_by(REGISTRATIONS as usize) {
        let numbers = first..(first + REGISTRATIONS).min(load.instances);
        let mut registered = numbers.len();
        session.operate(numbers.map(|number| change(number, load.instances, WEIGHT_BASE)).collect()).await?;
        while registered > 0 {
            let results = session.results().await?;
            results.iter().try_for_each(|result| session::active(result).map(|_| ()))?;
            registered = registered.saturating_sub(results.len());
        }
    }

    let streams = load.connections.min(load.watchers);
    let (announce, schedule) = watch::channel(None);
    let bar = progress::bar("delivering", u64::from(load.watchers) * u64::from(load.changes));
    let mut readers = JoinSet::new();
    for stream in 0..streams {
        let watches = load.watchers / streams + u32::from(stream < load.watchers % streams);
        let reader = Reader::open(node, watches, load.instances).await?;
        readers.spawn(reader.read(load.changes, schedule.clone(), bar.clone()));
    }

    let before = Cost::take(&client, node.url()).await?;
    let interval = Duration::from_secs(1) / load.rate;
    let schedule = Schedule { start: Instant::now() + interval, interval };
    announce.send(Some(schedule)).context("no reader is left")?;
    let session = Arc::new(session);
    let (caller, runtime) = (session.clone(), tokio::runtime::Handle::current());
    let (changes, instances) = (load.changes, load.instances);
    // A thread of its own: the timers of the runtime are a millisecond coarse, and wait for its other tasks.
    let calling = tokio::task::spawn_blocking(move || call(&caller, &runtime, schedule, changes, instances));

    let mut latencies = Latencies::new()?;
    let patience = LATE + interval * load.changes;
    let gathering = async {
        while let Some(reader) = readers.join_next().await {
            latencies.add(&reader.context("a reader failed")??)?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(patience, gathering).await.context("some changes were never delivered")??;
    calling.await.context("the caller failed")??;
    let after = Cost::take(&client, node.url()).await?;
    bar.finish_and_clear();
    if let Some(session) = Arc::into_inner(session) {
        session.goodbye().await?;
    }

    Ok(Delivered {
        streams,
        resets: after.watch_resets - before.watch_resets,
        cpu: after.cpu_since(&before),
        resident_bytes: after.resident_bytes(),
        latencies,
    })
}

/// Calls every change at its time.
fn call(
    session: &Session,
    runtime: &tokio::runtime::Handle,
    schedule: Schedule,
    changes: u32,
    instances: u32,
) -> anyhow::Result<()> {
    for number in 0..changes {
        thread::sleep(schedule.due(number).saturating_duration_since(Instant::now()));
        // The weight counts from one above the first: nothing changes nothing.
        let change = change(number, instances, WEIGHT_BASE + 1 + number);
        runtime.block_on(session.operate(vec![change]))?;
    }
    Ok(())
}

fn change(number: u32, instances: u32, weight: u32) -> v1::Operation {
    let registration = v1::Registration {
        service: SERVICE.to_owned(),
        host: "10.0.0.1".to_owned(),
        port: 1 + number % instances,
        kind: v1::Kind::Member.into(),
        weight: Some(weight),
        ..v1::Registration::default()
    };
    session::register(number.into(), registration)
}

/// One stream with its watches.
struct Reader {
    watches: u32,
    responses: Streaming<v1::WatchResponse>,
    /// Dropping it would end the stream.
    _requests: mpsc::Sender<v1::WatchRequest>,
}

impl Reader {
    /// Returns when the state of every watch is whole.
    async fn open(node: &BenchNode, watches: u32, instances: u32) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(1);
        let subscribe = (1..=watches)
            .map(|watch| v1::Subscribe { watch_id: watch.into(), selector: SERVICE.to_owned(), ..Default::default() })
            .collect();
        requests.send(v1::WatchRequest { subscribe, ..Default::default() }).await.context("open a watch")?;
        let mut registry = RegistryClient::new(node.connect().await?);
        let opening = registry.watch(ReceiverStream::new(outgoing)).await.context("open a watch")?;
        let mut responses = opening.into_inner();
        let (mut loaded, mut known) = (0, 0);
        while loaded < watches {
            for (count, event) in events(&mut responses, watches).await? {
                if let Event::Refused(refusal) = event {
                    bail!("a watch was refused: {}", refusal.message);
                }
                loaded += if matches!(event, Event::Loaded(_)) { count } else { 0 };
                known += if matches!(event, Event::Up(_)) { count } else { 0 };
            }
        }
        if known != watches * instances {
            bail!("the watches know {known} instances, not {instances} each; is something else at {SERVICE}?");
        }
        Ok(Self { watches, responses, _requests: requests })
    }

    /// Times every delivery of every change.
    async fn read(
        mut self,
        changes: u32,
        schedule: watch::Receiver<Option<Schedule>>,
        bar: indicatif::ProgressBar,
    ) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new()?;
        let expected = u64::from(self.watches) * u64::from(changes);
        while latencies.count() < expected {
            let delivered = events(&mut self.responses, self.watches).await?;
            let now = Instant::now();
            for (count, event) in delivered {
                let Event::Changed(instance) = event else {
                    if matches!(event, Event::Reset(_)) {
                        bail!("the node reset a watch: it could not keep up");
                    }
                    continue;
                };
                let schedule = schedule.borrow().context("a change before the first was due")?;
                let weight = instance.registration.and_then(|registration| registration.weight);
                let number = weight.and_then(|weight| weight.checked_sub(WEIGHT_BASE + 1));
                let due = schedule.due(number.context("a change that nobody called")?);
                (0..count).for_each(|_| latencies.record(now.saturating_duration_since(due)));
                bar.inc(count.into());
            }
        }
        Ok(latencies)
    }
}

/// The next events, each with the number of watches that it is for.
async fn events(responses: &mut Streaming<v1::WatchResponse>, watches: u32) -> anyhow::Result<Vec<(u32, Event)>> {
    let response = responses.message().await.context("a watch has ended")?.context("a watch has ended")?;
    let mut events = Vec::new();
    for delivery in response.deliveries {
        let count = match delivery.watch_ids.as_slice() {
            [] => watches,
            ids => u32::try_from(ids.len()).context("more watches than there are")?,
        };
        let group = delivery.group.unwrap_or_default();
        events.extend(group.events.into_iter().filter_map(|event| Some((count, event.event?))));
    }
    Ok(events)
}
