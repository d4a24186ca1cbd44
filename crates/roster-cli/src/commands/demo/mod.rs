//! `roster demo`: what Roster does, seen in about a minute.
//!
//! Everything in it is real: the node and the members are processes of this binary, the watcher is the
//! SDK's. Only the demo acts and only the watcher in it measures, so that every time comes from one clock.
//! A scene is a file in `scenes`: it acts on the [`Stage`](stage::Stage) and tells a report.

mod folder;
mod ledger;
mod load;
mod member;
mod node;
mod part;
mod process;
mod scenes;
mod stage;
mod traffic;
mod watcher;

use std::path::PathBuf;

use anyhow::Context;

pub(crate) use part::DemoPart;

use self::folder::Folder;
use self::stage::Stage;
use crate::exit::{self, Ending, Exit};
use crate::render::{Screen, Summary};
use crate::wrapped::StopSignals;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster demo
  roster demo --keep
  roster demo --output json | jq '.values'

It takes about a minute, asks nothing, and leaves nothing behind: a node on a free port with its data
in a temporary directory, processes that register, a watcher, a SIGKILL, a restart under load, a
hand-over, and a message each millisecond through nodes with queues that come and go. Ends with 1 when something is not as it should be, and says what. Where temporary files
are in memory, syncing costs nothing; --data-dir shows it on a disk.
Fields of --output text: step, name, value.")]
pub(crate) struct Demo {
    /// Leave the node and the members running until Ctrl-C, and the data after it
    #[arg(long)]
    keep: bool,
    /// Where the data goes, and stays; empty or not there yet [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Nodes with queues that join, one a second, before all but the last leave again
    #[arg(long, value_name = "N", default_value_t = 17, value_parser = clap::value_parser!(u16).range(2..=100))]
    members: u16,
}

/// Does one part of it; see [`DemoPart`].
pub(crate) fn run_part(part: DemoPart, nodes: &[String]) -> anyhow::Result<Exit> {
    part::run(part, nodes)
}

pub(crate) fn run(demo: &Demo, screen: Screen) -> anyhow::Result<Exit> {
    // The watcher must not wait for the load that it is watched under.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let exit = runtime.block_on(perform(demo, screen));
    runtime.shutdown_background();
    exit
}

async fn perform(demo: &Demo, screen: Screen) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::listen()?;
    let folder = match &demo.data_dir {
        Some(path) => Folder::chosen(path)?,
        None if demo.keep => Folder::temporary()?.kept(),
        None => Folder::temporary()?,
    };
    screen
        .show_in_passing(|_| "Roster in about a minute. Every time below is measured as it happens.\n\n".to_owned())?;
    let mut stage = Stage::new(folder, demo.members.into());
    let mut summary = Summary::default();
    let played = tokio::select! {
        played = scenes::play(&mut stage, &mut summary, screen) => Some(played),
        _ = signals.next() => None,
    };
    let played = match played {
        Some(Ok(())) if demo.keep => keep_going(&stage, screen, &mut signals).await,
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            // Who does not read any more did not see it fail.
            if !exit::is_closed_pipe(&error) {
                stage.tell_last_words();
            }
            Err(error)
        }
        None => Err(Ending::error(Exit::Failure, "the demo was interrupted")),
    };
    let cleared = tokio::select! {
        cleared = scenes::clear(stage, screen) => cleared,
        // What is dropped is killed, and its directory removed.
        _ = signals.next() => Err(Ending::error(Exit::Failure, "the processes were killed instead of stopped")),
    };
    played.and(cleared)?;
    Ok(Exit::Success)
}

async fn keep_going(stage: &Stage, screen: Screen, signals: &mut StopSignals) -> anyhow::Result<()> {
    screen.show_in_passing(|paint| stage.invitation(paint))?;
    signals.next().await;
    Ok(())
}
