//! `roster demo`: what Roster does, seen in a minute.

use crate::exit::{Ending, Exit};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster demo")]
pub(crate) struct Demo {}

pub(crate) fn run(_demo: &Demo) -> anyhow::Result<Exit> {
    Err(Ending::error(Exit::Failure, "this build has no demo"))
}
