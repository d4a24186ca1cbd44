//! How outcomes, events, notices and changes read in a transcript.

use roster_core::directory::{Event, Instance, Liveness, Notice, OfflineReason, Outcome, RemovedCause, SuspectReason};
use roster_core::view::Change;
use roster_core::{Cutover, Kind, Registration};

pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".into(),
        Outcome::Opened { session } => format!("opened session {session}"),
        Outcome::Resumed { session } => format!("resumed session {session}"),
        Outcome::Active { instance, changed, token: None } => format!("active as {instance}, changed at {changed}"),
        Outcome::Active { instance, changed, token: Some(token) } => {
            format!("active as {instance}, changed at {changed}, token {token}")
        }
        Outcome::Pending { instance, ahead } => format!("pending as {instance}, ahead {ahead}"),
        Outcome::Stale => "stale".into(),
        Outcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

pub(crate) fn event(event: &Event) -> String {
    let service = event.service();
    match event {
        Event::Up(instance) => format!("{service}: up {}", self::instance(instance)),
        Event::Suspect { instance, reason, .. } => format!("{service}: suspect {instance}, {}", suspicion(*reason)),
        Event::Changed(instance) => format!("{service}: changed {}", self::instance(instance)),
        Event::Draining { instance, .. } => format!("{service}: draining {instance}"),
        Event::MainChanged { main: Some(main), .. } => format!("{service}: main {main}"),
        Event::MainChanged { main: None, .. } => format!("{service}: no main"),
        Event::Replaced { old, new } => format!("{service}: replaced {old} by {}", self::instance(new)),
        Event::Removed { instance, cause, .. } => format!("{service}: removed {instance}, {}", removal(*cause)),
    }
}

pub(crate) fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Offline { session, instance, reason, deadline_millis } => {
            let reason = match reason {
                OfflineReason::Superseded => "superseded",
                OfflineReason::Handover => "hand-over",
                OfflineReason::Displaced => "displaced",
                OfflineReason::Replaced => "replaced",
                OfflineReason::Drained => "drained",
            };
            format!("to session {session}: {instance} offline, {reason}, {deadline_millis} ms")
        }
        Notice::Promoted { session, instance, token } => {
            format!("to session {session}: {instance} promoted, token {token}")
        }
    }
}

pub(crate) fn change(change: &Change) -> String {
    let service = |instance: &Instance| instance.registration.service.clone();
    match change {
        Change::Up(instance) => format!("{}: up {}", service(instance), self::instance(instance)),
        Change::Suspect(instance) => format!("{}: suspect {}", service(instance), instance.id),
        Change::Changed(instance) => format!("{}: changed {}", service(instance), self::instance(instance)),
        Change::Draining(instance) => format!("{}: draining {}", service(instance), instance.id),
        Change::MainChanged { service, main: Some(main) } => format!("{service}: main {main}"),
        Change::MainChanged { service, main: None } => format!("{service}: no main"),
        Change::Replaced { old, new } => {
            format!("{}: replaced {} by {}", service(new), old.id, self::instance(new))
        }
        Change::Removed { instance, cause } => {
            let cause = cause.map_or("found gone", removal);
            format!("{}: removed {}, {cause}", service(instance), instance.id)
        }
        Change::Loaded { position } => format!("loaded at {position}"),
    }
}

/// Who it is, then only what is not usual.
pub(crate) fn instance(instance: &Instance) -> String {
    let facts: &Registration = &instance.registration;
    let mut text = format!("{} {} {}", instance.id, kind(facts.kind), facts.address);
    let mut add = |what: String| text.push_str(&format!(" {what}"));
    if facts.node_index != 0 {
        add(format!("node={}", facts.node_index));
    }
    if facts.version != 0 {
        add(format!("version={}", facts.version));
    }
    if facts.weight != roster_core::limits::WEIGHT_DEFAULT {
        add(format!("weight={}", facts.weight));
    }
    if !facts.zone.is_empty() {
        add(format!("zone={}", facts.zone));
    }
    for tag in facts.tags.iter() {
        add(format!("tag={tag}"));
    }
    for (key, value) in facts.metadata.iter() {
        add(format!("{key}={value}"));
    }
    if let Some(token) = instance.token {
        add(format!("token={token}"));
    }
    match instance.liveness {
        Liveness::Up => {}
        Liveness::Unconfirmed => add("(unconfirmed)".into()),
        Liveness::Suspect(reason) => add(format!("(suspect, {})", suspicion(reason))),
    }
    if instance.draining {
        add("(draining)".into());
    }
    if instance.pending {
        add("(pending)".into());
    }
    text
}

pub(crate) fn liveness(liveness: Liveness) -> String {
    match liveness {
        Liveness::Up => "up".into(),
        Liveness::Unconfirmed => "unconfirmed".into(),
        Liveness::Suspect(reason) => format!("suspect, {}", suspicion(reason)),
    }
}

pub(crate) fn policy(cutover: Cutover) -> String {
    match cutover {
        Cutover::After(instances) => format!("after {instances}"),
        Cutover::SideBySide => "side by side".into(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Member => "member",
        Kind::Main => "main",
        Kind::Singleton => "singleton",
    }
}

fn suspicion(reason: SuspectReason) -> &'static str {
    match reason {
        SuspectReason::StreamClosed => "stream closed",
        SuspectReason::PingTimeout => "ping timeout",
        SuspectReason::CheckFailed => "check failed",
    }
}

fn removal(cause: RemovedCause) -> &'static str {
    match cause {
        RemovedCause::Logout => "logout",
        RemovedCause::LostContact => "lost contact",
        RemovedCause::Superseded => "superseded",
        RemovedCause::Evicted => "evicted",
    }
}
