//! Queues: their settings, their messages, and deliveries.

use roster_core::queue::{Delivery, Message, QueueName, Settings};
use roster_core::{Label, Metadata};

use super::refusal::invalid;
use crate::v1;

type Parsed<T> = Result<T, v1::Refusal>;

/// The name of a queue.
///
/// # Errors
/// A refusal that says what is wrong with it.
pub fn parse_queue_name(name: &str) -> Parsed<QueueName> {
    QueueName::parse(name).map_err(invalid)
}

/// Checks what should stand behind a name; unset means a work queue, which is all there is.
///
/// # Errors
/// A refusal when this node does not know the type.
pub fn parse_queue_type(wire: i32) -> Parsed<()> {
    match v1::QueueType::try_from(wire) {
        Ok(v1::QueueType::Unspecified | v1::QueueType::Work) => Ok(()),
        Err(_) => Err(v1::Refusal {
            code: v1::refusal::Code::InvalidArgument.into(),
            message: format!("queue type {wire} is not known to this node; it knows work (1)"),
            ..Default::default()
        }),
    }
}

/// The settings of a queue; what is unset is taken from `base`. They are not checked: the machine does.
#[must_use]
pub fn parse_queue_settings(wire: Option<&v1::QueueSettings>, base: Settings) -> Settings {
    let Some(wire) = wire else { return base };
    Settings {
        in_flight_max: wire.in_flight_max.unwrap_or(base.in_flight_max),
        ack_timeout_millis: wire.ack_timeout_ms.unwrap_or(base.ack_timeout_millis),
        attempts_max: wire.attempts_max.unwrap_or(base.attempts_max),
        back_off_first_millis: wire.back_off_first_ms.unwrap_or(base.back_off_first_millis),
        back_off_last_millis: wire.back_off_last_ms.unwrap_or(base.back_off_last_millis),
        message_bytes_max: wire.message_bytes_max.unwrap_or(base.message_bytes_max),
        waiting_max: wire.waiting_max.unwrap_or(base.waiting_max),
        waiting_bytes_max: wire.waiting_bytes_max.unwrap_or(base.waiting_bytes_max),
    }
}

/// The wire form of settings, every one set.
#[must_use]
pub fn encode_queue_settings(settings: &Settings) -> v1::QueueSettings {
    v1::QueueSettings {
        in_flight_max: Some(settings.in_flight_max),
        ack_timeout_ms: Some(settings.ack_timeout_millis),
        attempts_max: Some(settings.attempts_max),
        back_off_first_ms: Some(settings.back_off_first_millis),
        back_off_last_ms: Some(settings.back_off_last_millis),
        message_bytes_max: Some(settings.message_bytes_max),
        waiting_max: Some(settings.waiting_max),
        waiting_bytes_max: Some(settings.waiting_bytes_max),
    }
}

/// A message to be stored. Its payload shares the buffer in which it came.
///
/// # Errors
/// A refusal that names the content type or the header that cannot be.
pub fn parse_message(wire: v1::QueueMessage) -> Parsed<Message> {
    if wire.content_type.is_empty() && wire.headers.is_empty() {
        return Ok(Message::plain(wire.payload));
    }
    let content_type = Label::parse("content type", &wire.content_type).map_err(invalid)?;
    let headers = Metadata::parse(wire.headers.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())));
    Ok(Message::described(wire.payload, content_type, headers.map_err(invalid)?))
}

/// The wire form of a message; it shares the payload.
#[must_use]
pub fn encode_message(message: &Message) -> v1::QueueMessage {
    v1::QueueMessage {
        payload: message.payload().clone(),
        content_type: message.content_type().to_owned(),
        headers: message
            .headers()
            .map(|(key, value)| v1::MetadataEntry { key: key.to_owned(), value: value.to_owned() })
            .collect(),
    }
}

/// The wire form of a delivery.
#[must_use]
pub fn encode_delivery(delivery: &Delivery) -> v1::QueueDelivery {
    v1::QueueDelivery {
        message_id: delivery.id.get(),
        attempt: delivery.attempt,
        enqueued_unix_ms: delivery.enqueued.get(),
        message: Some(encode_message(&delivery.message)),
    }
}
