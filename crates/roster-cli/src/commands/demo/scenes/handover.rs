//! A singleton changes hands without two holders, and without waiting longer than needed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use roster_client::{Announcement, Change, Client, Handle, InstanceId, Kind, OfflineReason, Registrar, State, Token};
use tokio::time::timeout;

use crate::commands::demo::stage::{PATIENCE, Stage};
use crate::render::{Fact, Measure, SceneReport};

const LEADER: &str = "demo/leader";
/// How long the newcomer gives the holder.
const HANDOVER: Duration = Duration::from_secs(3);

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let watcher = stage.watcher()?;
    let mark = watcher.mark();
    let (registrar_a, mut a) = register(&stage.client()?, 1)?;
    let (id_a, token_a) = holding(&mut a, "A").await?;
    watcher.wait(mark, "that A is the main", PATIENCE, |change| becomes_main(change, id_a)).await?;

    let asked = Instant::now();
    let (registrar_b, mut b) = register(&stage.client()?, 2)?;
    let told = timeout(PATIENCE, a.offline()).await.context("A was not told that B waits")?;
    report.measure("told_ms", "B connects and registers → A is told to leave", Measure::Took(asked.elapsed()))?;
    let Some((OfflineReason::Handover, _)) = told else { bail!("A was not told to hand over, but {told:?}") };
    let state = timeout(PATIENCE, b.settled()).await.context("B was not answered")?;
    let State::Pending { instance: id_b, .. } = state else { bail!("B does not wait, but is {state:?}") };

    let drained = a.drain(HANDOVER).await?.finished().await;
    report.expect(drained.seen == drained.watchers, || {
        format!("{} of {} watchers had seen that A drains", drained.seen, drained.watchers)
    });
    let mark = watcher.mark();
    let left = Instant::now();
    a.deregister().await?;
    let find = |change: &Change| becomes_main(change, id_b);
    let (promoted, ()) = watcher.wait(mark, "that B is the main", HANDOVER + PATIENCE, find).await?;
    let took = promoted.saturating_duration_since(left);
    report.measure("promoted_ms", "A has drained and says goodbye → the watcher is told: B", Measure::Took(took))?;
    report.highlight("promoted_ms", "a singleton is handed over");
    registrar_a.close().await?;

    let (_, token_b) = holding(&mut b, "B").await?;
    report.say(&format!("The fencing token of A was {token_a}, that of B is {token_b}."))?;
    report.fact("token_a", Fact::Number(token_a.get()));
    report.fact("token_b", Fact::Number(token_b.get()));
    report.expect(token_b > token_a, || format!("the token of B is {token_b}, which is not above {token_a}"));
    report.expect(took < HANDOVER, || format!("B waited for {took:?}, though A had left"));
    stage.held.push((registrar_b, b));
    Ok(())
}

/// A session of its own, as another process would have it.
fn register(client: &Client, node_index: u32) -> anyhow::Result<(Registrar, Handle)> {
    let registrar = client.registrar().start();
    let announcement = Announcement::new(LEADER, "127.0.0.1", 9)?;
    let handle = registrar.register(announcement.kind(Kind::Singleton).node_index(node_index).handover(HANDOVER));
    Ok((registrar, handle))
}

/// Waits until it holds the singleton, since when it has a token. The watcher may hear of that before.
async fn holding(handle: &mut Handle, who: &str) -> anyhow::Result<(InstanceId, Token)> {
    let holds = async {
        loop {
            match handle.state() {
                State::Active { instance, token: Some(token), .. } => return Ok((instance, token)),
                State::Waiting | State::Pending { .. } => handle.changed().await,
                other @ (State::Active { .. } | State::Refused(_) | State::Offline { .. } | State::Ended) => {
                    bail!("{who} does not hold {LEADER}, but is {other:?}")
                }
            };
        }
    };
    timeout(PATIENCE, holds).await.with_context(|| format!("{who} did not come to hold {LEADER}"))?
}

fn becomes_main(change: &Change, id: InstanceId) -> Option<()> {
    matches!(change, Change::MainChanged { main, .. } if *main == Some(id)).then_some(())
}
