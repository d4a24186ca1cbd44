//! Instances, and the events that tell of them, straight from the words of the core to the bytes of a message.
//!
//! A reading has many of them, and the messages of [`v1`] would cost a string for each text, only to be thrown
//! away. The length of a message is written when the message has been, for to count it before would be to go
//! through everything twice (docs/performance.md).
//!
//! `roster-store` writes its records in the same way, with code of its own: neither crate knows the other, the core
//! knows no protobuf, and the stored form must stay as it is when the wire changes.

use prost::Message;
use prost::encoding::WireType;
use roster_core::directory::{Event, Instance, Liveness};
use roster_core::{InstanceId, Kind, Position, Registration, ServiceName, Token};

use super::event::encode_event;
use super::instance::encode_reason;
use crate::v1;

/// Appends a field that holds an instance: the bytes that prost would write for
/// [`encode_instance`](super::encode_instance).
pub fn put_instance(tag: u32, instance: &Instance, into: &mut Vec<u8>) {
    put_message(tag, into, |into| {
        put_number(1, instance.id.get(), into);
        put_message(2, into, |into| put_facts(&instance.registration, into));
        for (tag, number) in numbers(instance) {
            put_number(tag, number, into);
        }
    });
}

/// Appends a group of events: the bytes that prost would write for [`encode_events`](super::encode_events).
pub fn put_events<'a>(position: Position, events: impl IntoIterator<Item = &'a Event>, into: &mut Vec<u8>) {
    put_number(1, position.get(), into);
    for event in events {
        match event {
            Event::Up(instance) => put_message(2, into, |into| put_instance(4, instance, into)),
            Event::Changed(instance) => put_message(2, into, |into| put_instance(6, instance, into)),
            Event::MainChanged { service, main } => put_message(2, into, |into| put_main(service, *main, into)),
            // As short as these are, and as few, their messages cost nothing that counts.
            Event::Suspect { .. } | Event::Draining { .. } | Event::Replaced { .. } | Event::Removed { .. } => {
                put_message(2, into, |into| into.extend(encode_event(event).encode_to_vec()));
            }
        }
    }
}

fn put_main(service: &ServiceName, main: Option<InstanceId>, into: &mut Vec<u8>) {
    put_message(8, into, |into| {
        put_text(1, service.as_str(), into);
        put_number(2, main.map_or(0, InstanceId::get), into);
    });
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

fn put_facts(facts: &Registration, into: &mut Vec<u8>) {
    put_text(1, facts.service.as_str(), into);
    put_text(2, facts.address.host(), into);
    for (tag, number) in facts_numbers(facts) {
        put_number(tag, number, into);
    }
    // Written even when it is 0, for unset means another weight.
    put_key(7, WireType::Varint, into);
    put_varint(facts.weight.into(), into);
    put_text(8, facts.zone.as_str(), into);
    for tag in facts.tags.iter() {
        put_bytes(9, tag.as_bytes(), into);
    }
    for (key, value) in facts.metadata.iter() {
        put_message(10, into, |into| {
            put_text(1, key, into);
            put_text(2, value, into);
        });
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

/// Below this a length is one byte.
const SHORT: usize = 0x80;

/// A field that holds what is written meanwhile. Room for a short length is left before it, and a longer one moves it.
fn put_message(tag: u32, into: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    put_key(tag, WireType::LengthDelimited, into);
    let at = into.len();
    into.push(0);
    content(into);
    let length = into.len() - at - 1;
    if length < SHORT {
        into[at] = length as u8;
    } else {
        let mut prefix = Vec::with_capacity(10);
        put_varint(length as u64, &mut prefix);
        into.splice(at..=at, prefix);
    }
}

fn put_bytes(tag: u32, bytes: &[u8], into: &mut Vec<u8>) {
    put_key(tag, WireType::LengthDelimited, into);
    put_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

fn put_text(tag: u32, text: &str, into: &mut Vec<u8>) {
    if !text.is_empty() {
        put_bytes(tag, text.as_bytes(), into);
    }
}

fn put_number(tag: u32, number: u64, into: &mut Vec<u8>) {
    if number != 0 {
        put_key(tag, WireType::Varint, into);
        put_varint(number, into);
    }
}

/// One byte, for no tag is above 15.
fn put_key(tag: u32, wire_type: WireType, into: &mut Vec<u8>) {
    debug_assert!(tag < 16, "a key of one byte");
    into.push((tag << 3) as u8 | wire_type as u8);
}

fn put_varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= SHORT as u64 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roster_core::directory::{RemovedCause, SuspectReason};
    use roster_core::{Address, Label, Metadata, SessionId, Tags, Timestamp};

    use super::super::{encode_events, encode_instance};
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

    fn instances() -> Vec<Instance> {
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
        instances
    }

    #[test]
    fn the_bytes_of_instances_are_those_of_the_messages() {
        let mut bytes = Vec::new();
        instances().iter().for_each(|instance| put_instance(1, instance, &mut bytes));
        let instances = instances().iter().map(encode_instance).collect();
        assert_eq!(bytes, v1::ListInstancesResponse { instances, ..Default::default() }.encode_to_vec());
    }

    #[test]
    fn the_bytes_of_events_are_those_of_the_messages() {
        let (service, instance) = (ServiceName::parse("a/b").unwrap(), InstanceId::new(300));
        let mut events: Vec<Event> = instances().into_iter().map(Event::Up).collect();
        events.extend(instances().into_iter().map(Event::Changed));
        events.extend(instances().into_iter().map(|new| Event::Replaced { old: instance, new }));
        events.extend([
            Event::MainChanged { service: service.clone(), main: Some(instance) },
            Event::MainChanged { service: service.clone(), main: None },
            Event::Suspect { service: service.clone(), instance, reason: SuspectReason::PingTimeout },
            Event::Draining { service: service.clone(), instance },
            Event::Removed { service, instance, cause: RemovedCause::Logout },
        ]);
        for position in [0, 7, u64::MAX].map(Position::new) {
            let mut bytes = Vec::new();
            put_events(position, &events, &mut bytes);
            assert_eq!(bytes, encode_events(position, &events).encode_to_vec());
        }
    }
}
