//! Writes a publish command straight from the words of the core: nearly every command of a busy log is one,
//! and the messages of [`queue_messages`](super::queue_messages) would be made only to be thrown away.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use roster_core::queue::{Message, Origin, QueueName};

/// Of [`CommandKind::Publish`](super::queue_messages::CommandKind).
const PUBLISH: u32 = 5;

/// Appends the bytes of the command, those that prost would write.
pub(super) fn encode(queue: &QueueName, origin: Option<&Origin>, messages: &[Message], into: &mut BytesMut) {
    let producer = origin.map_or("", |origin| origin.producer.as_str());
    let first = origin.map_or(0, |origin| origin.first);
    let bodies: usize = messages.iter().map(|message| field_len(message_len(message))).sum();
    let first_len = if first == 0 { 0 } else { 1 + encoded_len_varint(first) };
    let length = text_len(queue.as_str()) + text_len(producer) + first_len + bodies;
    into.reserve(field_len(length));
    put_head(PUBLISH, length, into);
    put_text(1, queue.as_str(), into);
    put_text(2, producer, into);
    if first != 0 {
        encode_key(3, WireType::Varint, into);
        encode_varint(first, into);
    }
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

fn message_len(message: &Message) -> usize {
    let headers: usize = message.headers().map(|(key, value)| field_len(text_len(key) + text_len(value))).sum();
    bytes_len(message.payload()) + text_len(message.content_type()) + headers
}

/// Key (all of them are below 16), length, and what follows.
fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { field_len(bytes.len()) }
}

fn text_len(text: &str) -> usize {
    bytes_len(text.as_bytes())
}

fn put_head(tag: u32, length: usize, into: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
}

/// What is empty is left out.
fn put_bytes(tag: u32, bytes: &[u8], into: &mut BytesMut) {
    if !bytes.is_empty() {
        put_head(tag, bytes.len(), into);
        into.put_slice(bytes);
    }
}

fn put_text(tag: u32, text: &str, into: &mut BytesMut) {
    put_bytes(tag, text.as_bytes(), into);
}
