//! A process leaves as it should.

use std::time::Instant;

use roster_client::{Change, RemovedCause};
use rustix::process::Signal;

use crate::commands::demo::stage::{PATIENCE, Stage};
use crate::commands::demo::watcher::is_at;
use crate::render::{Fact, Measure, SceneReport};

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let member = stage.take_member(0)?;
    let address = member.address().clone();
    report.fact("address", Fact::Word(address.to_string()));
    let watcher = stage.watcher()?;
    let mark = watcher.mark();

    let told = Instant::now();
    member.signal(Signal::TERM)?;
    let draining =
        |change: &Change| matches!(change, Change::Draining(instance) if is_at(instance, &address)).then_some(());
    let (drained, ()) = watcher.wait(mark, "that it drains", PATIENCE, draining).await?;
    let label = "SIGTERM → the watcher is told: draining";
    report.measure("draining_ms", label, Measure::Took(drained.saturating_duration_since(told)))?;

    let (removed, cause) = watcher.wait_gone(mark, &address, PATIENCE).await?;
    let label = "SIGTERM → all watchers have seen that, and it is gone: logout";
    report.measure("removed_ms", label, Measure::Took(removed.saturating_duration_since(told)))?;
    report.highlight("removed_ms", "a stopped process has drained and is gone");
    report.expect(cause == Some(RemovedCause::Logout), || {
        format!("the stopped member was removed for {cause:?} instead of its logout")
    });
    let well = member.ended().await?;
    report.expect(well, || "the stopped member did not end well".to_owned());
    Ok(())
}
