//! Instances as they stand.

use std::sync::Arc;

use roster_core::directory::{Instance, Liveness, SuspectReason};
use roster_core::{InstanceId, Position, SessionId, Timestamp, Token};

use super::facts::{encode_registration, missing, parse_registration};
use crate::v1;

/// The wire form of an instance.
#[must_use]
pub fn encode_instance(instance: &Instance) -> v1::Instance {
    let (liveness, reason) = match instance.liveness {
        Liveness::Up => (v1::Liveness::Up, v1::SuspectReason::Unspecified),
        Liveness::Unconfirmed => (v1::Liveness::Unconfirmed, v1::SuspectReason::Unspecified),
        Liveness::Suspect(reason) => (v1::Liveness::Suspect, encode_reason(reason)),
    };
    v1::Instance {
        id: instance.id.get(),
        registration: Some(encode_registration(&instance.registration)),
        session_id: instance.session.get(),
        liveness: liveness.into(),
        suspect_reason: reason.into(),
        draining: instance.draining,
        pending: instance.pending,
        fencing_token: instance.token.map_or(0, Token::get),
        registered_unix_ms: instance.registered.get(),
        changed_position: instance.changed.get(),
    }
}

/// The words of a [`v1::Instance`], as a reader needs them.
///
/// # Errors
/// A refusal that names the field.
pub fn parse_instance(wire: &v1::Instance) -> Result<Instance, v1::Refusal> {
    let registration = wire.registration.as_ref().ok_or_else(|| missing("registration", "an instance has one"))?;
    let liveness = match wire.liveness() {
        v1::Liveness::Up => Liveness::Up,
        v1::Liveness::Unconfirmed => Liveness::Unconfirmed,
        v1::Liveness::Suspect => Liveness::Suspect(parse_reason(wire.suspect_reason())?),
        v1::Liveness::Unspecified => return Err(missing("liveness", "an instance has one")),
    };
    Ok(Instance {
        id: InstanceId::new(wire.id),
        registration: Arc::new(parse_registration(registration)?),
        session: SessionId::new(wire.session_id),
        liveness,
        draining: wire.draining,
        pending: wire.pending,
        token: (wire.fencing_token != 0).then(|| Token::new(wire.fencing_token)),
        registered: Timestamp::new(wire.registered_unix_ms),
        changed: Position::new(wire.changed_position),
    })
}

pub(super) fn encode_reason(reason: SuspectReason) -> v1::SuspectReason {
    match reason {
        SuspectReason::StreamClosed => v1::SuspectReason::StreamClosed,
        SuspectReason::PingTimeout => v1::SuspectReason::PingTimeout,
        SuspectReason::CheckFailed => v1::SuspectReason::CheckFailed,
    }
}

pub(super) fn parse_reason(wire: v1::SuspectReason) -> Result<SuspectReason, v1::Refusal> {
    match wire {
        v1::SuspectReason::StreamClosed => Ok(SuspectReason::StreamClosed),
        v1::SuspectReason::PingTimeout => Ok(SuspectReason::PingTimeout),
        v1::SuspectReason::CheckFailed => Ok(SuspectReason::CheckFailed),
        v1::SuspectReason::Unspecified => Err(missing("suspect_reason", "a suspect instance has one")),
    }
}
