//! The node itself dies, in the middle of its work, and comes back with all that it had answered.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use roster_client::{Change, Client, Instance, InstanceId, Liveness, Selector};
use tokio::time::MissedTickBehavior;

use crate::commands::demo::load::{Acknowledged, Load};
use crate::commands::demo::node::Node;
use crate::commands::demo::stage::{MEMBERS, ORDERS, PATIENCE, Stage};
use crate::render::{Fact, Measure, SceneReport};

const LOAD: &str = "demo/load";
/// Registrations under way at a time.
const IN_FLIGHT: usize = 64;
/// Answered before the node is killed, and again after it is back.
const ANSWERED_EACH_SIDE: usize = 1_000;
/// How often the node is asked whether the members are back.
const ASK_INTERVAL: Duration = Duration::from_millis(5);
/// How long the load may take to be answered on a slow disk.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let url = stage.node()?.url();
    let from_the_start = stage.watcher()?.mark();
    let began = Instant::now();
    let mut load = Load::start(&url, LOAD, IN_FLIGHT)?;
    load.reach(ANSWERED_EACH_SIDE, LOAD_PATIENCE).await?;
    let rate = per_second(load.acknowledged().len(), began.elapsed());
    report.measure("registrations_per_second", "registrations answered per second before", Measure::Count(rate))?;

    let node = stage.take_node()?;
    let mark = stage.watcher()?.mark();
    let killed = Instant::now();
    let listen = node.kill().await?;
    stage.set_node(Node::start_again(&stage.folder, listen).await?);
    let ready = Instant::now();
    report.measure("ready_ms", "SIGKILL to the node → it serves again", Measure::Took(ready - killed))?;

    let confirmed = until_all_are_confirmed(&stage.client()?).await?;
    report.measure(
        "confirmed_ms",
        "SIGKILL to the node → all three members are back",
        Measure::Took(confirmed - killed),
    )?;
    report.highlight("confirmed_ms", "a killed node is back, with all members confirmed");
    load.reach(load.acknowledged().len() + ANSWERED_EACH_SIDE, LOAD_PATIENCE).await?;
    let handles = load.stop(LOAD_PATIENCE).await?;
    let acknowledged = load.acknowledged();
    let first_again = acknowledged.iter().map(|one| one.at).filter(|at| *at > ready).min();
    let first_again = first_again.context("nothing was answered after the restart")?;
    let label = "SIGKILL to the node → registrations are answered again";
    report.measure("answering_ms", label, Measure::Took(first_again - killed))?;

    let answered: HashSet<InstanceId> = acknowledged.iter().map(|one| one.instance).collect();
    let up = |change: &Change| if let Change::Up(instance) = change { Some(instance.id) } else { None };
    stage.watcher()?.wait_all(from_the_start, "up", PATIENCE, answered.clone(), up).await?;
    let lost = lost(&acknowledged, &stage.client()?.list(&Selector::parse(LOAD)?).await?);
    let flaps = stage.watcher()?.count(mark, is_flap);
    report.measure("acknowledged", "registrations answered, before and after", Measure::Count(acknowledged.len()))?;
    report.measure("lost", "of them lost", Measure::Count(lost))?;
    report.measure("flaps", "instances that the watcher was told to be suspect, gone or new", Measure::Count(flaps))?;
    report.highlight("lost", "… of the registrations it had answered, lost");
    report.highlight("flaps", "… instances that flapped at the watcher");
    report.fact("asked", Fact::Number(load.asked().into()));
    report.expect(lost == 0, || format!("{lost} of {} answered registrations were lost", acknowledged.len()));
    report.expect(flaps == 0, || format!("the watcher was told of {flaps} flaps"));

    let mark = stage.watcher()?.mark();
    let left = Instant::now();
    load.leave().await?;
    drop(handles);
    let gone = |change: &Change| if let Change::Removed { instance, .. } = change { Some(instance.id) } else { None };
    let last_gone = stage.watcher()?.wait_all(mark, "gone", PATIENCE, answered, gone).await?;
    report.fact("all_gone_ms", Fact::Took(last_gone.saturating_duration_since(left)));
    Ok(())
}

/// How many of them the node does not list as what it had answered. The SDK registers anew what a node
/// has forgotten, so that only the number which the node had given to it tells.
fn lost(acknowledged: &[Acknowledged], listed: &[Instance]) -> usize {
    let listed: HashMap<u32, InstanceId> =
        listed.iter().map(|instance| (instance.registration.node_index, instance.id)).collect();
    acknowledged.iter().filter(|one| listed.get(&one.number) != Some(&one.instance)).count()
}

/// What a watcher should not be told of instances that never went away.
fn is_flap(change: &Change) -> bool {
    matches!(change, Change::Suspect(_) | Change::Removed { .. } | Change::Replaced { .. })
}

fn per_second(count: usize, took: Duration) -> usize {
    let millis = usize::try_from(took.as_millis()).unwrap_or(usize::MAX).max(1);
    count * 1_000 / millis
}

/// By asking: that a session is confirmed is pushed to nobody, for nobody had lost it.
async fn until_all_are_confirmed(client: &Client) -> anyhow::Result<Instant> {
    let orders = Selector::parse(ORDERS)?;
    let until = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let instances = client.list(&orders).await?;
        let up = instances.iter().filter(|instance| instance.liveness == Liveness::Up).count();
        let now = Instant::now();
        if up == MEMBERS && instances.len() == MEMBERS {
            return Ok(now);
        }
        if now > until {
            bail!("{up} of {MEMBERS} members were confirmed within {PATIENCE:?} of the restart");
        }
    }
}
