//! What others notice of a node that has too much to do: pushes, small changes, and signs of life.
//!
//! On a thread and connections of their own, so that what is measured is the node and not the program that
//! floods it. A change is timed from when it was due, whatever became of those before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use roster_proto::v1;
use roster_proto::v1::check_response::Outcome;
use roster_proto::v1::event::Event;
use roster_proto::v1::registry_client::RegistryClient;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::latencies::Latencies;
use super::node::BenchNode;
use super::session::{self, Session};
use super::watching::Watching;

const CHANGING: &str = "bench/overload-probe/changing";
const STANDING: &str = "bench/overload-probe/standing";
const PREFIX: &str = "bench/overload-probe/";
/// Instances of the service that changes.
const INSTANCES: u32 = 20;
/// Sessions that only answer pings. Each is asked for a sign of life less often than once a second, or the node
/// would know without asking.
const SESSIONS: u32 = 40;
/// Between two changes, and between two checks.
const INTERVAL: Duration = Duration::from_millis(50);
/// Of somebody who was not heard.
const LOST: v1::RemovedCause = v1::RemovedCause::LostContact;
/// How long the last deliveries are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which part of the measurement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody asks for anything else.
    Quiet,
    Flooded,
    Over,
}

/// Times of one phase.
#[derive(Debug)]
pub(super) struct Times {
    /// From when a change was due to its delivery.
    pub(super) pushed: Latencies,
    /// … to its acknowledgement.
    pub(super) changed: Latencies,
    /// Of checks of sessions that are alive.
    pub(super) checked: Latencies,
}

/// What was noticed.
#[derive(Debug)]
pub(super) struct Noticed {
    pub(super) quiet: Times,
    pub(super) flooded: Times,
    /// Suspicions and removals of sessions that answered every ping.
    pub(super) suspected: u64,
    pub(super) removed: u64,
    /// Checks that were refused, or that found somebody other than alive.
    pub(super) unchecked: u64,
    /// Changes that were never delivered, or not acknowledged as changes.
    pub(super) undelivered: u64,
    pub(super) unacknowledged: u64,
}

impl Noticed {
    fn new() -> anyhow::Result<Self> {
        let times =
            || anyhow::Ok(Times { pushed: Latencies::new()?, changed: Latencies::new()?, checked: Latencies::new()? });
        Ok(Self {
            quiet: times()?,
            flooded: times()?,
            suspected: 0,
            removed: 0,
            unchecked: 0,
            undelivered: 0,
            unacknowledged: 0,
        })
    }

    fn times(&mut self, phase: Phase) -> &mut Times {
        match phase {
            Phase::Quiet => &mut self.quiet,
            Phase::Flooded | Phase::Over => &mut self.flooded,
        }
    }
}

/// The probes at work.
#[derive(Debug)]
pub(super) struct Probes {
    phase: watch::Sender<Phase>,
    thread: JoinHandle<anyhow::Result<Noticed>>,
}

impl Probes {
    /// Returns when they probe.
    ///
    /// # Errors
    /// When the node cannot be reached, or refuses what they need.
    pub(super) async fn begin(node: &BenchNode) -> anyhow::Result<Self> {
        let node = BenchNode::Given(node.url().to_owned());
        let (phase, phases) = watch::channel(Phase::Quiet);
        let (ready, is_ready) = oneshot::channel();
        let probe = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
            runtime.block_on(probe(&node, phases, ready))
        };
        let thread = std::thread::Builder::new().name("probes".into()).spawn(probe).context("start a thread")?;
        if is_ready.await.is_err() {
            let ended = thread.join().map_err(|_| anyhow!("the probes failed"))?;
            return Err(ended.err().unwrap_or_else(|| anyhow!("the probes ended")));
        }
        Ok(Self { phase, thread })
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Ends them when everything is delivered, or nothing more comes.
    ///
    /// # Errors
    /// When a stream of theirs has ended.
    pub(super) async fn end(self) -> anyhow::Result<Noticed> {
        self.enter(Phase::Over);
        let joining = tokio::task::spawn_blocking(move || self.thread.join());
        joining.await.context("the probes failed")?.map_err(|_| anyhow!("the probes failed"))?
    }
}

