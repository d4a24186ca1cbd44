//! From the log back to the directory.

use roster_core::directory::{Command, Directory, Effects, Restoration, StateItem};
use roster_core::{Position, Timestamp};
use roster_store::Recover;

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
