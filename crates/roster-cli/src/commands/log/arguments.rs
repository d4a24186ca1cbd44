//! Which log, and what is done with it.

use std::fs::DirEntry;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use roster_store::Directories;

use super::inspect::{self, Inspect};
use super::repair::{self, Repair};
use super::verify::{self, Verify};
use crate::commands::logs::NodeLog;
use crate::exit::{Ending, Exit};
use crate::render::Screen;

#[derive(Debug, clap::Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Reads every byte of a log and says what is wrong; changes nothing
    Verify(Verify),
    /// Shows what is in a log: the commands, or the state that it starts from
    Inspect(Inspect),
    /// Makes a log that starts out of one that does not; says what it would do unless --yes is given
    Repair(Repair),
}

/// Where it is.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The data-dir of the node
    #[arg(long, value_name = "DIR", env = "ROSTER_DATA_DIR")]
    data_dir: PathBuf,
    /// Which log of the node
    #[arg(long, value_enum, value_name = "LOG", default_value_t = NodeLog::Directory)]
    log: NodeLog,
    /// The switch-dir of the node, if it has one
    #[arg(long, value_name = "DIR", env = "ROSTER_SWITCH_DIR")]
    switch_dir: Option<PathBuf>,
}

impl Place {
    /// # Errors
    /// When a directory is not there, or none of them has a file: a mistyped one must not look like a
    /// log without faults, nor an empty one like a damaged log.
    pub(super) fn directories(&self) -> anyhow::Result<Directories> {
        let mut files = 0;
        let data_dir = self.log.folder(&self.data_dir);
        let switch_dir = self.switch_dir.as_ref().map(|directory| self.log.folder(directory));
        for directory in [Some(&data_dir), switch_dir.as_ref()].into_iter().flatten() {
            if !directory.is_dir() {
                return Err(Ending::error(Exit::NotFound, format!("there is no directory {}", directory.display())));
            }
            let entries = directory.read_dir().with_context(|| format!("read {}", directory.display()))?;
            // A node without durability leaves its lock and nothing else.
            let is_file = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_dir());
            files += entries.flatten().filter(|entry| entry.file_name() != "LOCK" && is_file(entry)).count();
        }
        if files == 0 {
            return Err(Ending::error(Exit::NotFound, format!("there is no log in {}", data_dir.display())));
        }
        Ok(Directories::new(data_dir, switch_dir))
    }

    pub(super) fn log(&self) -> NodeLog {
        self.log
    }

    /// As it is written on the command line.
    pub(super) fn flags(&self) -> String {
        let switch = self.switch_dir.as_ref().map(|directory| format!(" --switch-dir {}", directory.display()));
        let log = match self.log {
            NodeLog::Directory => "",
            NodeLog::Queues => " --log queues",
        };
        format!("--data-dir {}{}{log}", self.data_dir.display(), switch.unwrap_or_default())
    }
}

pub(crate) fn run(log: &Log, screen: Screen) -> anyhow::Result<Exit> {
    match &log.command {
        LogCommand::Verify(verify) => verify::run(verify, screen),
        LogCommand::Inspect(inspect) => inspect::run(inspect, screen),
        LogCommand::Repair(repair) => repair::run(repair, screen),
    }
}
