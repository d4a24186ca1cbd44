//! `roster restore`: a backup becomes the data-dir of a node.

use std::path::{Path, PathBuf};

use anyhow::Context;
use roster_store::{Directories, Directory, Queues, RealDisk, RestoreError, restore};

use super::logs::NodeLog;
use crate::exit::Exit;
use crate::render::{RestoredLine, Screen};

/// With this file a directory is a log.
const MANIFEST: &str = "MANIFEST";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster restore --from /backup/roster --to /var/lib/roster
  roster restore --from /backup/roster --to /var/lib/roster --switch-dir /mnt/roster
  roster serve --data-dir /var/lib/roster

Copies the backup into an empty directory, reads all of it back, and only then makes it a log that a
node starts from. The backup stays as it is; stop `roster backup` first. Let the old node not run again:
what it answered after the last copied position is not in the restored one, whose next positions (and so
fencing tokens) are those that the old one has given out.
Ends with 3 when there is no backup, 6 when it is damaged, 1 when the directory is not empty.
Fields of --output text: log, position, bytes, when the backup last had everything.")]
pub(crate) struct Restore {
    /// The directory that `roster backup` wrote
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data-dir that is made; not there yet, or empty
    #[arg(long, value_name = "DATA-DIR")]
    to: PathBuf,
    /// The switch-dir that the node will have; not there yet, or empty
    #[arg(long, value_name = "DIR")]
    switch_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Restore, screen: Screen) -> anyhow::Result<Exit> {
    // All is looked at before anything is written.
    for dir in [Some(&arguments.to), arguments.switch_dir.as_ref()].into_iter().flatten() {
        refuse_content(dir)?;
    }
    let mut lines = Vec::new();
    for log in NodeLog::ALL {
        let from = log.folder(&arguments.from);
        let switch = arguments.switch_dir.as_ref().map(|dir| log.folder(dir));
        let to = Directories::new(log.folder(&arguments.to), switch);
        let restored = match log {
            NodeLog::Directory => restore::<Directory>(&RealDisk, &from, &to),
            NodeLog::Queues => restore::<Queues>(&RealDisk, &from, &to),
        };
        match restored {
            Ok(restored) => {
                let (position, at) = (restored.position.get(), restored.at.get());
                lines.push(RestoredLine::new(log.word(), position, restored.bytes, at));
            }
            Err(error) => {
                // A node refuses files without their manifest, so it does not start from one log of two.
                for whole in NodeLog::ALL.into_iter().take_while(|&whole| whole != log) {
                    let _ = std::fs::remove_file(whole.folder(&arguments.to).join(MANIFEST));
                }
                return Err(anyhow::Error::new(error).context(format!("the log {} is not restored", log.word())));
            }
        }
    }
    lines.iter().try_for_each(|line| screen.show_next(line))?;
    Ok(Exit::Success)
}

fn refuse_content(dir: &Path) -> anyhow::Result<()> {
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", dir.display()))?;
        // A node leaves its lock behind.
        if entry.file_name() != "LOCK" {
            return Err(RestoreError::NotEmpty { found: entry.path() }.into());
        }
    }
    Ok(())
}
