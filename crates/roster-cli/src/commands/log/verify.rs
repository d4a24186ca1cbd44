//! `roster log verify`: is every byte as it was written?

use roster_store::{Directory, Queues, RealDisk, tools};

use super::arguments::Place;
use crate::commands::logs::NodeLog;
use crate::exit::{Ending, Exit};
use crate::render::{Screen, Verified};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster log verify --data-dir ./roster-data
  roster log verify --data-dir /var/lib/roster --output json | jq .problems

Takes no lock: the log of a running node may be verified, and what is reported about its last write
is then a write under way. Ends with 0 when the log is sound, 6 when it is damaged, 3 when there is none.
Lines of --output text: \"file\", role, path, bytes, entries, first and last position; \"problem\",
path, offset, what; \"torn\", path, offset, what.")]
pub(crate) struct Verify {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(verify: &Verify, screen: Screen) -> anyhow::Result<Exit> {
    let directories = verify.place.directories()?;
    let report = match verify.place.log() {
        NodeLog::Directory => tools::verify::<Directory>(&RealDisk, &directories)?,
        NodeLog::Queues => tools::verify::<Queues>(&RealDisk, &directories)?,
    };
    screen.show(&Verified::new(&report))?;
    if report.is_sound() {
        return Ok(Exit::Success);
    }
    let flags = verify.place.flags();
    let why = format!("the log is damaged; `roster log repair {flags}` says what can be done");
    Err(Ending::error(Exit::LogDamaged, why))
}
