//! What watchers and owners are told.

use roster_core::directory::{Event, Notice, OfflineReason, RemovedCause};
use roster_core::view::{Group, Told};
use roster_core::{InstanceId, Position, ServiceName};

use super::facts::missing;
use super::instance::{encode_instance, encode_reason, parse_instance, parse_reason};
use super::refusal::invalid;
use crate::v1;
use crate::v1::event::Event as Wire;

/// The wire form of a change.
#[must_use]
pub fn encode_event(event: &Event) -> v1::Event {
    let wire = match event {
        Event::Up(instance) => Wire::Up(encode_instance(instance)),
        Event::Changed(instance) => Wire::Changed(encode_instance(instance)),
        Event::Suspect { service, instance, reason } => Wire::Suspect(v1::Suspect {
            service: service.as_str().to_owned(),
            instance_id: instance.get(),
            reason: encode_reason(*reason).into(),
        }),
        Event::Draining { service, instance } => {
            Wire::Draining(v1::Draining { service: service.as_str().to_owned(), instance_id: instance.get() })
        }
        Event::MainChanged { service, main } => Wire::MainChanged(v1::MainChanged {
            service: service.as_str().to_owned(),
            instance_id: main.map_or(0, InstanceId::get),
        }),
        Event::Replaced { old, new } => {
            Wire::Replaced(v1::Replaced { old_instance_id: old.get(), instance: Some(encode_instance(new)) })
        }
        Event::Removed { service, instance, cause } => Wire::Removed(v1::Removed {
            service: service.as_str().to_owned(),
            instance_id: instance.get(),
            cause: encode_cause(*cause).into(),
        }),
    };
    v1::Event { event: Some(wire) }
}

/// The wire form of the changes of one command.
#[must_use]
pub fn encode_events<'a>(position: Position, events: impl IntoIterator<Item = &'a Event>) -> v1::EventGroup {
    v1::EventGroup { position: position.get(), events: events.into_iter().map(encode_event).collect() }
}

/// The wire form of a group.
#[must_use]
pub fn encode_group(group: &Group) -> v1::EventGroup {
    let events = group.told.iter().map(|told| match told {
        Told::Reset => v1::Event { event: Some(Wire::Reset(v1::Reset {})) },
        Told::Loaded => v1::Event { event: Some(Wire::Loaded(v1::Loaded {})) },
        Told::Bookmark => v1::Event { event: Some(Wire::Bookmark(v1::Bookmark {})) },
        Told::Event(event) => encode_event(event),
    });
    v1::EventGroup { position: group.position.get(), events: events.collect() }
}

/// The words of a group.
///
/// # Errors
/// The refusal that the watch itself met, or one that names a field that does not parse.
pub fn parse_group(wire: &v1::EventGroup) -> Result<Group, v1::Refusal> {
    let told = wire.events.iter().map(parse_event).collect::<Result<_, _>>()?;
    Ok(Group { position: Position::new(wire.position), told })
}

/// The words of one event.
///
/// # Errors
/// The refusal that the watch itself met, or one that names a field that does not parse.
pub fn parse_event(wire: &v1::Event) -> Result<Told, v1::Refusal> {
    let service = |name: &str| ServiceName::parse(name).map_err(invalid);
    let event = match wire
        .event
        .as_ref()
        .ok_or_else(|| missing("event", "a newer node may tell what this client does not know"))?
    {
        Wire::Reset(_) => return Ok(Told::Reset),
        Wire::Loaded(_) => return Ok(Told::Loaded),
        Wire::Bookmark(_) => return Ok(Told::Bookmark),
        Wire::Refused(refusal) => return Err(refusal.clone()),
        Wire::Up(instance) => Event::Up(parse_instance(instance)?),
        Wire::Changed(instance) => Event::Changed(parse_instance(instance)?),
        Wire::Suspect(suspect) => Event::Suspect {
            service: service(&suspect.service)?,
            instance: InstanceId::new(suspect.instance_id),
            reason: parse_reason(suspect.reason())?,
        },
        Wire::Draining(draining) => {
            Event::Draining { service: service(&draining.service)?, instance: InstanceId::new(draining.instance_id) }
        }
        Wire::MainChanged(changed) => Event::MainChanged {
            service: service(&changed.service)?,
            main: (changed.instance_id != 0).then(|| InstanceId::new(changed.instance_id)),
        },
        Wire::Replaced(replaced) => Event::Replaced {
            old: InstanceId::new(replaced.old_instance_id),
            new: parse_instance(
                replaced.instance.as_ref().ok_or_else(|| missing("instance", "a replacement has one"))?,
            )?,
        },
        Wire::Removed(removed) => Event::Removed {
            service: service(&removed.service)?,
            instance: InstanceId::new(removed.instance_id),
            cause: parse_cause(removed.cause())?,
        },
    };
    Ok(Told::Event(event))
}

fn encode_cause(cause: RemovedCause) -> v1::RemovedCause {
    match cause {
        RemovedCause::Logout => v1::RemovedCause::Logout,
        RemovedCause::LostContact => v1::RemovedCause::LostContact,
        RemovedCause::Superseded => v1::RemovedCause::Superseded,
        RemovedCause::Evicted => v1::RemovedCause::Evicted,
    }
}

fn parse_cause(wire: v1::RemovedCause) -> Result<RemovedCause, v1::Refusal> {
    match wire {
        v1::RemovedCause::Logout => Ok(RemovedCause::Logout),
        v1::RemovedCause::LostContact => Ok(RemovedCause::LostContact),
        v1::RemovedCause::Superseded => Ok(RemovedCause::Superseded),
        v1::RemovedCause::Evicted => Ok(RemovedCause::Evicted),
        v1::RemovedCause::Unspecified => Err(missing("cause", "a removal has one")),
    }
}

/// The wire form of what an owner is told; `position` is that of the command that it comes from.
#[must_use]
pub fn encode_notice(position: Position, notice: &Notice) -> v1::Notice {
    let (instance, wire) = match *notice {
        Notice::Offline { instance, reason, deadline_millis, .. } => {
            let reason = match reason {
                OfflineReason::Superseded => v1::offline::Reason::Superseded,
                OfflineReason::Handover => v1::offline::Reason::Handover,
                OfflineReason::Displaced => v1::offline::Reason::Displaced,
                OfflineReason::Replaced => v1::offline::Reason::Replaced,
                OfflineReason::Drained => v1::offline::Reason::Drained,
            };
            let offline = v1::Offline { reason: reason.into(), deadline_ms: deadline_millis };
            (instance, v1::notice::Notice::Offline(offline))
        }
        Notice::Promoted { instance, token, .. } => {
            (instance, v1::notice::Notice::Promoted(v1::Promoted { fencing_token: token.get() }))
        }
    };
    v1::Notice { instance_id: instance.get(), position: position.get(), notice: Some(wire) }
}
