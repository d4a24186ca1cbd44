//! What the tests of the log share: commands by number, and a machine that only remembers.

use std::sync::Arc;

use roster_core::directory::{Command, StateItem};
use roster_core::{Grace, Label, Position, SecretHash, SessionId, Timestamp};
use roster_store::{Disk, LocalLog, LogSettings, OpenError, OrderedLog, Records, Recover};

/// The command that the tests put at a position: told apart from all others by its label.
pub(crate) fn command(number: u64) -> Command {
    Command::OpenSession {
        secret: SecretHash([number as u8; 16]),
        grace: Grace::default(),
        client: Label::parse("client", &format!("client-{number}")).unwrap(),
    }
}

/// An item that says which commands it stands for.
pub(crate) fn item(number: u64) -> StateItem {
    StateItem::Counters { revision: Position::new(number), last_session: SessionId::new(number) }
}

pub(crate) fn records(commands: impl IntoIterator<Item = u64>) -> Records {
    let mut records = Records::new();
    for number in commands {
        records.push(&command(number));
    }
    records
}

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::new(millis)
}

/// Remembers what it was told. The machine of the tests holds nothing but the list of its commands, so
/// a snapshot of it is one item per command.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Memory {
    pub(crate) items: Vec<StateItem>,
    pub(crate) snapshot_end: Option<Position>,
    pub(crate) commands: Vec<(Position, Timestamp, Command)>,
}

impl Recover for Memory {
    fn snapshot_item(&mut self, item: StateItem) -> Result<(), String> {
        self.items.push(item);
        Ok(())
    }

    fn snapshot_end(&mut self, position: Position) -> Result<(), String> {
        self.snapshot_end = Some(position);
        Ok(())
    }

    fn command(&mut self, position: Position, at: Timestamp, command: Command) -> Result<(), String> {
        self.commands.push((position, at, command));
        Ok(())
    }
}

impl Memory {
    /// Up to which command it remembers all, each at its place and nothing else; panics when it does not.
    pub(crate) fn whole(&self) -> u64 {
        let covered = self.snapshot_end.map_or(0, Position::get);
        let items: Vec<StateItem> = (1..=covered).map(item).collect();
        assert_eq!(self.items, items, "the snapshot holds what it was given");
        for (index, (position, _, found)) in self.commands.iter().enumerate() {
            let number = covered + 1 + index as u64;
            assert_eq!(position.get(), number, "L8: positions follow each other");
            assert_eq!(*found, command(number), "the command at {number} is the one that was appended there");
        }
        assert!(self.commands.is_sorted_by_key(|(_, at, _)| *at), "L9: time does not run backwards");
        covered + self.commands.len() as u64
    }
}

pub(crate) fn open(disk: &Arc<dyn Disk>, settings: &LogSettings) -> Result<(LocalLog, Memory), OpenError> {
    let mut memory = Memory::default();
    let log = LocalLog::open(Arc::clone(disk), settings.clone(), at(1), &mut memory)?;
    Ok((log, memory))
}

/// Writes the snapshot of the tests' machine and puts it in force.
pub(crate) fn rebuild(log: &mut LocalLog, now: u64) {
    let mut writer = log.begin_snapshot(at(now)).unwrap();
    for number in 1..=writer.position().get() {
        writer.push(&item(number)).unwrap();
    }
    let finished = writer.finish().unwrap();
    log.commit_snapshot(finished, at(now)).unwrap();
}

/// Lets the snapshot of the tests' machine be written with an append on the way.
pub(crate) fn rebuild_with_append(log: &mut LocalLog, now: u64) {
    let mut writer = log.begin_snapshot(at(now)).unwrap();
    append(log, now, 1);
    for number in 1..=writer.position().get() {
        writer.push(&item(number)).unwrap();
    }
    let finished = writer.finish().unwrap();
    log.commit_snapshot(finished, at(now)).unwrap();
}

/// Appends the next commands as one batch.
pub(crate) fn append(log: &mut LocalLog, now: u64, count: u64) {
    let first = log.next_position().get();
    log.append(at(now), &[records(first..first + count)]).unwrap();
}
