//! Writes a publish command straight from the words of the core: nearly every command of a busy log is one,
//! and the messages of [`queue_messages`](super::queue_messages) would be made only to be thrown away.

use bytes::BytesMut;
use roster_core::queue::{Message, Origin, QueueName};

use super::fields::{bytes_len, field_len, number_len, put_bytes, put_head, put_number, put_text, text_len};

/// Of [`CommandKind::Publish`](super::queue_messages::CommandKind).
const PUBLISH: u32 = 5;

/// Appends the bytes of the command, those that prost would write.
pub(super) fn encode(queue: &QueueName, origin: Option<&Origin>, messages: &[Message], into: &mut BytesMut) {
    let (producer, first) = source(origin);
    let length = body_len(queue, origin, messages);
    into.reserve(field_len(length));
    put_head(PUBLISH, length, into);
    put_text(1, queue.as_str(), into);
    put_text(2, producer, into);
    put_number(3, first, into);
    for message in messages {
        put_head(4, message_len(message), into);
        put_bytes(1, message.payload(), into);
        put_text(2, message.content_type(), into);
        for (key, value) in message.headers() {
            put_head(3, text_len(key) + text_len(value), into);
            put_text(1, key, into);
            put_text(2, value, into);
        }
    }
}

/// How many bytes [`encode`] appends.
pub(super) fn len(queue: &QueueName, origin: Option<&Origin>, messages: &[Message]) -> usize {
    field_len(body_len(queue, origin, messages))
}

fn body_len(queue: &QueueName, origin: Option<&Origin>, messages: &[Message]) -> usize {
    let (producer, first) = source(origin);
    let bodies: usize = messages.iter().map(|message| field_len(message_len(message))).sum();
    text_len(queue.as_str()) + text_len(producer) + number_len(first) + bodies
}

/// As it is stored: nobody has no name and begins at 0.
fn source(origin: Option<&Origin>) -> (&str, u64) {
    origin.map_or(("", 0), |origin| (origin.producer.as_str(), origin.first))
}

fn message_len(message: &Message) -> usize {
    let headers: usize = message.headers().map(|(key, value)| field_len(text_len(key) + text_len(value))).sum();
    bytes_len(message.payload()) + text_len(message.content_type()) + headers
}