/// When each change was due, and in which phase.
type Schedule = Arc<Mutex<Vec<(Instant, Phase)>>>;

/// What a task has seen.
enum Seen {
    Pushed(Instant, Phase),
    Changed(Instant, Phase),
    Refused,
    Checked(Duration, Phase),
    Unchecked,
    Suspected,
    Removed,
}

async fn probe(
    node: &BenchNode,
    mut phases: watch::Receiver<Phase>,
    ready: oneshot::Sender<()>,
) -> anyhow::Result<Noticed> {
    let (seen, mut sightings) = mpsc::channel(10_000);
    let schedule = Schedule::default();
    let mut session = Session::open(node).await?;
    for number in 0..INSTANCES {
        session.register_one(changing(number, 1)).await?;
    }
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let mut standing = Vec::new();
    let mut standing_by = JoinSet::new();
    for channel in [node.connect().await?, node.connect().await?] {
        for _ in 0..SESSIONS / 2 {
            let mut session = Session::open_on(channel.clone(), None).await?;
            let port = 1 + u32::try_from(standing.len()).unwrap_or(0);
            session.register_one(v1::Registration { service: STANDING.to_owned(), port, ..changing(0, 1) }).await?;
            standing.push(session.id());
            // Nothing was asked: there are no results, only pings that are answered on the way. A session that the
            // node ends is one that the watcher is told of.
            let mut over = phases.clone();
            standing_by.spawn(async move {
                tokio::select! {
                    ended = session.results() => ended.map(|_| ()),
                    () = async { drop(over.wait_for(|phase| *phase == Phase::Over).await) } => session.goodbye().await,
                }
            });
        }
    }
    let watching = Watching::open(node.connect().await?, vec![PREFIX.to_owned()]).await?;
    tasks.spawn(watch_changes(watching, schedule.clone(), seen.clone()));
    let hands = session.hands();
    tasks.spawn(read_answers(session, schedule.clone(), seen.clone()));
    let checks = Checks { registry: RegistryClient::new(node.connect().await?), standing, seen };
    let _ = ready.send(());

    let mut noticed = Noticed::new()?;
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut changes: u32 = 0;
    let (mut pushed, mut answered) = (0, 0);
    let mut until: Option<tokio::time::Instant> = None;
    loop {
        let phase = *phases.borrow_and_update();
        if phase == Phase::Over {
            let until = *until.get_or_insert_with(|| tokio::time::Instant::now() + PATIENCE);
            if (pushed >= changes && answered >= changes) || until <= tokio::time::Instant::now() {
                break;
            }
        }
        tokio::select! {
            due = ticks.tick() => if phase != Phase::Over {
                let due = due.into_std();
                schedule.lock().unwrap_or_else(PoisonError::into_inner).push((due, phase));
                let operation = session::register(changes.into(), changing(changes % INSTANCES, 2 + changes));
                let operations = v1::Operations { operations: vec![operation] };
                let request = v1::session_request::Request::Operations(operations);
                hands.try_send(v1::SessionRequest { request: Some(request) }).context("the node reads no changes")?;
                tokio::spawn(checks.clone().check(changes as usize, phase));
                changes += 1;
            },
            sighting = sightings.recv() => match sighting.context("nothing is seen")? {
                Seen::Pushed(due, phase) => {
                    pushed += 1;
                    noticed.times(phase).pushed.record(due.elapsed());
                }
                Seen::Changed(due, phase) => {
                    answered += 1;
                    noticed.times(phase).changed.record(due.elapsed());
                }
                Seen::Refused => {
                    (answered, pushed) = (answered + 1, pushed + 1);
                    noticed.unacknowledged += 1;
                }
                Seen::Checked(latency, phase) => noticed.times(phase).checked.record(latency),
                // Whoever has said goodbye is not found any more.
                Seen::Unchecked => noticed.unchecked += u64::from(phase != Phase::Over),
                Seen::Suspected => noticed.suspected += 1,
                Seen::Removed => noticed.removed += 1,
            },
            _ = phases.changed() => {}
            Some(ended) = tasks.join_next() => {
                ended.context("a probe failed")??;
                return Err(anyhow!("a probe has ended"));
            }
        }
    }
    // Whoever was ended, or is told too late, is gone after its grace.
    let goodbye = v1::session_request::Request::Goodbye(v1::Goodbye {});
    let leaving = async {
        let _ = hands.send(v1::SessionRequest { request: Some(goodbye) }).await;
        while standing_by.join_next().await.is_some() {}
        let _ = tasks.join_next().await;
    };
    let _ = tokio::time::timeout(PATIENCE, leaving).await;
    noticed.undelivered = u64::from(changes.saturating_sub(pushed));
    noticed.unacknowledged += u64::from(changes.saturating_sub(answered));
    Ok(noticed)
}

