//! From the logs back to the directory and to the queues.

use roster_core::directory::{Command, Directory, Effects, Restoration, StateItem};
use roster_core::{Position, Timestamp, queue};
use roster_store::{Queues, Recover};

use crate::writer::with_causes;

/// Builds the directory while the log is read.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    restoration: Restoration,
    directory: Directory,
    effects: Effects,
}

impl Recovery {
    pub(crate) fn into_directory(self) -> Directory {
        self.directory
    }
}

impl Recover for Recovery {
    fn snapshot_item(&mut self, item: StateItem) -> Result<(), String> {
        self.restoration.take(item).map_err(|error| error.to_string())
    }

    fn snapshot_end(&mut self, position: Position) -> Result<(), String> {
        let restoration = std::mem::take(&mut self.restoration);
        self.directory = restoration.finish().map_err(|error| error.to_string())?;
        let restored = self.directory.revision();
        if restored != position {
            return Err(format!("the snapshot says revision {restored} and stands at position {position}"));
        }
        Ok(())
    }

    fn command(&mut self, position: Position, at: Timestamp, command: Command) -> Result<(), String> {
        let expected = self.directory.revision().next();
        if position != expected {
            return Err(format!("command {position} stands where {expected} is due"));
        }
        self.directory.apply(at, command, &mut self.effects);
        Ok(())
    }
}

/// Builds the queues while their log is read.
#[derive(Debug, Default)]
pub(crate) struct QueueRecovery {
    restoration: queue::Restoration,
    queues: queue::Queues,
    effects: queue::Effects,
}

impl QueueRecovery {
    pub(crate) fn into_queues(self) -> queue::Queues {
        self.queues
    }
}

impl Recover<Queues> for QueueRecovery {
    fn snapshot_item(&mut self, item: queue::StateItem) -> Result<(), String> {
        self.restoration.take(item).map_err(|error| with_causes(&error))
    }

    fn snapshot_end(&mut self, position: Position) -> Result<(), String> {
        let restoration = std::mem::take(&mut self.restoration);
        self.queues = restoration.finish().map_err(|error| with_causes(&error))?;
        let restored = self.queues.revision();
        if restored != position {
            return Err(format!("the snapshot says revision {restored} and stands at position {position}"));
        }
        Ok(())
    }

    fn command(&mut self, position: Position, at: Timestamp, command: queue::Command) -> Result<(), String> {
        let expected = self.queues.revision().next();
        if position != expected {
            return Err(format!("command {position} stands where {expected} is due"));
        }
        self.queues.apply(at, command, &mut self.effects);
        Ok(())
    }
}
