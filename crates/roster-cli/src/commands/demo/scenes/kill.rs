//! A process dies without a word.

use std::time::{Duration, Instant};

use roster_client::{Change, RemovedCause};
use rustix::process::Signal;

use crate::commands::demo::stage::{PATIENCE, Stage};
use crate::commands::demo::watcher::is_at;
use crate::render::{Fact, Measure, SceneReport};

/// What the members ask for, which is the SDK's default.
const GRACE: Duration = Duration::from_secs(3);
/// By so much the pushes at both ends may differ in how long they take.
const EARLY_MAX: Duration = Duration::from_millis(50);
/// A removal that comes later than this after its time is one that was forgotten.
const LATE_MAX: Duration = Duration::from_secs(2);

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let victim = stage.take_member(1)?;
    let address = victim.address().clone();
    report.fact("address", Fact::Word(address.to_string()));
    let watcher = stage.watcher()?;
    let mark = watcher.mark();

    let killed = Instant::now();
    victim.signal(Signal::KILL)?;
    let suspect =
        |change: &Change| matches!(change, Change::Suspect(instance) if is_at(instance, &address)).then_some(());
    let (suspected, ()) = watcher.wait(mark, "that it is suspect", PATIENCE, suspect).await?;
    let label = "SIGKILL → the watcher is told: suspect";
    report.measure("suspect_ms", label, Measure::Took(suspected.saturating_duration_since(killed)))?;
    report.highlight("suspect_ms", "a killed process is suspect at the watcher");
    victim.ended().await?;

    let (removed, cause) = watcher.wait_gone(mark, &address, GRACE + PATIENCE).await?;
    let after = removed - suspected;
    report.measure("removed_ms", "suspect → removed: lost contact", Measure::Took(after))?;
    report.highlight("removed_ms", "… and removed, after its grace of 3 s");
    report.expect(cause == Some(RemovedCause::LostContact), || {
        format!("the killed member was removed for {cause:?} instead of its lost contact")
    });
    report.expect(after + EARLY_MAX >= GRACE && after <= GRACE + LATE_MAX, || {
        format!("the killed member was removed {after:?} after it was suspect, with a grace of {GRACE:?}")
    });

    let mark = watcher.mark();
    let began = Instant::now();
    let address = stage.start_member().await?.address().clone();
    let up = stage.watcher()?.wait_up(mark, &address, PATIENCE).await?;
    report.measure("successor_up_ms", "another process started in its place → up", Measure::Took(up - began))?;
    Ok(())
}
