//! How a command ended.

use super::ids::{MessageId, QueueName};
use super::settings::{SettingDifferences, SettingOutOfRange};

/// How a command ended. The same on every node and at every replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing to tell but the position of the command.
    Done,
    /// The queue is new.
    Created,
    /// The queue was there already, with these settings.
    Exists,
    /// The last `stored` messages of the batch have the ids from `first` on; the `duplicates` before them
    /// were stored by an earlier command.
    Published { first: MessageId, stored: u64, duplicates: u64 },
    /// So many are removed; so many were not there (any more).
    Acknowledged { removed: u64, unknown: u64 },
    /// Of the deliveries, so many messages will be delivered again, so many are dead letters, and so many
    /// words came too late to mean anything.
    Ended { again: u64, dead: u64, stale: u64 },
    /// So many are removed, requeued or dropped; so many of those named are no dead letters.
    Moved { messages: u64, unknown: u64 },
    /// Nothing changed, because of a rule.
    Refused(Refusal),
}

/// Why nothing changed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("queue {queue} is not known; create it first")]
    UnknownQueue { queue: QueueName },
    #[error("queue {queue} has other settings: {differences}; ask for these, or update the settings")]
    SettingsDiffer { queue: QueueName, differences: SettingDifferences },
    #[error("the settings are not possible: {0}")]
    Settings(SettingOutOfRange),
    #[error(
        "queue {queue} is full: it keeps {kept} {unit} of {max}, {dead} of them dead letters; \
         try again when some are consumed or dropped"
    )]
    QueueFull { queue: QueueName, unit: &'static str, kept: u64, dead: u64, max: u64 },
    #[error("message {index} of the batch has {bytes} bytes; {max} at most")]
    MessageTooLarge { index: u64, bytes: u64, max: u64 },
    #[error("sequence {found} is not the next of its producer; send {expected} first, or take another producer id")]
    SequenceGap { expected: u64, found: u64 },
    #[error("{limit} are limited to {max}")]
    LimitExceeded { limit: &'static str, max: u64 },
}
