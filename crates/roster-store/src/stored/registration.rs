//! Writes what holds a registration straight from the words of the core: nearly every command of a busy log is
//! one, and so is nearly every item of its snapshot. The messages of [`messages`](super::messages) would cost a
//! string for each field, only to be thrown away.

use bytes::BytesMut;
use roster_core::directory::Instance;
use roster_core::{Cutover, Handover, Kind, Registration, SessionId, Token};

use super::fields::{field_len, number_len, put_head, put_number, put_text, text_len};
use super::{messages, to_stored};

/// Of [`CommandKind::Register`](messages::CommandKind).
const REGISTER: u32 = 7;
/// Of [`ItemKind::Instance`](messages::ItemKind).
const INSTANCE: u32 = 4;

/// Appends the bytes of the command, those that prost would write.
pub(super) fn encode_register(
    session: SessionId,
    facts: &Registration,
    handover: Handover,
    cutover: Option<Cutover>,
    into: &mut BytesMut,
) {
    let facts_len = facts_len(facts);
    let after = cutover.map(|cutover| u64::from(to_stored::cutover(cutover).after));
    let cutover_len = after.map_or(0, |after| field_len(number_len(after)));
    let handover = u64::from(handover.millis());
    let length = number_len(session.get()) + field_len(facts_len) + number_len(handover) + cutover_len;
    into.reserve(field_len(length));
    put_head(REGISTER, length, into);
    put_number(1, session.get(), into);
    put_head(2, facts_len, into);
    put_facts(facts, into);
    put_number(3, handover, into);
    if let Some(after) = after {
        put_head(4, number_len(after), into);
        put_number(1, after, into);
    }
}

/// Appends the bytes of the item, those that prost would write.
pub(super) fn encode_instance(instance: &Instance, place: u64, handover: Handover, into: &mut BytesMut) {
    let facts_len = facts_len(&instance.registration);
    let liveness = i32::from(to_stored::liveness(instance.liveness));
    let numbers = [
        (3, instance.session.get()),
        (4, u64::from(liveness.unsigned_abs())),
        (5, instance.draining.into()),
        (6, instance.pending.into()),
        // A token is a position, and none of them is 0.
        (7, instance.token.map_or(0, Token::get)),
        (8, instance.registered.get()),
        (9, instance.changed.get()),
        (10, place),
        (11, handover.millis().into()),
    ];
    let length: usize = numbers.iter().map(|&(_, number)| number_len(number)).sum();
    let length = number_len(instance.id.get()) + field_len(facts_len) + length;
    into.reserve(field_len(length));
    put_head(INSTANCE, length, into);
    put_number(1, instance.id.get(), into);
    put_head(2, facts_len, into);
    put_facts(&instance.registration, into);
    for (tag, number) in numbers {
        put_number(tag, number, into);
    }
}

fn facts_len(facts: &Registration) -> usize {
    let numbers: usize = numbers(facts).iter().map(|&(_, number)| number_len(number)).sum();
    let tags: usize = facts.tags.iter().map(|tag| field_len(tag.len())).sum();
    let pairs: usize = facts.metadata.iter().map(|(key, value)| field_len(text_len(key) + text_len(value))).sum();
    text_len(facts.service.as_str())
        + text_len(facts.address.host())
        + numbers
        + text_len(facts.zone.as_str())
        + tags
        + pairs
}

fn put_facts(facts: &Registration, into: &mut BytesMut) {
    put_text(1, facts.service.as_str(), into);
    put_text(2, facts.address.host(), into);
    for (tag, number) in numbers(facts) {
        put_number(tag, number, into);
    }
    put_text(8, facts.zone.as_str(), into);
    for tag in facts.tags.iter() {
        // None is empty; in a list prost would not leave it out.
        put_text(9, tag, into);
    }
    for (key, value) in facts.metadata.iter() {
        put_head(10, text_len(key) + text_len(value), into);
        put_text(1, key, into);
        put_text(2, value, into);
    }
}

fn numbers(facts: &Registration) -> [(u32, u64); 5] {
    let kind = match facts.kind {
        Kind::Member => messages::Kind::Member,
        Kind::Main => messages::Kind::Main,
        Kind::Singleton => messages::Kind::Singleton,
    };
    [
        (3, facts.address.port().into()),
        (4, kind as u64),
        (5, facts.node_index.into()),
        (6, facts.version),
        (7, facts.weight.into()),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message;
    use roster_core::directory::{Command, Liveness, StateItem, SuspectReason};
    use roster_core::{Address, InstanceId, Label, Metadata, Position, ServiceName, Tags, Timestamp};

    use super::*;

    /// One with every field, and one with as few as can be.
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
        let mut bytes = BytesMut::new();
        for registration in registrations() {
            for cutover in [None, Some(Cutover::SideBySide), Some(Cutover::after(300).unwrap())] {
                for handover in [Handover::default(), Handover::from_millis(70_000).unwrap()] {
                    let session = SessionId::new(300);
                    let registration = Arc::new(registration.clone());
                    bytes.clear();
                    encode_register(session, &registration, handover, cutover, &mut bytes);
                    let command = Command::Register { session, registration, handover, cutover };
                    assert_eq!(bytes[..], to_stored::command(&command).encode_to_vec(), "{command:?}");
                }
            }
        }
    }

    #[test]
    fn the_bytes_of_an_item_are_those_of_the_messages() {
        let mut bytes = BytesMut::new();
        for registration in registrations() {
            for token in [None, Some(Token::new(9))] {
                let handover = Handover::from_millis(1).unwrap();
                let instance = Instance {
                    id: InstanceId::new(7),
                    registration: Arc::new(registration.clone()),
                    session: SessionId::new(300),
                    liveness: Liveness::Suspect(SuspectReason::CheckFailed),
                    draining: token.is_some(),
                    pending: token.is_none(),
                    token,
                    registered: Timestamp::new(1_700_000_000_000),
                    changed: Position::new(0),
                };
                bytes.clear();
                encode_instance(&instance, 5, handover, &mut bytes);
                let item = StateItem::Instance { instance, place: 5, handover };
                assert_eq!(bytes[..], to_stored::item(&item).encode_to_vec(), "{item:?}");
            }
        }
    }
}
