//! What can be asked of the queues. A command is logged first and applied after; its fate is decided
//! when it is applied, by nothing but the state and what the command itself says.

use super::ids::{MessageId, ProducerId, QueueName};
use super::message::{Delay, Message, Reason};
use super::settings::Settings;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A node is ready to serve: no consumer of before holds a message any more.
    StartNode,
    /// Gets the queue of this name, or creates it.
    CreateQueue { queue: QueueName, settings: Settings },
    /// Gives a queue other settings. Messages that are there already stay, whatever their size or attempts.
    UpdateSettings { queue: QueueName, settings: Settings },
    /// Removes a queue with all its messages.
    DeleteQueue { queue: QueueName },
    /// Stores all of these messages or, when refused, none.
    Publish { queue: QueueName, origin: Option<Origin>, messages: Vec<Message> },
    /// These are done, wherever they are: waiting, in flight, failed, or dead.
    Acknowledge { queue: QueueName, messages: Vec<MessageId> },
    /// These deliveries failed, or were not acknowledged in time.
    Fail { queue: QueueName, failures: Vec<Failure> },
    /// The consumer of these deliveries left without a verdict. Each counts as an attempt, so that a
    /// message that kills its consumers ends as a dead letter.
    Release { queue: QueueName, attempts: Vec<Attempt> },
    /// Removes messages unread.
    Purge { queue: QueueName, contents: Contents },
    /// Delivers dead letters again, as if they had never failed.
    RequeueDead { queue: QueueName, dead: DeadLetters },
    /// Removes dead letters.
    DropDead { queue: QueueName, dead: DeadLetters },
}

impl Command {
    /// The queue that it is about; whose dispatcher takes in its effects.
    #[must_use]
    pub fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::StartNode => None,
            Self::CreateQueue { queue, .. }
            | Self::UpdateSettings { queue, .. }
            | Self::DeleteQueue { queue }
            | Self::Publish { queue, .. }
            | Self::Acknowledge { queue, .. }
            | Self::Fail { queue, .. }
            | Self::Release { queue, .. }
            | Self::Purge { queue, .. }
            | Self::RequeueDead { queue, .. }
            | Self::DropDead { queue, .. } => Some(queue),
        }
    }
}

/// Where a batch comes from. The sequences of a producer begin at 1 and have no gaps; what was stored
/// already is not stored again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub producer: ProducerId,
    /// The sequence of the first message of the batch.
    pub first: u64,
}

/// One delivery: the message, and the number of the attempt, the first being 1. A word about an earlier
/// attempt changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub message: MessageId,
    pub attempt: u32,
}

/// A delivery that failed. Its sender chooses the delay: the consumer's own, or the back-off with the
/// jitter that a replay could not repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub attempt: Attempt,
    pub delay: Delay,
    pub reason: Reason,
}

/// A part of what a queue keeps. A message in flight counts as what it was when it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Messages that never failed.
    Waiting,
    /// Messages that failed and are not dead.
    Failed,
    /// Dead letters.
    Dead,
    /// All of these.
    All,
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    All,
    These(Vec<MessageId>),
}
