//! What a node tells about queues and the messages in them.

use roster_core::queue::{Message, MessageId, QueueName, Settings};
use roster_proto::convert::{parse_message, parse_queue_name, parse_queue_settings};
use roster_proto::v1;

/// A queue as it stood when the node answered.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueStatus {
    pub queue: QueueName,
    pub settings: Settings,
    /// Messages that never failed and are with nobody.
    pub waiting: u64,
    /// Messages with consumers.
    pub in_flight: u64,
    /// Messages that failed and wait for their next delivery.
    pub failed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of all of these.
    pub bytes: u64,
    pub consumers: u32,
    pub producers: u32,
    /// When the oldest message was published that is no dead letter, in milliseconds since 1970.
    pub oldest_unix_millis: Option<u64>,
    /// Since the queue was created.
    pub totals: QueueTotals,
    /// Messages a second, over about the last ten seconds.
    pub publish_rate: f64,
    pub acknowledge_rate: f64,
}

/// What happened in a queue since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueTotals {
    pub published: u64,
    pub acknowledged: u64,
    /// Deliveries that ended without an acknowledgement.
    pub failed: u64,
    /// Messages that became dead letters.
    pub dead: u64,
}

/// A message that a queue keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptMessage {
    pub id: MessageId,
    pub enqueued_unix_millis: u64,
    /// Deliveries that ended without an acknowledgement.
    pub attempts: u32,
    pub bytes: u64,
    /// Why the last delivery failed, if one did.
    pub reason: Option<String>,
    /// When it is delivered again, or since when it is dead.
    pub when_unix_millis: Option<u64>,
    /// Whether a consumer has it.
    pub in_flight: bool,
    /// When it was asked for.
    pub message: Option<Message>,
}

pub(super) fn parse_status(wire: v1::Queue) -> Result<QueueStatus, v1::Refusal> {
    Ok(QueueStatus {
        queue: parse_queue_name(&wire.name)?,
        settings: parse_queue_settings(wire.settings.as_ref(), Settings::default()),
        waiting: wire.waiting,
        in_flight: wire.in_flight,
        failed: wire.failed,
        dead: wire.dead,
        bytes: wire.bytes,
        consumers: wire.consumers,
        producers: wire.producers,
        oldest_unix_millis: (wire.oldest_unix_ms != 0).then_some(wire.oldest_unix_ms),
        totals: QueueTotals {
            published: wire.published_total,
            acknowledged: wire.acknowledged_total,
            failed: wire.failed_total,
            dead: wire.dead_total,
        },
        publish_rate: wire.publish_rate,
        acknowledge_rate: wire.acknowledge_rate,
    })
}

pub(super) fn parse_kept(wire: v1::KeptMessage) -> Result<KeptMessage, v1::Refusal> {
    Ok(KeptMessage {
        id: MessageId::new(wire.message_id),
        enqueued_unix_millis: wire.enqueued_unix_ms,
        attempts: wire.attempts,
        bytes: wire.bytes,
        reason: Some(wire.reason).filter(|reason| !reason.is_empty()),
        when_unix_millis: (wire.when_unix_ms != 0).then_some(wire.when_unix_ms),
        in_flight: wire.in_flight,
        message: wire.message.map(parse_message).transpose()?,
    })
}
