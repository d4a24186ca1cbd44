//! What is played, in order. A scene acts on the stage, and reports what it measured; one that is to be
//! added is a file here, a name and a line in each of the matches below.

mod begin;
mod cluster;
mod goodbye;
mod handover;
mod join;
mod kill;
mod register;
mod restart;

use std::time::{Duration, Instant};

use crate::exit::{self, Ending, Exit};
use crate::render::{Fact, Measure, SceneReport, Screen, Summary};

use super::stage::Stage;

#[derive(Debug, Clone, Copy)]
enum Scene {
    Begin,
    Join,
    Register,
    Kill,
    Restart,
    Goodbye,
    Handover,
    Cluster,
}

const SCENES: [Scene; 8] = [
    Scene::Begin,
    Scene::Join,
    Scene::Register,
    Scene::Kill,
    Scene::Restart,
    Scene::Goodbye,
    Scene::Handover,
    Scene::Cluster,
];

impl Scene {
    /// In the output for scripts; it does not change.
    fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Join => "join",
            Self::Register => "register",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Goodbye => "goodbye",
            Self::Handover => "handover",
            Self::Cluster => "cluster",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Begin => "A node starts on a free port, and a watcher of everything below demo/.",
            Self::Join => "Three processes start. Each listens and registers itself as demo/orders.",
            Self::Register => "The demo registers an address and takes it back, 20 times in a row.",
            Self::Kill => "One of the three is killed: SIGKILL, no goodbye. Its grace is 3 s.",
            Self::Restart => "64 registrations are always under way. The node is killed and started again.",
            Self::Goodbye => "One of the three is stopped: SIGTERM. It drains, then says goodbye.",
            Self::Handover => "The singleton demo/leader goes from A to B, with a hand-over of 3 s.",
            Self::Cluster => "A message each ms through demo/messages, whose nodes come, die and leave.",
        }
    }

    async fn play(self, stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
        match self {
            Self::Begin => begin::play(stage, report).await,
            Self::Join => join::play(stage, report).await,
            Self::Register => register::play(stage, report).await,
            Self::Kill => kill::play(stage, report).await,
            Self::Restart => restart::play(stage, report).await,
            Self::Goodbye => goodbye::play(stage, report).await,
            Self::Handover => handover::play(stage, report).await,
            Self::Cluster => cluster::play(stage, report).await,
        }
    }
}

/// Plays all of them, up to the first that does not go as it should.
///
/// # Errors
/// What did not.
pub(super) async fn play(stage: &mut Stage, summary: &mut Summary, screen: Screen) -> anyhow::Result<()> {
    for (index, scene) in SCENES.into_iter().enumerate() {
        let mut report = SceneReport::begin(screen, index + 1, scene.name(), scene.title())?;
        let played = scene.play(stage, &mut report).await;
        end(played, report, screen, summary)?;
    }
    screen.show_in_passing(|paint| summary.table(paint))?;
    Ok(())
}

/// The last scene, which is played whatever became of the others.
///
/// # Errors
/// When something did not end in order.
pub(super) async fn clear(stage: Stage, screen: Screen) -> anyhow::Result<()> {
    let directory = stage.folder.path().display().to_string();
    let report = SceneReport::begin(screen, SCENES.len() + 1, "clear", "Everything is stopped.");
    let began = Instant::now();
    let cleared = stage.clear().await;
    // Not before: a reader that has gone must not keep it from being cleared.
    let mut report = report?;
    let told = cleared.and_then(|(stopped, is_gone)| {
        report.fact("processes", Fact::Number(stopped));
        let label = format!("{stopped} processes have said goodbye and ended");
        report.measure("stopped_ms", &label, Measure::Took(began.elapsed()))?;
        report.say(&if is_gone { format!("{directory} is removed.") } else { format!("{directory} is kept.") })?;
        Ok(())
    });
    end(told, report, screen, &mut Summary::default())
}

fn end(
    played: anyhow::Result<()>,
    mut report: SceneReport,
    screen: Screen,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    if let Err(error) = played {
        report.fail(exit::chain(&error));
    }
    summary.take(&mut report);
    screen.show_next(&report)?;
    match report.failure() {
        None => Ok(()),
        Some(why) => Err(Ending::error(Exit::Failure, format!("the demo failed: {why}"))),
    }
}

/// The one in the middle, and the longest.
fn median_and_longest(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    (median, times.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_end_of_times_are_found() {
        let times = [5, 1, 3].map(Duration::from_millis).to_vec();
        assert_eq!(median_and_longest(times), (Duration::from_millis(3), Duration::from_millis(5)));
    }
}
