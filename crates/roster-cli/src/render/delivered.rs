//! One delivery as a line on standard output.

use std::collections::BTreeMap;

use roster_client::queue::{Delivery, Message};
use serde::Serialize;

use super::age;
use super::kept::{PayloadShown, headers};
use super::screen::Format;

/// A delivery as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Delivered<'a> {
    id: u64,
    attempt: u32,
    enqueued: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_type: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(flatten)]
    payload: PayloadShown,
}

impl<'a> Delivered<'a> {
    fn new(delivery: &'a Delivery<Message>) -> Self {
        let message = &delivery.message;
        Self {
            id: delivery.id.get(),
            attempt: delivery.attempt,
            enqueued: age::stamp(delivery.enqueued_unix_millis),
            content_type: message.content_type(),
            headers: headers(message),
            payload: PayloadShown::new(message),
        }
    }

    /// Adds the line: an object in JSON, else the payload as it is.
    ///
    /// # Errors
    /// None that a delivery could cause; the encoder's are passed on.
    pub(crate) fn write(delivery: &'a Delivery<Message>, format: Format, line: &mut Vec<u8>) -> serde_json::Result<()> {
        match format {
            Format::Json => serde_json::to_writer(&mut *line, &Self::new(delivery))?,
            Format::Table | Format::Text => line.extend_from_slice(delivery.message.payload()),
        }
        line.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use roster_client::queue::MessageId;

    use super::*;

    #[test]
    fn a_payload_is_a_line_as_it_is_and_an_object_in_json() {
        let message = Message::plain(b"a \xff".as_slice().into());
        let delivery = Delivery {
            value: message.clone(),
            message,
            id: MessageId::new(4),
            attempt: 2,
            enqueued_unix_millis: 1_767_225_600_125,
        };
        let mut lines = Vec::new();
        Delivered::write(&delivery, Format::Table, &mut lines).unwrap();
        assert_eq!(lines, b"a \xff\n");
        lines.clear();
        Delivered::write(&delivery, Format::Json, &mut lines).unwrap();
        let expected =
            r#"{"id":4,"attempt":2,"enqueued":"2026-01-01T00:00:00.125Z","payload_base64":"YSD/"}"#.to_owned() + "\n";
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }
}
