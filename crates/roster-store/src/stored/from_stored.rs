//! From the stored messages to the words of the core, by the core's own parsing: what does not parse
//! is an error, never a value.

use std::sync::Arc;

use roster_core::directory::{Caller, Command, Instance, Liveness, StateItem, SuspectReason};
use roster_core::{
    Address, Cutover, Grace, Handover, InstanceId, InvalidWord, Kind, Label, Metadata, Position, Registration,
    SecretHash, ServiceName, SessionId, Tags, Timestamp, Token,
};

use super::messages::{self, CommandKind, ItemKind};
use crate::codec::InvalidRecord;

type Result<T> = std::result::Result<T, InvalidRecord>;

impl From<InvalidWord> for InvalidRecord {
    fn from(word: InvalidWord) -> Self {
        Self::new(word.to_string())
    }
}

pub(super) fn command(stored: messages::Command) -> Result<Command> {
    let kind = stored.kind.ok_or_else(|| InvalidRecord::new("a command of no known kind"))?;
    Ok(match kind {
        CommandKind::StartNode(messages::StartNode {}) => Command::StartNode,
        CommandKind::OpenSession(stored) => Command::OpenSession {
            secret: secret(&stored.secret)?,
            grace: Grace::from_millis(stored.grace_millis)?,
            client: Label::parse("client", &stored.client)?,
        },
        CommandKind::ResumeSession(stored) => {
            Command::ResumeSession { session: SessionId::new(stored.session), secret: secret(&stored.secret)? }
        }
        CommandKind::SuspectSession(stored) => Command::SuspectSession {
            session: SessionId::new(stored.session),
            attachment: Position::new(stored.attachment),
            reason: match stored.reason() {
                messages::SuspectReason::StreamClosed => SuspectReason::StreamClosed,
                messages::SuspectReason::PingTimeout => SuspectReason::PingTimeout,
                messages::SuspectReason::CheckFailed => SuspectReason::CheckFailed,
                messages::SuspectReason::Unspecified => return unknown("a suspect reason"),
            },
        },
        CommandKind::ExpireSession(stored) => Command::ExpireSession {
            session: SessionId::new(stored.session),
            attachment: Position::new(stored.attachment),
        },
        CommandKind::CloseSession(stored) => Command::CloseSession {
            session: SessionId::new(stored.session),
            attachment: Position::new(stored.attachment),
        },
        CommandKind::Register(stored) => Command::Register {
            session: SessionId::new(stored.session),
            registration: registration(stored.registration)?,
            handover: Handover::from_millis(stored.handover_millis)?,
            cutover: stored.cutover.map(cutover).transpose()?,
        },
        CommandKind::Deregister(stored) => {
            Command::Deregister { session: SessionId::new(stored.session), instance: InstanceId::new(stored.instance) }
        }
        CommandKind::Drain(stored) => Command::Drain {
            caller: stored.session.map_or(Caller::Operator, |session| Caller::Session(SessionId::new(session))),
            instance: InstanceId::new(stored.instance),
        },
        CommandKind::SetCutover(stored) => Command::SetCutover {
            service: ServiceName::parse(&stored.service)?,
            cutover: stored.cutover.map(cutover).transpose()?,
            author: Label::parse("author", &stored.author)?,
        },
        CommandKind::FinishHandover(stored) => Command::FinishHandover {
            service: ServiceName::parse(&stored.service)?,
            pending: InstanceId::new(stored.pending),
        },
    })
}

pub(super) fn item(stored: messages::Item) -> Result<StateItem> {
    let kind = stored.kind.ok_or_else(|| InvalidRecord::new("an item of no known kind"))?;
    Ok(match kind {
        ItemKind::Counters(stored) => StateItem::Counters {
            revision: Position::new(stored.revision),
            last_session: SessionId::new(stored.last_session),
        },
        ItemKind::Session(stored) => StateItem::Session {
            liveness: liveness(stored.liveness())?,
            id: SessionId::new(stored.id),
            secret: secret(&stored.secret)?,
            grace: Grace::from_millis(stored.grace_millis)?,
            client: Label::parse("client", &stored.client)?,
            attachment: Position::new(stored.attachment),
        },
        ItemKind::Service(stored) => StateItem::Service {
            name: ServiceName::parse(&stored.name)?,
            floor: stored.floor,
            cutover: cutover(stored.cutover.ok_or_else(|| InvalidRecord::new("a service without a cutover"))?)?,
            operator_cutover: match stored.operator_cutover {
                Some(policy) => Some((cutover(policy)?, Label::parse("operator", &stored.operator)?)),
                None => None,
            },
        },
        ItemKind::Instance(stored) => StateItem::Instance {
            place: stored.place,
            handover: Handover::from_millis(stored.handover_millis)?,
            instance: Instance {
                liveness: liveness(stored.liveness())?,
                id: InstanceId::new(stored.id),
                session: SessionId::new(stored.session),
                draining: stored.draining,
                pending: stored.pending,
                token: stored.token.map(Token::new),
                registered: Timestamp::new(stored.registered),
                changed: Position::new(stored.changed),
                registration: registration(stored.registration)?,
            },
        },
    })
}

fn registration(stored: Option<messages::Registration>) -> Result<Arc<Registration>> {
    let stored = stored.ok_or_else(|| InvalidRecord::new("no registration where one belongs"))?;
    let registration = Registration {
        kind: match stored.kind() {
            messages::Kind::Member => Kind::Member,
            messages::Kind::Main => Kind::Main,
            messages::Kind::Singleton => Kind::Singleton,
            messages::Kind::Unspecified => return unknown("a kind"),
        },
        service: ServiceName::parse(&stored.service)?,
        address: Address::parse(&stored.host, stored.port)?,
        node_index: stored.node_index,
        version: stored.version,
        weight: stored.weight,
        zone: Label::parse("zone", &stored.zone)?,
        tags: Tags::parse(stored.tags.iter().map(String::as_str))?,
        metadata: Metadata::parse(stored.metadata.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())))?,
    };
    Ok(Arc::new(registration.check()?))
}

fn cutover(stored: messages::Cutover) -> Result<Cutover> {
    Ok(match stored.after {
        0 => Cutover::SideBySide,
        instances => Cutover::after(instances)?,
    })
}

fn secret(bytes: &[u8]) -> Result<SecretHash> {
    let exact = bytes.try_into().map_err(|_| InvalidRecord::new(format!("a secret of {} bytes", bytes.len())))?;
    Ok(SecretHash(exact))
}

fn liveness(stored: messages::Liveness) -> Result<Liveness> {
    Ok(match stored {
        messages::Liveness::Up => Liveness::Up,
        messages::Liveness::Unconfirmed => Liveness::Unconfirmed,
        messages::Liveness::SuspectStreamClosed => Liveness::Suspect(SuspectReason::StreamClosed),
        messages::Liveness::SuspectPingTimeout => Liveness::Suspect(SuspectReason::PingTimeout),
        messages::Liveness::SuspectCheckFailed => Liveness::Suspect(SuspectReason::CheckFailed),
        messages::Liveness::Unspecified => return unknown("a liveness"),
    })
}

fn unknown<T>(what: &str) -> Result<T> {
    Err(InvalidRecord::new(format!("{what} of no known number")))
}