fn due_of(schedule: &Schedule, change: u64) -> anyhow::Result<(Instant, Phase)> {
    let schedule = schedule.lock().unwrap_or_else(PoisonError::into_inner);
    let due = usize::try_from(change).ok().and_then(|change| schedule.get(change));
    due.copied().context("a change that nobody called")
}

async fn read_answers(mut session: Session, schedule: Schedule, seen: mpsc::Sender<Seen>) -> anyhow::Result<()> {
    loop {
        for result in session.results().await? {
            let (due, phase) = due_of(&schedule, result.request_id)?;
            let is_changed = session::active(&result).is_ok();
            seen.send(if is_changed { Seen::Changed(due, phase) } else { Seen::Refused }).await?;
        }
    }
}

async fn watch_changes(mut watching: Watching, schedule: Schedule, seen: mpsc::Sender<Seen>) -> anyhow::Result<()> {
    // The newest weight of each instance: after a reset the state stands for the changes that made it.
    let mut weights: HashMap<u32, u32> = HashMap::new();
    loop {
        for (_, event) in watching.events().await? {
            match event {
                Event::Changed(instance) | Event::Up(instance) => {
                    let registration = instance.registration.unwrap_or_default();
                    let weight = registration.weight.unwrap_or_default();
                    let known = weights.entry(registration.port).or_insert(1);
                    // Each instance has every twentieth change.
                    let first = if *known == 1 { registration.port + 1 } else { *known + INSTANCES };
                    if registration.service == CHANGING && weight > *known {
                        *known = weight;
                        for change in (first..=weight).step_by(INSTANCES as usize) {
                            let (due, phase) = due_of(&schedule, u64::from(change) - 2)?;
                            seen.send(Seen::Pushed(due, phase)).await?;
                        }
                    }
                }
                Event::Suspect(_) => seen.send(Seen::Suspected).await?,
                Event::Removed(removed) if removed.cause() == LOST => seen.send(Seen::Removed).await?,
                Event::Reset(_)
                | Event::Loaded(_)
                | Event::Bookmark(_)
                | Event::Draining(_)
                | Event::MainChanged(_)
                | Event::Replaced(_)
                | Event::Removed(_)
                | Event::Refused(_) => {}
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Checks {
    registry: RegistryClient<Channel>,
    standing: Vec<u64>,
    seen: mpsc::Sender<Seen>,
}

impl Checks {
    async fn check(mut self, number: usize, phase: Phase) {
        let session_id = self.standing[number % self.standing.len()];
        let since = Instant::now();
        let request = v1::CheckRequest { service: STANDING.to_owned(), session_id };
        let answer = self.registry.check(request).await;
        let seen = match answer.map(|answer| answer.into_inner().outcome()) {
            Ok(Outcome::Alive) => Seen::Checked(since.elapsed(), phase),
            Ok(Outcome::Suspect | Outcome::Unconfirmed | Outcome::Unknown | Outcome::Unspecified) | Err(_) => {
                Seen::Unchecked
            }
        };
        let _ = self.seen.send(seen).await;
    }
}

/// Change `weight - 2` gives it this weight.
fn changing(number: u32, weight: u32) -> v1::Registration {
    v1::Registration {
        service: CHANGING.to_owned(),
        host: "10.0.0.1".to_owned(),
        port: 1 + number,
        kind: v1::Kind::Member.into(),
        weight: Some(weight),
        ..v1::Registration::default()
    }
}
