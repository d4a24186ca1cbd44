//! `roster bench crash`: registered processes are killed, and a watcher says when it knows.
//!
//! One trial at a time until the watcher knows; the removal, which waits for the grace, is awaited
//! while the next trials go on. Each trial has a service of its own, and bystanders are registered,
//! so that what is lost is never a mass of what there is.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use roster_proto::v1;
use roster_proto::v1::event::Event;
use roster_proto::v1::registry_client::RegistryClient;
use rustix::process::Pid;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::arguments::own_program;
use super::latencies::Latencies;
use super::node::BenchNode;
use super::progress;
use super::session::{self, Session};
use crate::commands::words;
use crate::exit::{Ending, Exit};
use crate::render::{Figure, Measured};

/// Where the trials register.
const PREFIX: &str = "bench/crash/";
const BYSTANDERS: u32 = 1_000;
/// How long a step of a trial may take, beside the grace.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench crash
  roster bench crash --trials 20 --grace 1s --output json
  roster bench crash --hang --trials 1
  roster bench crash --hang --trials 5 --set sessions.ping-interval=500ms --set sessions.ping-timeout=500ms

A trial starts `roster register`, waits until it is up at a watcher, kills it with SIGKILL, and waits
until the watcher knows that it is suspect, and later that it is removed. With --hang it is stopped
(SIGSTOP) instead: its connection stays and nothing comes, as when a machine loses its power. Without --server it starts a
node of its own. Lines of --output text: a name and a value; a name, a count, and the median, the 99th
percentile and the maximum in microseconds.")]
pub(crate) struct CrashLoad {
    /// How many processes are killed
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: u32,
    /// The grace that they are registered with
    #[arg(long, value_name = "SPAN", default_value = "3s", value_parser = words::span)]
    grace: Duration,
    /// Stop them instead: their connections stay, and nothing comes any more
    #[arg(long)]
    hang: bool,
}

/// How a process dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    Killed,
    Hung,
}

impl Death {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Hung => "hung",
        }
    }
}

pub(super) async fn run(load: &CrashLoad, node: &BenchNode) -> anyhow::Result<Measured> {
    if load.grace.is_zero() {
        return Err(Ending::error(Exit::Usage, "with a grace of 0 nothing becomes suspect; take 1ms or more"));
    }
    // Its stream must be read all the time, or the node takes it for dead; nothing is expected on it.
    let mut bystanders = Session::open(node).await?;
    bystanders.operate((0..BYSTANDERS).map(bystander).collect()).await?;
    let mut registered = 0;
    while registered < BYSTANDERS as usize {
        registered += bystanders.results().await?.len();
    }
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let standing = tokio::spawn(async move {
        tokio::select! {
            results = bystanders.results() => results.map(|_| ()),
            _ = left => bystanders.goodbye().await,
        }
    });

    let bar = progress::bar("killing", load.trials.into());
    let death = if load.hang { Death::Hung } else { Death::Killed };
    let mut trials = Trials::open(node, load.grace, death).await?;
    for trial in 0..load.trials {
        trials.kill_one(trial).await?;
        bar.inc(1);
    }
    trials.until_all_are_removed().await?;
    bar.finish_and_clear();
    // An error means that the task has ended, and then says why.
    let _ = leave.send(());
    standing.await.context("the bystanders failed")??;

    let figures =
        vec![Figure::count("trials", load.trials.into()), Figure::measure("grace_seconds", load.grace.as_secs_f64())];
    let latencies = vec![
        trials.suspected.percentiles(format!("{}_to_suspect", death.name())),
        trials.removed.percentiles("suspect_to_removed"),
        trials.gone.percentiles(format!("{}_to_removed", death.name())),
    ];
    Ok(Measured { workload: "crash", figures, latencies })
}

fn bystander(number: u32) -> v1::Operation {
    let [_, _, high, low] = number.to_be_bytes();
    let registration = v1::Registration {
        service: format!("bench/bystanders-{}", number % 100),
        host: format!("10.1.{high}.{low}"),
        port: 8080,
        kind: v1::Kind::Member.into(),
        ..v1::Registration::default()
    };
    session::register(number.into(), registration)
}

