//! `roster bench overload`: far more work than the node can do, and what everybody else notices of it.
//!
//! What floods the node waits for nothing but flow control; what is measured are small callers beside it: a
//! change and its delivery, signs of life, and whether anybody who answers is taken for lost.

use std::time::{Duration, Instant};

use anyhow::Context;
use roster_client::queue::{QueueName, Settings};
use roster_core::limits;

use super::cost::Cost;
use super::flood::{Flood, Kind, Size};
use super::node::BenchNode;
use super::probes::{Phase, Probes};
use super::progress;
use super::register;
use super::registering::{self, Facts, Population};
use super::standing::Standing;
use crate::commands::words;
use crate::render::{Figure, Measured};

/// Instances of the service that is read.
const INSTANCES: u32 = 20;
const PREFIX: &str = "bench/overload-read-";
/// Messages that the flooded queue may keep.
const WAITING_MAX: u64 = 100_000;
/// How long the probes are alone at first.
const QUIET: Duration = Duration::from_secs(3);
/// Between two looks at the memory of the node.
const LOOK: Duration = Duration::from_millis(100);
/// How long the node is left alone before its memory is looked at for the last time.
const REST: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench overload
  roster bench overload --kind reads --for 30s
  roster bench overload --kind registrations --kind messages --output json
  roster bench overload --server http://127.0.0.1:7400

Small callers first have the node for themselves, and then beside a flood: 20 changes a second of a service of
20 instances with their deliveries, timed from when they were due, and as many checks of 40 sessions that do
nothing but answer. None of these may be suspected. Each kind of flood has its own connections, and asks as fast
as flow control lets it; a read that is refused is made again a tenth of a second later. Lines of --output text: a
name and a value; a name, a count, and the median, the 99th percentile and the maximum in microseconds.")]
pub(crate) struct OverloadLoad {
    /// What there is too much of; several allowed [default: all]
    #[arg(long = "kind", value_name = "KIND", value_enum)]
    kinds: Vec<Kind>,
    /// For how long
    #[arg(long = "for", value_name = "SPAN", default_value = "20s", value_parser = words::span)]
    lasting: Duration,
    /// Over how many connections, for each kind
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// How many reads of each connection are under way at a time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    in_flight: u32,
}

pub(super) async fn run(load: &OverloadLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    let client = node.client()?;
    let selector = format!("{PREFIX}0");
    let population = Population { prefix: PREFIX, first: 0, instances: INSTANCES, services: 1, facts: Facts::Full };
    let hidden = indicatif::ProgressBar::hidden();
    let read = population.register(registering::sessions(node, 1).await?, INSTANCES, &hidden).await?;
    let standing = Standing::new(read.sessions);
    let queue = QueueName::parse(&format!("bench/overload-{:016x}", fastrand::u64(..))).context("name the queue")?;
    let settings = Settings {
        waiting_max: WAITING_MAX,
        in_flight_max: limits::IN_FLIGHT_MESSAGES_MAX.min(65_536),
        ..Settings::default()
    };
    client.queues().create(&queue, settings).await.context("make a queue")?;

    let probes = Probes::begin(node).await?;
    let bar = progress::bar("probing alone", QUIET.as_secs());
    pass(&bar, QUIET, |_| {}).await;
    bar.finish_and_clear();

    let before = Cost::take(&client, node.url()).await?;
    let mut peak = before.resident_bytes().unwrap_or(0);
    let kinds = if load.kinds.is_empty() { Kind::ALL.to_vec() } else { load.kinds.clone() };
    let size = Size { connections: load.connections, in_flight: load.in_flight, selector, queue: queue.clone() };
    probes.enter(Phase::Flooded);
    let start = Instant::now();
    let mut floods = Vec::new();
    for kind in kinds {
        floods.push(Flood::begin(kind, node, &size).await?);
    }
    let bar = progress::bar("flooding", load.lasting.as_secs());
    pass(&bar, load.lasting, |_| peak = peak.max(before.look_again().unwrap_or(0))).await;
    bar.finish_and_clear();
    let elapsed = start.elapsed().as_secs_f64();
    // What is on its way is cut off with its connections: everybody else goes on.
    let noticed = probes.end().await?;

    let mut figures = vec![
        Figure::measure("seconds", elapsed),
        Figure::count("connections_each", load.connections.into()),
        Figure::count("in_flight", load.in_flight.into()),
    ];
    let mut latencies = vec![
        noticed.quiet.pushed.percentiles("pushed_alone"),
        noticed.flooded.pushed.percentiles("pushed"),
        noticed.quiet.changed.percentiles("changed_alone"),
        noticed.flooded.changed.percentiles("changed"),
        noticed.quiet.checked.percentiles("checked_alone"),
        noticed.flooded.checked.percentiles("checked"),
    ];
    for flood in floods {
        let (name, tally) = (flood.name(), flood.tally.clone());
        let counts = tally.read();
        let accepted = flood.end().await?;
        figures.extend(counts.iter().map(|(what, count)| Figure::count(format!("{name}_{what}"), *count)));
        let done = counts[1].1 as f64;
        figures.push(Figure::measure(format!("{name}_accepted_per_second"), done / elapsed));
        if accepted.count() > 0 {
            latencies.push(accepted.percentiles(format!("{name}_accepted")));
        }
    }
    figures.extend([
        Figure::count("falsely_suspected", noticed.suspected),
        Figure::count("falsely_removed", noticed.removed),
        Figure::count("checks_failed", noticed.unchecked),
        Figure::count("changes_not_delivered", noticed.undelivered),
        Figure::count("changes_not_acknowledged", noticed.unacknowledged),
    ]);
    pass(&hidden, REST, |_| {}).await;
    let after = Cost::take(&client, node.url()).await?;
    figures.push(Figure::count("watch_resets", after.watch_resets - before.watch_resets));
    if let (Some(first), Some(last)) = (before.resident_bytes(), after.resident_bytes()) {
        figures.push(Figure::count("node_resident_bytes_before", first));
        figures.push(Figure::count("node_resident_bytes_peak", peak));
        figures.push(Figure::count("node_resident_bytes_after", last));
    }
    // Its session may have been taken for lost as well; then its instances are gone already.
    match standing.leave().await {
        Ok(sessions) => register::goodbye(sessions).await?,
        Err(_) => figures.push(Figure::count("reader_session_lost", 1)),
    }
    client.queues().delete(&queue).await.context("remove the queue")?;
    Ok(Measured { workload: "overload", figures, latencies })
}

/// Lets time pass, and looks from time to time.
async fn pass(bar: &indicatif::ProgressBar, lasting: Duration, mut look: impl FnMut(Duration)) {
    let start = Instant::now();
    while start.elapsed() < lasting {
        tokio::time::sleep(LOOK.min(lasting - start.elapsed().min(lasting))).await;
        bar.set_position(start.elapsed().as_secs());
        look(start.elapsed());
    }
}
