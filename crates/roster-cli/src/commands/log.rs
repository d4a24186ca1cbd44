//! `roster log verify|inspect|repair`: a log on this machine, looked at without a node.
use crate::{exit::Exit, render::Screen};
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roster log")]
pub(crate) struct Log {}
pub(crate) fn run(_log: &Log, _screen: Screen) -> anyhow::Result<Exit> {
    Ok(Exit::Success)
}
