//! `roster log inspect`: what was asked of the directory or of the queues, command by command.

use std::io;
use std::sync::Arc;

use roster_core::{Position, Timestamp};
use roster_store::{Codec, Directories, Directory, Disk, Queues, RealDisk, tools};

use super::arguments::Place;
use crate::commands::logs::NodeLog;
use crate::exit::{Ending, Exit};
use crate::render::{FactLine, LoggedLine, LoggedQueueLine, QueueFactLine, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster log inspect --data-dir ./roster-data
  roster log inspect --data-dir ./roster-data --from 4711 --limit 20
  roster log inspect --data-dir ./roster-data --snapshot
  roster log inspect --data-dir ./roster-data --output json | jq 'select(.service == \"orders\")'

Shows the commands from a position on, as far back as the history reaches. A command may have been
refused when it was applied; the log has what was asked. Secrets are not in the log.
Fields of --output text: position, time, command, session, service, sentence (with --log queues:
position, time, command, queue, sentence); of a snapshot: what it is, sentence.")]
pub(crate) struct Inspect {
    #[command(flatten)]
    place: Place,
    /// The first position to show [default: the oldest that is kept]
    #[arg(long, value_name = "POSITION", default_value_t = 1, hide_default_value = true)]
    from: u64,
    /// How many commands to show
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show the state that the log starts from instead
    #[arg(long, conflicts_with_all = ["from", "limit"])]
    snapshot: bool,
}

pub(super) fn run(inspect: &Inspect, screen: Screen) -> anyhow::Result<Exit> {
    let directories = inspect.place.directories()?;
    match (inspect.place.log(), inspect.snapshot) {
        (NodeLog::Directory, true) => {
            show_snapshot::<Directory>(&directories, |item| screen.show_next(&FactLine::new(item)))
        }
        (NodeLog::Directory, false) => {
            let show = |position, at, command: &_| screen.show_next(&LoggedLine::new(position, at, command));
            show_commands::<Directory>(inspect, &directories, show)
        }
        (NodeLog::Queues, true) => {
            show_snapshot::<Queues>(&directories, |item| screen.show_next(&QueueFactLine::new(item)))
        }
        (NodeLog::Queues, false) => {
            let show = |position, at, command: &_| screen.show_next(&LoggedQueueLine::new(position, at, command));
            show_commands::<Queues>(inspect, &directories, show)
        }
    }
}

fn show_snapshot<C: Codec>(
    directories: &Directories,
    mut show: impl FnMut(&C::Item) -> io::Result<()>,
) -> anyhow::Result<Exit> {
    // The first failure of the screen; the items that follow are read, but no longer shown.
    let mut shown = Ok(());
    let snapshot = tools::inspect_snapshot::<C>(&RealDisk, directories, |item| {
        if shown.is_ok() {
            shown = show(&item);
        }
    })?;
    shown?;
    match snapshot {
        Some(_) => Ok(Exit::Success),
        None => Err(Ending::error(Exit::NotFound, "the log has no snapshot yet: it starts from nothing")),
    }
}

fn show_commands<C: Codec>(
    inspect: &Inspect,
    directories: &Directories,
    mut show: impl FnMut(Position, Timestamp, &C::Command) -> io::Result<()>,
) -> anyhow::Result<Exit> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut left = inspect.limit.unwrap_or(usize::MAX);
    for batch in tools::inspect::<C>(&disk, directories, Position::new(inspect.from))? {
        let batch = batch?;
        for (offset, command) in (0..).zip(&batch.commands) {
            let position = batch.position.plus(offset);
            if position.get() < inspect.from {
                continue;
            }
            if left == 0 {
                return Ok(Exit::Success);
            }
            left -= 1;
            show(position, batch.at, command)?;
        }
    }
    Ok(Exit::Success)
}
