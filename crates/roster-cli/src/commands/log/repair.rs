//! `roster log repair`: a dry run, unless it is told to act.

use jiff::Timestamp;
use roster_store::tools::{self, RepairMode};
use roster_store::{Directory, Queues, RealDisk};

use super::arguments::Place;
use crate::commands::logs::NodeLog;
use crate::exit::{Ending, Exit};
use crate::render::{Repaired, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster log repair --data-dir ./roster-data          says what it would do
  roster log repair --data-dir ./roster-data --yes    does it

The node must not be running. Nothing is deleted: what cannot be part of the log is kept beside it.
Ends with 0 when there is nothing to repair or it is done, 6 when there is something to repair.
Lines of --output text: an action each; \"lost\", first and last position; \"next\", position.")]
pub(crate) struct Repair {
    #[command(flatten)]
    place: Place,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(repair: &Repair, screen: Screen) -> anyhow::Result<Exit> {
    let directories = repair.place.directories()?;
    let mode = if repair.yes { RepairMode::Apply } else { RepairMode::DryRun };
    let unix_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    let now = roster_core::Timestamp::new(unix_ms);
    let report = match repair.place.log() {
        NodeLog::Directory => tools::repair::<Directory>(&RealDisk, &directories, mode, now)?,
        NodeLog::Queues => tools::repair::<Queues>(&RealDisk, &directories, mode, now)?,
    };
    screen.show(&Repaired::new(&report))?;
    if report.actions.is_empty() || repair.yes {
        return Ok(Exit::Success);
    }
    let why = format!("nothing was changed; `roster log repair {} --yes` does it", repair.place.flags());
    Err(Ending::error(Exit::LogDamaged, why))
}
