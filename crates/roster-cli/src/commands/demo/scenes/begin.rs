//! The node starts, and somebody watches.

use std::time::Instant;

use roster_client::Change;

use crate::commands::demo::node::Node;
use crate::commands::demo::stage::{PATIENCE, Stage};
use crate::commands::demo::watcher::Watcher;
use crate::render::{Fact, Measure, SceneReport};

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let node = Node::start(&stage.folder).await?;
    let (url, directory) = (node.url(), stage.folder.path().display().to_string());
    report.say(&format!("It serves at {url}, with its data in {directory}."))?;
    report.fact("url", Fact::Word(url.clone()));
    report.fact("directory", Fact::Word(directory));
    report.measure("ready_ms", "its process started → it serves", Measure::Took(node.ready_after()))?;
    stage.set_node(node);

    let asked = Instant::now();
    let watcher = Watcher::start(&url, "demo/")?;
    let loaded = |change: &Change| matches!(change, Change::Loaded { .. }).then_some(());
    let (told, ()) = watcher.wait(watcher.mark(), "the whole state", PATIENCE, loaded).await?;
    report.measure(
        "watching_ms",
        "watch asked for → connected, and told the whole state",
        Measure::Took(told - asked),
    )?;
    stage.set_watcher(watcher);
    Ok(())
}
