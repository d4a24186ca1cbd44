//! What an instance says about itself, read where it stands.
//!
//! The texts of a [`v1::Registration`] are borrowed, from the message or from its bytes: they become words, and
//! nothing of them is needed after.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use roster_core::{Address, Kind, Label, Metadata, Registration, ServiceName, Tags, limits};

use super::refusal::invalid;
use crate::v1;

/// The fields of a [`v1::Registration`].
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    service: &'a str,
    host: &'a str,
    port: u32,
    kind: i32,
    node_index: u32,
    version: u64,
    weight: Option<u32>,
    zone: &'a str,
    tags: Vec<&'a str>,
    metadata: Vec<(&'a str, &'a str)>,
}

impl<'a> From<&'a v1::Registration> for Fields<'a> {
    fn from(wire: &'a v1::Registration) -> Self {
        Self {
            service: &wire.service,
            host: &wire.host,
            port: wire.port,
            kind: wire.kind,
            node_index: wire.node_index,
            version: wire.version,
            weight: wire.weight,
            zone: &wire.zone,
            tags: wire.tags.iter().map(String::as_str).collect(),
            metadata: wire.metadata.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect(),
        }
    }
}

impl<'a> Fields<'a> {
    /// The fields in the bytes of a message. Unknown ones are passed over, of double ones the last counts.
    ///
    /// # Errors
    /// A refusal when the bytes are no message.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, v1::Refusal> {
        Self::read(bytes).ok_or_else(|| v1::Refusal {
            code: v1::refusal::Code::InvalidArgument.into(),
            message: "the registration is no message that can be read".to_owned(),
            ..Default::default()
        })
    }

    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let from = &mut bytes;
        while from.has_remaining() {
            let (tag, wire) = decode_key(from).ok()?;
            match (tag, wire) {
                (1, WireType::LengthDelimited) => fields.service = text(from)?,
                (2, WireType::LengthDelimited) => fields.host = text(from)?,
                // Numbers are cut to 32 bits, as protobuf says.
                (3, WireType::Varint) => fields.port = decode_varint(from).ok()? as u32,
                (4, WireType::Varint) => fields.kind = decode_varint(from).ok()? as i32,
                (5, WireType::Varint) => fields.node_index = decode_varint(from).ok()? as u32,
                (6, WireType::Varint) => fields.version = decode_varint(from).ok()?,
                (7, WireType::Varint) => fields.weight = Some(decode_varint(from).ok()? as u32),
                (8, WireType::LengthDelimited) => fields.zone = text(from)?,
                (9, WireType::LengthDelimited) => fields.tags.push(text(from)?),
                (10, WireType::LengthDelimited) => fields.metadata.push(pair(piece(from)?)?),
                (1..=10, _) => return None,
                _ => skip_field(wire, tag, from, DecodeContext::default()).ok()?,
            }
        }
        Some(fields)
    }

    /// # Errors
    /// A refusal that names the field.
    pub(super) fn parse(self) -> Result<Registration, v1::Refusal> {
        let kind = match v1::Kind::try_from(self.kind) {
            Ok(v1::Kind::Member) => Kind::Member,
            Ok(v1::Kind::Main) => Kind::Main,
            Ok(v1::Kind::Singleton) => Kind::Singleton,
            Ok(v1::Kind::Unspecified) | Err(_) => {
                return Err(v1::Refusal {
                    code: v1::refusal::Code::InvalidKind.into(),
                    message: format!("kind {} is not one of member (1), main (2), singleton (3)", self.kind),
                    ..Default::default()
                });
            }
        };
        let registration = Registration {
            service: ServiceName::parse(self.service).map_err(invalid)?,
            address: Address::parse(self.host, self.port).map_err(invalid)?,
            kind,
            node_index: self.node_index,
            version: self.version,
            weight: self.weight.unwrap_or(limits::WEIGHT_DEFAULT),
            zone: Label::parse("zone", self.zone).map_err(invalid)?,
            tags: Tags::parse(self.tags).map_err(invalid)?,
            metadata: Metadata::parse(self.metadata).map_err(invalid)?,
        };
        registration.check().map_err(invalid)
    }
}

fn pair(mut bytes: &[u8]) -> Option<(&str, &str)> {
    let (mut key, mut value) = ("", "");
    let from = &mut bytes;
    while from.has_remaining() {
        let (tag, wire) = decode_key(from).ok()?;
        match (tag, wire) {
            (1, WireType::LengthDelimited) => key = text(from)?,
            (2, WireType::LengthDelimited) => value = text(from)?,
            (1..=2, _) => return None,
            _ => skip_field(wire, tag, from, DecodeContext::default()).ok()?,
        }
    }
    Some((key, value))
}

fn text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(piece(from)?).ok()
}

fn piece<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(from).ok()?).ok()?;
    let (piece, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(piece)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn full() -> v1::Registration {
        let entry = |key: &str, value: &str| v1::MetadataEntry { key: key.into(), value: value.into() };
        v1::Registration {
            service: "team/orders".into(),
            host: "10.0.0.7".into(),
            port: 65_535,
            kind: v1::Kind::Singleton.into(),
            node_index: u32::MAX,
            version: u64::MAX,
            weight: Some(0),
            zone: "eu-1".into(),
            tags: vec!["blue".into(), "".into(), "名前".into()],
            metadata: vec![entry("a", &"x".repeat(300)), entry("", ""), entry("b", "")],
        }
    }

    #[test]
    fn the_fields_are_those_that_prost_reads() {
        for wire in [full(), v1::Registration::default()] {
            let bytes = wire.encode_to_vec();
            assert_eq!(Fields::read(&bytes), Some(Fields::from(&wire)));
        }
    }

    #[test]
    fn unknown_fields_are_passed_over_and_of_double_ones_the_last_counts() {
        let mut bytes = full().encode_to_vec();
        // Field 100 with a text, field 101 with a number, and another service.
        bytes.extend([0xA2, 0x06, 2, b'h', b'i', 0xA8, 0x06, 7, 0x0A, 1, b'x']);
        let service = "x".into();
        assert_eq!(Fields::read(&bytes), Some(Fields::from(&v1::Registration { service, ..full() })));
    }

    #[test]
    fn whatever_the_bytes_prost_reads_them_or_both_refuse() {
        let bytes = full().encode_to_vec();
        for cut in 0..bytes.len() {
            let mut wrong = bytes.clone();
            for bit in 0..8 {
                wrong[cut] ^= 1 << bit;
                let plain = v1::Registration::decode(wrong.as_slice());
                assert_eq!(Fields::read(&wrong), plain.as_ref().ok().map(Fields::from), "byte {cut} bit {bit}");
                wrong[cut] ^= 1 << bit;
            }
            let plain = v1::Registration::decode(&bytes[..cut]);
            assert_eq!(Fields::read(&bytes[..cut]), plain.as_ref().ok().map(Fields::from), "cut at {cut}");
        }
    }
}
