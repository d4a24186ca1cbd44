//! The queue machine: many queues in one log, each with what was published and is not yet done.
//!
//! A pure machine. It never asks for the time, for luck, for a file or for a socket: whatever it
//! needs comes inside a [`Command`], and the same commands give the same state, outcomes and effects.
//!
//! # Always true
//! * **K1, no gaps**: one applied command moves the revision by exactly one, refused ones too.
//! * **K2, one place**: a message is waiting for its first delivery, failed, or dead, and only one of these.
//! * **K3, counts agree**: messages and bytes counted equal what is there.
//! * **K4, numbers grow**: no message id is given out twice under one name, and none lies beyond the last.
//! * **K5, nothing vanishes**: what was published is kept, acknowledged, or discarded by a command that says so.
//! * **K6, producers are bounded**: each has one place in the order of use, and there are 10 000 at most.
//! * **K7, memory returns**: what is kept in memory follows what is kept; an empty queue holds none.
//!
//! Work per command is logarithmic in what a queue keeps, times the messages that the command names or
//! brings. A purge and a deletion take out whole tables and hand them over for dropping.

use std::collections::BTreeMap;

use super::backlog::Queue;
use super::command::{Command, DeadLetters};
use super::effect::Effects;
use super::ids::{MessageId, QueueName};
use super::outcome::{Outcome, Refusal};
use super::settings::Settings;
use super::turn::Turn;
use crate::limits::{MESSAGES_PER_COMMAND_MAX, QUEUES_MAX};
use crate::words::{Position, Timestamp};

/// The queues. One thread owns them; they take one command after the other. A copy is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    pub(super) revision: Position,
    /// The highest message id of a queue that was deleted; new queues begin above it.
    pub(super) deleted: MessageId,
    pub(super) by_name: BTreeMap<QueueName, Queue>,
}

impl Queues {
    /// No queues, at revision 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of the last applied command.
    #[must_use]
    pub fn revision(&self) -> Position {
        self.revision
    }

    /// Applies one command. `effects` is emptied first, then filled with what the dispatcher of its queue
    /// is told, in the order in which the command names its messages.
    pub fn apply(&mut self, at: Timestamp, command: Command, effects: &mut Effects) -> Outcome {
        effects.clear();
        self.revision = self.revision.next();
        let mut turn = Turn { position: self.revision, at, effects };
        let outcome = check_length(&command).and_then(|()| self.carry_out(&mut turn, command));
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        debug_assert!(
            !matches!(outcome, Outcome::Refused(_)) || *turn.effects == Effects::default(),
            "K1: a refused command told something"
        );
        outcome
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<Outcome, Refusal> {
        match command {
            Command::StartNode => {
                self.by_name.values_mut().for_each(|queue| queue.producers.expire(turn.at));
                Ok(Outcome::Done)
            }
            Command::CreateQueue { queue, settings } => self.create(queue, settings),
            Command::UpdateSettings { queue, settings } => {
                self.known(&queue)?.settings = settings.check().map_err(Refusal::Settings)?;
                Ok(Outcome::Done)
            }
            Command::DeleteQueue { queue } => self.delete(turn, queue),
            Command::Publish { queue, origin, messages } => self.known(&queue)?.publish(turn, queue, origin, messages),
            Command::Acknowledge { queue, messages } => Ok(self.known(&queue)?.acknowledge(turn.effects, &messages)),
            Command::Fail { queue, failures } => Ok(self.known(&queue)?.fail(turn, failures)),
            Command::Release { queue, attempts } => Ok(self.known(&queue)?.release(turn, &attempts)),
            Command::Purge { queue, contents } => Ok(self.known(&queue)?.purge(turn.effects, contents)),
            Command::RequeueDead { queue, dead } => Ok(self.known(&queue)?.requeue_dead(turn, dead)),
            Command::DropDead { queue, dead } => Ok(self.known(&queue)?.drop_dead(turn.effects, dead)),
        }
    }

    fn create(&mut self, name: QueueName, settings: Settings) -> Result<Outcome, Refusal> {
        if let Some(known) = self.by_name.get(&name) {
            if known.settings == settings {
                return Ok(Outcome::Exists);
            }
            let differences = known.settings.differences(&settings);
            return Err(Refusal::SettingsDiffer { queue: name, differences });
        }
        let settings = settings.check().map_err(Refusal::Settings)?;
        if self.by_name.len() >= QUEUES_MAX {
            return Err(Refusal::LimitExceeded { limit: "queues", max: QUEUES_MAX as u64 });
        }
        self.by_name.insert(name, Queue::new(settings, self.deleted));
        Ok(Outcome::Created)
    }

    fn delete(&mut self, turn: &mut Turn<'_>, name: QueueName) -> Result<Outcome, Refusal> {
        let Some(mut queue) = self.by_name.remove(&name) else {
            return Err(Refusal::UnknownQueue { queue: name });
        };
        self.deleted = self.deleted.max(queue.last);
        Ok(queue.purge(turn.effects, super::Contents::All))
    }

    fn known(&mut self, name: &QueueName) -> Result<&mut Queue, Refusal> {
        self.by_name.get_mut(name).ok_or_else(|| Refusal::UnknownQueue { queue: name.clone() })
    }
}

fn check_length(command: &Command) -> Result<(), Refusal> {
    let messages = match command {
        Command::Publish { messages, .. } => messages.len(),
        Command::Acknowledge { messages, .. } => messages.len(),
        Command::Fail { failures, .. } => failures.len(),
        Command::Release { attempts, .. } => attempts.len(),
        Command::RequeueDead { dead: DeadLetters::These(messages), .. }
        | Command::DropDead { dead: DeadLetters::These(messages), .. } => messages.len(),
        Command::StartNode
        | Command::CreateQueue { .. }
        | Command::UpdateSettings { .. }
        | Command::DeleteQueue { .. }
        | Command::Purge { .. }
        | Command::RequeueDead { dead: DeadLetters::All, .. }
        | Command::DropDead { dead: DeadLetters::All, .. } => 0,
    };
    if messages > MESSAGES_PER_COMMAND_MAX {
        let max = MESSAGES_PER_COMMAND_MAX as u64;
        return Err(Refusal::LimitExceeded { limit: "messages of one command", max });
    }
    Ok(())
}
