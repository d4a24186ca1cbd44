//! `roster rebuild`: a new generation, written while the node serves.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;

use super::node;
use crate::exit::Exit;
use crate::render::{Rebuilt, Screen};

/// How often the spinner turns.
const SPINNER_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster rebuild
  roster rebuild --output json

A node does this by itself when its log has grown. Reads and writes go on meanwhile; what it
replaces is kept for as long as the node's history setting says.
Fields of --output text: generation, position, bytes of the snapshot.")]
pub(crate) struct Rebuild {}

pub(crate) async fn run(_rebuild: Rebuild, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    let spinner = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    spinner.set_message("the node writes a new generation");
    spinner.enable_steady_tick(SPINNER_INTERVAL);
    let rebuilt = client.rebuild().await;
    spinner.finish_and_clear();
    let rebuilt = rebuilt?;
    screen.show(&Rebuilt::new(rebuilt.generation, rebuilt.position, rebuilt.snapshot_bytes))?;
    Ok(Exit::Success)
}
