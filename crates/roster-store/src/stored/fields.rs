//! Fields of protobuf messages, written without the messages: for the few records that a busy log is made of.
//! All tags are below 16, and what is empty or 0 is left out, as prost does.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Key (all of them are below 16), length, and what follows.
pub(super) fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

pub(super) fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { field_len(bytes.len()) }
}

pub(super) fn text_len(text: &str) -> usize {
    bytes_len(text.as_bytes())
}

pub(super) fn put_head(tag: u32, length: usize, into: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
}

pub(super) fn put_bytes(tag: u32, bytes: &[u8], into: &mut BytesMut) {
    if !bytes.is_empty() {
        put_head(tag, bytes.len(), into);
        into.put_slice(bytes);
    }
}

pub(super) fn put_text(tag: u32, text: &str, into: &mut BytesMut) {
    put_bytes(tag, text.as_bytes(), into);
}

pub(super) fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number) }
}

pub(super) fn put_number(tag: u32, number: u64, into: &mut BytesMut) {
    if number != 0 {
        encode_key(tag, WireType::Varint, into);
        encode_varint(number, into);
    }
}
