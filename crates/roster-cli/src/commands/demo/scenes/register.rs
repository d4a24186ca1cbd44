//! What one registration takes, alone.

use std::time::Instant;

use anyhow::{Context, bail};
use roster_client::{Announcement, Connection, State};
use tokio::time::timeout;

use super::median_and_longest;
use crate::commands::demo::stage::{PATIENCE, Stage};
use crate::render::{Fact, Measure, SceneReport};

const ROUNDS: usize = 20;

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let watcher = stage.watcher()?;
    let registrar = stage.client()?.registrar().start();
    // The session is not what is measured.
    let mut connection = registrar.connection();
    let connected = connection.wait_for(|connection| matches!(connection, Connection::Connected { .. }));
    timeout(PATIENCE, async { connected.await.map(drop) }).await.context("no session was opened in time")??;

    let announcement = Announcement::new("demo/probe", "127.0.0.1", 9)?;
    let address = announcement.registration().address.clone();
    let (mut answered, mut seen, mut seen_gone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mark = watcher.mark();
        let asked = Instant::now();
        let handle = registrar.register(announcement.clone());
        let state = timeout(PATIENCE, handle.settled()).await.context("a registration was not answered in time")?;
        answered.push(asked.elapsed());
        let State::Active { .. } = state else { bail!("a registration was not accepted, but is {state:?}") };
        seen.push(watcher.wait_up(mark, &address, PATIENCE).await?.saturating_duration_since(asked));

        let asked = Instant::now();
        handle.deregister().await?;
        let (at, _) = watcher.wait_gone(mark, &address, PATIENCE).await?;
        seen_gone.push(at.saturating_duration_since(asked));
    }
    registrar.close().await?;

    let (median, _) = median_and_longest(answered);
    report.measure("answered_ms", "register → answered, and on disk (median)", Measure::Took(median))?;
    let (median, longest) = median_and_longest(seen);
    report.measure("up_ms", "register → the watcher is told (median)", Measure::Took(median))?;
    report.measure("up_longest_ms", "register → the watcher is told (longest)", Measure::Took(longest))?;
    report.highlight("up_ms", "a registration reaches the watcher (median of 20)");
    let (median, _) = median_and_longest(seen_gone);
    report.fact("removed_ms", Fact::Took(median));
    Ok(())
}
