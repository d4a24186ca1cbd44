//! From the words of the core to the stored messages. Cannot fail.

use roster_core::directory::{self, StateItem};
use roster_core::{Cutover, Kind, Registration};

use super::messages::{self, CommandKind, ItemKind};

pub(super) fn command(command: &directory::Command) -> messages::Command {
    use directory::Command;
    let kind = match command {
        Command::StartNode => CommandKind::StartNode(messages::StartNode {}),
        Command::OpenSession { secret, grace, client } => CommandKind::OpenSession(messages::OpenSession {
            secret: secret.0.to_vec(),
            grace_millis: grace.millis(),
            client: client.as_str().to_owned(),
        }),
        Command::ResumeSession { session, secret } => {
            CommandKind::ResumeSession(messages::ResumeSession { session: session.get(), secret: secret.0.to_vec() })
        }
        Command::SuspectSession { session, attachment, reason } => {
            CommandKind::SuspectSession(messages::SuspectSession {
                session: session.get(),
                attachment: attachment.get(),
                reason: suspect_reason(*reason).into(),
            })
        }
        Command::ExpireSession { session, attachment } => {
            CommandKind::ExpireSession(messages::EndSession { session: session.get(), attachment: attachment.get() })
        }
        Command::CloseSession { session, attachment } => {
            CommandKind::CloseSession(messages::EndSession { session: session.get(), attachment: attachment.get() })
        }
        Command::Register { session, registration: facts, handover, cutover: policy } => {
            CommandKind::Register(messages::Register {
                session: session.get(),
                registration: Some(registration(facts)),
                handover_millis: handover.millis(),
                cutover: policy.map(cutover),
            })
        }
        Command::Deregister { session, instance } => {
            CommandKind::Deregister(messages::Deregister { session: session.get(), instance: instance.get() })
        }
        Command::Drain { caller, instance } => CommandKind::Drain(messages::Drain {
            session: match caller {
                directory::Caller::Session(session) => Some(session.get()),
                directory::Caller::Operator => None,
            },
            instance: instance.get(),
        }),
        Command::SetCutover { service, cutover: policy, author } => CommandKind::SetCutover(messages::SetCutover {
            service: service.as_str().to_owned(),
            cutover: policy.map(cutover),
            author: author.as_str().to_owned(),
        }),
        Command::FinishHandover { service, pending } => CommandKind::FinishHandover(messages::FinishHandover {
            service: service.as_str().to_owned(),
            pending: pending.get(),
        }),
    };
    messages::Command { kind: Some(kind) }
}

pub(super) fn item(item: &StateItem) -> messages::Item {
    let kind = match item {
        StateItem::Counters { revision, last_session } => {
            ItemKind::Counters(messages::Counters { revision: revision.get(), last_session: last_session.get() })
        }
        StateItem::Session { id, secret, grace, client, attachment, liveness: how } => {
            ItemKind::Session(messages::Session {
                id: id.get(),
                secret: secret.0.to_vec(),
                grace_millis: grace.millis(),
                client: client.as_str().to_owned(),
                attachment: attachment.get(),
                liveness: liveness(*how).into(),
            })
        }
        StateItem::Service { name, floor, cutover: policy, operator_cutover } => ItemKind::Service(messages::Service {
            name: name.as_str().to_owned(),
            floor: *floor,
            cutover: Some(cutover(*policy)),
            operator_cutover: operator_cutover.as_ref().map(|(policy, _)| cutover(*policy)),
            operator: operator_cutover.as_ref().map(|(_, author)| author.as_str().to_owned()).unwrap_or_default(),
        }),
        StateItem::Instance { instance, place, handover } => ItemKind::Instance(Box::new(messages::Instance {
            id: instance.id.get(),
            registration: Some(registration(&instance.registration)),
            session: instance.session.get(),
            liveness: liveness(instance.liveness).into(),
            draining: instance.draining,
            pending: instance.pending,
            token: instance.token.map(roster_core::Token::get),
            registered: instance.registered.get(),
            changed: instance.changed.get(),
            place: *place,
            handover_millis: handover.millis(),
        })),
    };
    messages::Item { kind: Some(kind) }
}

fn registration(facts: &Registration) -> messages::Registration {
    messages::Registration {
        service: facts.service.as_str().to_owned(),
        host: facts.address.host().to_owned(),
        port: facts.address.port().into(),
        kind: match facts.kind {
            Kind::Member => messages::Kind::Member,
            Kind::Main => messages::Kind::Main,
            Kind::Singleton => messages::Kind::Singleton,
        }
        .into(),
        node_index: facts.node_index,
        version: facts.version,
        weight: facts.weight,
        zone: facts.zone.as_str().to_owned(),
        tags: facts.tags.iter().map(str::to_owned).collect(),
        metadata: facts
            .metadata
            .iter()
            .map(|(key, value)| messages::Pair { key: key.to_owned(), value: value.to_owned() })
            .collect(),
    }
}

pub(super) fn cutover(cutover: Cutover) -> messages::Cutover {
    match cutover {
        Cutover::After(instances) => messages::Cutover { after: instances.get() },
        Cutover::SideBySide => messages::Cutover { after: 0 },
    }
}

fn suspect_reason(reason: directory::SuspectReason) -> messages::SuspectReason {
    match reason {
        directory::SuspectReason::StreamClosed => messages::SuspectReason::StreamClosed,
        directory::SuspectReason::PingTimeout => messages::SuspectReason::PingTimeout,
        directory::SuspectReason::CheckFailed => messages::SuspectReason::CheckFailed,
    }
}

pub(super) fn liveness(liveness: directory::Liveness) -> messages::Liveness {
    use directory::SuspectReason;
    match liveness {
        directory::Liveness::Up => messages::Liveness::Up,
        directory::Liveness::Unconfirmed => messages::Liveness::Unconfirmed,
        directory::Liveness::Suspect(SuspectReason::StreamClosed) => messages::Liveness::SuspectStreamClosed,
        directory::Liveness::Suspect(SuspectReason::PingTimeout) => messages::Liveness::SuspectPingTimeout,
        directory::Liveness::Suspect(SuspectReason::CheckFailed) => messages::Liveness::SuspectCheckFailed,
    }
}
