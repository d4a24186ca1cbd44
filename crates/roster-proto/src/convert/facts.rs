//! What an instance says about itself, and the policies it brings.

use std::sync::Arc;

use roster_core::{Cutover, Grace, Handover, Kind, Registration};

use super::refusal::invalid;
use super::registration::Fields;
use crate::{encoded, v1};

type Parsed<T> = Result<T, v1::Refusal>;

/// The words of a [`v1::Register`], read from its bytes.
///
/// # Errors
/// A refusal that names the field.
pub fn parse_register(register: &encoded::Register) -> Parsed<(Arc<Registration>, Handover, Option<Cutover>)> {
    let registration = register.registration.as_ref();
    let registration = registration.ok_or_else(|| missing("registration", "say what is to be registered"))?;
    let handover = parse_handover(register.handover_ms)?;
    let cutover = register.cutover.as_ref().map(parse_cutover).transpose()?;
    Ok((Arc::new(Fields::decode(registration)?.parse()?), handover, cutover))
}

pub(super) fn parse_registration(wire: &v1::Registration) -> Parsed<Registration> {
    Fields::from(wire).parse()
}

/// The wire form of a registration.
#[must_use]
pub fn encode_registration(registration: &Registration) -> v1::Registration {
    let kind = match registration.kind {
        Kind::Member => v1::Kind::Member,
        Kind::Main => v1::Kind::Main,
        Kind::Singleton => v1::Kind::Singleton,
    };
    v1::Registration {
        service: registration.service.as_str().to_owned(),
        host: registration.address.host().to_owned(),
        port: registration.address.port().into(),
        kind: kind.into(),
        node_index: registration.node_index,
        version: registration.version,
        weight: Some(registration.weight),
        zone: registration.zone.as_str().to_owned(),
        tags: registration.tags.iter().map(str::to_owned).collect(),
        metadata: registration
            .metadata
            .iter()
            .map(|(key, value)| v1::MetadataEntry { key: key.to_owned(), value: value.to_owned() })
            .collect(),
    }
}

/// The words of a [`v1::Cutover`].
///
/// # Errors
/// A refusal when no policy is set, or it waits for no instance.
pub fn parse_cutover(wire: &v1::Cutover) -> Parsed<Cutover> {
    match wire.policy {
        Some(v1::cutover::Policy::After(instances)) => Cutover::after(instances).map_err(invalid),
        Some(v1::cutover::Policy::SideBySide(true)) => Ok(Cutover::SideBySide),
        Some(v1::cutover::Policy::SideBySide(false)) | None => {
            Err(missing("cutover", "say after how many instances, or side by side"))
        }
    }
}

/// The wire form of a cutover policy.
#[must_use]
pub fn encode_cutover(cutover: Cutover) -> v1::Cutover {
    let policy = match cutover {
        Cutover::After(instances) => v1::cutover::Policy::After(instances.get()),
        Cutover::SideBySide => v1::cutover::Policy::SideBySide(true),
    };
    v1::Cutover { policy: Some(policy) }
}

/// The grace of a hello; unset is the default.
///
/// # Errors
/// A refusal above 300 000 ms.
pub fn parse_grace(millis: Option<u32>) -> Parsed<Grace> {
    millis.map_or(Ok(Grace::default()), |millis| Grace::from_millis(millis).map_err(invalid))
}

/// The hand-over of a registration.
///
/// # Errors
/// A refusal above an hour.
pub fn parse_handover(millis: u32) -> Parsed<Handover> {
    Handover::from_millis(millis).map_err(invalid)
}

pub(super) fn missing(field: &str, what_to_do: &str) -> v1::Refusal {
    v1::Refusal {
        code: v1::refusal::Code::InvalidArgument.into(),
        message: format!("{field} is missing: {what_to_do}"),
        ..Default::default()
    }
}
