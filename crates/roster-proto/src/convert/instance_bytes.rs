//! Instances straight from the words of the core to the bytes of a message.
//!
//! A reading has many of them, and the messages of [`v1`] would cost a string for each text, only to be thrown
//! away (docs/performance.md).
//!
//! `roster-store` writes its records in the same way, with code of its own: neither crate knows the other, the core
//! knows no protobuf, and the stored form must stay as it is when the wire changes.

use prost::bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use roster_core::directory::{Instance, Liveness};
use roster_core::{Kind, Registration, Token};

use super::instance::encode_reason;
use crate::v1;

/// Appends a field that holds an instance: the bytes that prost would write for
/// [`encode_instance`](super::encode_instance).
pub fn put_instance(tag: u32, instance: &Instance, into: &mut impl BufMut) {
    let facts = &instance.registration;
    let facts_len = facts_len(facts);
    let numbers = numbers(instance);
    let length: usize = numbers.iter().map(|&(_, number)| number_len(number)).sum();
    put_head(tag, number_len(instance.id.get()) + field_len(facts_len) + length, into);
    put_number(1, instance.id.get(), into);
    put_head(2, facts_len, into);
    put_facts(facts, into);
    for (tag, number) in numbers {
        put_number(tag, number, into);
    }
}

/// What a [`v1::Instance`] says after the registration.
fn numbers(instance: &Instance) -> [(u32, u64); 8] {
    let (liveness, reason) = match instance.liveness {
        Liveness::Up => (v1::Liveness::Up, v1::SuspectReason::Unspecified),
        Liveness::Unconfirmed => (v1::Liveness::Unconfirmed, v1::SuspectReason::Unspecified),
        Liveness::Suspect(reason) => (v1::Liveness::Suspect, encode_reason(reason)),
    };
    [
        (3, instance.session.get()),
        (4, liveness as u64),
        (5, reason as u64),
        (6, instance.draining.into()),
        (7, instance.pending.into()),
        (8, instance.token.map_or(0, Token::get)),
        (9, instance.registered.get()),
        (10, instance.changed.get()),
    ]
}

fn facts_len(facts: &Registration) -> usize {
    let numbers: usize = facts_numbers(facts).iter().map(|&(_, number)| number_len(number)).sum();
    let tags: usize = facts.tags.iter().map(|tag| field_len(tag.len())).sum();
    let pairs: usize = facts.metadata.iter().map(|(key, value)| field_len(text_len(key) + text_len(value))).sum();
    text_len(facts.service.as_str())
        + text_len(facts.address.host())
        + numbers
        + KEY_LEN
        + encoded_len_varint(facts.weight.into())
        + text_len(facts.zone.as_str())
        + tags
        + pairs
}

fn put_facts(facts: &Registration, into: &mut impl BufMut) {
    put_text(1, facts.service.as_str(), into);
    put_text(2, facts.address.host(), into);
    for (tag, number) in facts_numbers(facts) {
        put_number(tag, number, into);
    }
    // Written even when it is 0, for unset means another weight.
    encode_key(7, WireType::Varint, into);
    encode_varint(facts.weight.into(), into);
    put_text(8, facts.zone.as_str(), into);
    for tag in facts.tags.iter() {
        put_head(9, tag.len(), into);
        into.put_slice(tag.as_bytes());
    }
    for (key, value) in facts.metadata.iter() {
        put_head(10, text_len(key) + text_len(value), into);
        put_text(1, key, into);
        put_text(2, value, into);
    }
}

fn facts_numbers(facts: &Registration) -> [(u32, u64); 4] {
    let kind = match facts.kind {
        Kind::Member => v1::Kind::Member,
        Kind::Main => v1::Kind::Main,
        Kind::Singleton => v1::Kind::Singleton,
    };
    [(3, facts.address.port().into()), (4, kind as u64), (5, facts.node_index.into()), (6, facts.version)]
}

/// Of every key: no tag is above 15.
const KEY_LEN: usize = 1;

fn field_len(length: usize) -> usize {
    KEY_LEN + encoded_len_varint(length as u64) + length
}

fn text_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { field_len(text.len()) }
}

fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { KEY_LEN + encoded_len_varint(number) }
}

fn put_head(tag: u32, length: usize, into: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
}

fn put_text(tag: u32, text: &str, into: &mut impl BufMut) {
    if !text.is_empty() {
        put_head(tag, text.len(), into);
        into.put_slice(text.as_bytes());
    }
}

fn put_number(tag: u32, number: u64, into: &mut impl BufMut) {
    if number != 0 {
        encode_key(tag, WireType::Varint, into);
        encode_varint(number, into);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message;
    use roster_core::directory::SuspectReason;
    use roster_core::{Address, InstanceId, Label, Metadata, Position, ServiceName, SessionId, Tags, Timestamp};

    use super::super::encode_instance;
    use super::*;

    /// One with as few fields as can be, and one with all.
    fn registrations() -> [Registration; 2] {
        let plain = Registration {
            service: ServiceName::parse("a").unwrap(),
            address: Address::parse("::1", 1).unwrap(),
            kind: Kind::Singleton,
            node_index: 0,
            version: 0,
            weight: 0,
            zone: Label::parse("zone", "").unwrap(),
            tags: Tags::parse([]).unwrap(),
            metadata: Metadata::parse([]).unwrap(),
        };
        let full = Registration {
            service: ServiceName::parse("team/".repeat(40).trim_end_matches('/')).unwrap(),
            address: Address::parse("10.0.0.7", 65_535).unwrap(),
            kind: Kind::Main,
            node_index: u32::MAX,
            version: u64::MAX,
            weight: 100,
            zone: Label::parse("zone", "eu-1").unwrap(),
            tags: Tags::parse(["blue", "http"]).unwrap(),
            metadata: Metadata::parse([("empty", ""), ("note", &"x".repeat(200))]).unwrap(),
        };
        [plain, full]
    }

    #[test]
    fn the_bytes_are_those_of_the_messages() {
        let livenesses = [
            Liveness::Up,
            Liveness::Unconfirmed,
            Liveness::Suspect(SuspectReason::StreamClosed),
            Liveness::Suspect(SuspectReason::PingTimeout),
            Liveness::Suspect(SuspectReason::CheckFailed),
        ];
        let mut instances = Vec::new();
        for registration in registrations() {
            for (nth, liveness) in (0..).zip(livenesses) {
                instances.push(Instance {
                    id: InstanceId::new(1 + 200 * nth),
                    registration: Arc::new(registration.clone()),
                    session: SessionId::new(300),
                    liveness,
                    draining: nth % 2 == 0,
                    pending: nth % 3 == 0,
                    token: (nth % 2 == 1).then(|| Token::new(9)),
                    registered: Timestamp::new(1_700_000_000_000 * nth),
                    changed: Position::new(7 * nth),
                });
            }
        }
        let mut bytes = Vec::new();
        instances.iter().for_each(|instance| put_instance(1, instance, &mut bytes));
        let instances = instances.iter().map(encode_instance).collect();
        assert_eq!(bytes, v1::ListInstancesResponse { instances, ..Default::default() }.encode_to_vec());
    }
}
