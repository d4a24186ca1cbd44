//! The facts that the queues are made of, as a snapshot lists them.

use super::backlog::Totals;
use super::ids::{MessageId, ProducerId, QueueName};
use super::message::{Message, Reason};
use super::settings::Settings;
use crate::words::{Position, Timestamp};

/// One fact. They come in this order: the counters once, then queue after queue by name, each with its
/// producers by position and its messages, which belong to the queue that was named last: those that
/// never failed, the failed, the dead, each by ascending id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateItem {
    /// Once. `deleted` is the highest message id of a queue that is no more.
    Counters { revision: Position, deleted: MessageId },
    /// Every queue. `last` is the last message id that it gave out.
    Queue { name: QueueName, settings: Settings, last: MessageId, totals: Totals },
    /// Every producer that it remembers: its last sequence, and time and position of its last batch.
    Producer { producer: ProducerId, last: u64, used: Timestamp, position: Position },
    /// A message that never failed.
    Fresh { id: MessageId, enqueued: Timestamp, message: Message },
    /// A message that failed, or was requeued (then without attempts).
    Failed { id: MessageId, enqueued: Timestamp, attempts: u32, due: Timestamp, reason: Reason, message: Message },
    /// A dead letter.
    Dead { id: MessageId, enqueued: Timestamp, attempts: u32, since: Timestamp, reason: Reason, message: Message },
}