struct Trials<'a> {
    node: &'a BenchNode,
    grace: Duration,
    death: Death,
    events: Streaming<v1::WatchResponse>,
    /// Dropping it would end the stream.
    _requests: mpsc::Sender<v1::WatchRequest>,
    /// By instance: when it was killed, and when it became suspect.
    killed: HashMap<u64, (Instant, Instant)>,
    suspected: Latencies,
    removed: Latencies,
    gone: Latencies,
}

impl<'a> Trials<'a> {
    async fn open(node: &'a BenchNode, grace: Duration, death: Death) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(1);
        let subscribe = vec![v1::Subscribe { watch_id: 1, selector: PREFIX.to_owned(), ..Default::default() }];
        requests.send(v1::WatchRequest { subscribe, ..Default::default() }).await.context("open a watch")?;
        let mut registry = RegistryClient::new(node.connect().await?);
        let events = registry.watch(ReceiverStream::new(outgoing)).await.context("open a watch")?.into_inner();
        let mut trials = Self {
            node,
            grace,
            death,
            events,
            _requests: requests,
            killed: HashMap::new(),
            suspected: Latencies::new()?,
            removed: Latencies::new()?,
            gone: Latencies::new()?,
        };
        trials.until("the watch is whole", |event| matches!(event, Event::Loaded(_)).then_some(())).await?;
        Ok(trials)
    }

    async fn kill_one(&mut self, trial: u32) -> anyhow::Result<()> {
        let service = format!("{PREFIX}{trial}");
        let mut process = Command::new(own_program()?)
            .args(["register", &service, "--address", "10.0.0.1:8080", "--server", self.node.url(), "--grace"])
            .arg(humantime::format_duration(self.grace).to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start a process to kill")?;
        let of_this_trial = |event: &Event| {
            let Event::Up(instance) = event else { return None };
            let registration = instance.registration.as_ref()?;
            (registration.service == service).then_some(instance.id)
        };
        let instance = self.until("it is up", of_this_trial).await?;
        let killed = Instant::now();
        match self.death {
            Death::Killed => process.start_kill().context("kill a process")?,
            Death::Hung => {
                let pid = process.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("it has ended")?;
                rustix::process::kill_process(pid, rustix::process::Signal::STOP).context("stop a process")?;
            }
        }
        let suspect = |event: &Event| {
            let Event::Suspect(suspect) = event else { return None };
            (suspect.instance_id == instance).then_some(())
        };
        self.until("it is suspect", suspect).await?;
        let suspected = Instant::now();
        self.suspected.record(suspected - killed);
        self.killed.insert(instance, (killed, suspected));
        process.kill().await.context("end a process")?;
        Ok(())
    }

    async fn until_all_are_removed(&mut self) -> anyhow::Result<()> {
        while !self.killed.is_empty() {
            self.until("the last are removed", |event| matches!(event, Event::Removed(_)).then_some(())).await?;
        }
        Ok(())
    }

    /// Reads until the event that is looked for; removals are taken down on the way.
    async fn until<T>(&mut self, what: &str, look: impl Fn(&Event) -> Option<T>) -> anyhow::Result<T> {
        let deadline = tokio::time::Instant::now() + PATIENCE + self.grace;
        loop {
            let next = tokio::time::timeout_at(deadline, self.events.message()).await;
            let response = next.with_context(|| format!("waited too long until {what}"))?;
            let response = response.context("the watch has ended")?.context("the watch has ended")?;
            let now = Instant::now();
            let mut found = None;
            for delivery in response.deliveries {
                let group = delivery.group.unwrap_or_default();
                for event in group.events.into_iter().filter_map(|event| event.event) {
                    if let Event::Removed(removed) = &event
                        && let Some((killed, suspected)) = self.killed.remove(&removed.instance_id)
                    {
                        self.removed.record(now - suspected);
                        self.gone.record(now - killed);
                    }
                    if let Event::Refused(refusal) = &event {
                        bail!("the watch was refused: {}", refusal.message);
                    }
                    found = found.or_else(|| look(&event));
                }
            }
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
}
