//! What is logged is applied, answered and told; what could not be logged is answered too.

use std::time::Duration;

use roster_core::directory::{Command, Notice, OfflineReason, Outcome, Refusal};
use roster_core::{Position, ServiceName, SessionId, Timestamp, Token};
use roster_proto::convert::{encode_instance, encode_notice, refuse_all, unavailable};
use roster_proto::v1;
use roster_proto::v1::check_response::Outcome as Checked;
use roster_proto::v1::session_response::Response;
use tracing::info;

use super::Director;
use crate::drains::{DRAINS_MAX, Report};
use crate::liveness::Probe;
use crate::mail::{Attached, Origin, Request, Submission};
use crate::session_link::SessionLink;
use crate::sessions::Asker;

/// After so many commands the director looks whether its turn is over.
const COMMANDS_PER_LOOK: u64 = 256;

impl Director {
    pub(super) fn apply(&mut self, first: Position, at: Timestamp, submissions: Vec<Submission>) {
        let mut position = first;
        let mut looked_at = first;
        for Submission { commands, origin, .. } in submissions {
            // A batch may be as long as many turns: watchers do not wait for the end of it.
            if position.get() - looked_at.get() >= COMMANDS_PER_LOOK {
                looked_at = position;
                self.end_turn_when_due();
            }
            match origin {
                Origin::Session { stream, link, requests, permit, ticket } => {
                    self.heard(stream);
                    let mut results = Vec::with_capacity(requests.len());
                    for (command, request) in commands.into_iter().zip(requests) {
                        results.extend(self.apply_operation(position, at, command, request, stream, &link));
                        position = position.next();
                    }
                    link.answer(results, permit);
                    drop(ticket);
                }
                Origin::Attach { link, reply, ticket: _ticket } => {
                    let mut attached = Err(unavailable("nothing was asked"));
                    for command in commands {
                        attached = self.apply_attach(position, at, command, &link);
                        position = position.next();
                    }
                    let _ = reply.send(attached);
                }
                Origin::Unary { reply, ticket: _ticket } => {
                    let mut answer = None;
                    for command in commands {
                        answer = Some((position, self.apply_one(position, at, command)));
                        position = position.next();
                    }
                    let _ = match answer {
                        Some((_, Outcome::Refused(refusal))) => reply.send(Err(refusal.into())),
                        Some(answer) => reply.send(Ok(answer)),
                        None => Ok(()),
                    };
                }
                Origin::Director => {
                    for command in commands {
                        self.apply_one(position, at, command);
                        position = position.next();
                    }
                }
            }
            self.tell_owners();
        }
    }

    /// Applies one command, runs what follows for timers and streams, and tells everybody.
    fn apply_one(&mut self, position: Position, at: Timestamp, command: Command) -> Outcome {
        debug_assert_eq!(self.directory.revision().next(), position, "D1: positions have no gaps");
        let now = self.clock.now();
        let subject = Subject::of(&command);
        let outcome = self.directory.apply(at, command, &mut self.effects);
        match &subject {
            Subject::Start => self.stamps.applied_to_all(position),
            Subject::Suspect(_)
            | Subject::Expire(_)
            | Subject::Close(_)
            | Subject::Register { .. }
            | Subject::Other => self.stamps.applied(position, &self.effects),
        }
        debug_assert_eq!(self.stamps.revision(), self.directory.revision(), "KR1: stamped before told");
        match (subject, &outcome) {
            (Subject::Start, _) => self.restore_timers(),
            (Subject::Suspect(session), Outcome::Done) => {
                self.liveness.suspected(now, session);
                if self.directory.session(session).is_none() {
                    self.session_gone(session, v1::farewell::Reason::Expired, "its grace is 0");
                } else if let Some(link) = self.sessions.detach(session) {
                    link.end(v1::farewell::Reason::TooSlow, "no answer in time; resume the session");
                }
                self.settle_askers(session, Checked::Suspect);
            }
            (Subject::Expire(session), Outcome::Done) => {
                self.session_gone(session, v1::farewell::Reason::Expired, "the session is lost; open a new one");
                self.settle_askers(session, Checked::Unknown);
            }
            (Subject::Close(session), Outcome::Done) => {
                self.session_gone(session, v1::farewell::Reason::Goodbye, "");
                self.settle_askers(session, Checked::Unknown);
            }
            // Who says it again waits no longer for that.
            (Subject::Register { service, wait }, Outcome::Pending { instance, .. })
                if instance.get() == position.get() =>
            {
                self.liveness.handover_started(now, service, *instance, wait);
            }
            (
                Subject::Suspect(_)
                | Subject::Expire(_)
                | Subject::Close(_)
                | Subject::Register { .. }
                | Subject::Other,
                _,
            ) => {}
        }
        self.watches.publish(position, &mut self.effects.events);
        self.notices.extend(self.effects.notices.drain(..).map(|notice| (position, notice)));
        outcome
    }

    /// Tells owners what the submission before meant for them. After its answers: an owner must know
    /// of an instance before it is told that it is promoted or has to leave.
    fn tell_owners(&mut self) {
        for (position, notice) in self.notices.drain(..) {
            if let Notice::Promoted { instance, .. } = &notice
                && let Some(instance) = self.directory.instance(*instance)
            {
                self.liveness.handover_ended(&instance.registration.service);
            }
            if let Some(link) = self.sessions.link(notice.session()) {
                link.send(Response::Notice(encode_notice(position, &notice)));
            }
        }
    }

    /// Applies one operation of a session. No result yet when it waits for a probe of another session.
    fn apply_operation(
        &mut self,
        position: Position,
        at: Timestamp,
        command: Command,
        request: Request,
        stream: Attached,
        link: &SessionLink,
    ) -> Option<v1::Result> {
        let again = if let Command::Register { .. } = &command { Some(command.clone()) } else { None };
        let drained = if let Command::Drain { instance, .. } = &command { Some(*instance) } else { None };
        let outcome = self.apply_one(position, at, command);
        if let (Outcome::Refused(Refusal::AddressInUse { session }), Some(command)) = (&outcome, again) {
            let holder = *session;
            if self.probe(holder) == Probe::Asked {
                let asker = Asker::Register { command, request, stream, link: link.clone() };
                if self.sessions.park(holder, asker) {
                    return None;
                }
            }
        }
        if let (Outcome::Done, Some(instance), Some(millis)) = (&outcome, drained, request.drain_millis)
            && !self.follow_drain(instance, millis, Report::Session(stream.session, link.clone()))
        {
            let limit = "drains that are followed".to_owned();
            let message = format!("it drains, but {limit} are limited to {DRAINS_MAX}; ask again later");
            let code = v1::refusal::Code::LimitExceeded.into();
            let refusal = v1::Refusal { code, message, limit, limit_max: DRAINS_MAX as u64, ..Default::default() };
            return Some(refused(request.id, refusal));
        }
        Some(result_of(request.id, position, outcome))
    }

    fn apply_attach(
        &mut self,
        position: Position,
        at: Timestamp,
        command: Command,
        link: &SessionLink,
    ) -> Result<Attached, v1::Refusal> {
        let (session, resumed) = match self.apply_one(position, at, command) {
            Outcome::Opened { session } => (session, false),
            Outcome::Resumed { session } => (session, true),
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Done | Outcome::Active { .. } | Outcome::Pending { .. } | Outcome::Stale => {
                return Err(unavailable("the command attaches nothing"));
            }
        };
        self.attach(session, position, link, resumed);
        if self.stopping {
            link.end(v1::farewell::Reason::Shutdown, "the node stops; resume on it later");
        }
        Ok(Attached { session, attachment: position })
    }

    fn attach(&mut self, session: SessionId, attachment: Position, link: &SessionLink, resumed: bool) {
        let Some(summary) = self.directory.session(session) else { return };
        let grace = Duration::from_millis(summary.grace.millis().into());
        self.liveness.attached(self.clock.now(), session, attachment, grace);
        self.guard.settled(session);
        self.drains.forget(session);
        if let Some(earlier) = self.sessions.attach(session, attachment, link.clone()) {
            self.drains.forget(session);
            earlier.end(v1::farewell::Reason::ResumedElsewhere, "another stream resumed this session");
        }
        self.settle_askers(session, Checked::Alive);
        let instances = self.directory.session_instances(session);
        link.send(Response::Welcome(v1::Welcome {
            session_id: session.get(),
            secret: link.secret(),
            resumed,
            grace_ms: summary.grace.millis(),
            ping_interval_ms: u32::try_from(self.settings.spans.ping_interval.as_millis()).unwrap_or(u32::MAX),
            instances: instances.iter().map(encode_instance).collect(),
        }));
        // An operator may have drained it while nobody was there to be told.
        for instance in instances.iter().filter(|instance| instance.draining) {
            let reason = OfflineReason::Drained;
            let notice = Notice::Offline { session, instance: instance.id, reason, deadline_millis: 0 };
            link.send(Response::Notice(encode_notice(attachment, &notice)));
        }
    }

    fn session_gone(&mut self, session: SessionId, reason: v1::farewell::Reason, message: &str) {
        self.liveness.gone(session);
        self.guard.settled(session);
        if let Some(link) = self.sessions.detach(session) {
            link.end(reason, message);
        }
    }

    /// After a start: every session that is known must return within its restart grace, counted from now.
    fn restore_timers(&mut self) {
        let now = self.clock.now();
        let mut sessions = 0;
        for session in self.directory.sessions() {
            let grace = Duration::from_millis(session.grace.millis().into());
            self.liveness.restored(now, session.session, session.attachment, grace);
            sessions += 1;
        }
        for (service, pending, handover) in self.directory.handovers() {
            self.liveness.handover_started(now, service, pending, Duration::from_millis(handover.millis().into()));
        }
        let counts = self.directory.counts();
        info!(
            position = self.directory.revision().get(),
            sessions,
            services = counts.services,
            instances = counts.instances,
            "ready"
        );
    }

    pub(super) fn not_logged(&mut self, submissions: Vec<Submission>, refusal: &v1::Refusal) {
        for Submission { commands, origin, .. } in submissions {
            match origin {
                Origin::Director => self.backlog.extend(commands),
                Origin::Session { link, requests, permit, .. } => {
                    link.answer(refuse_all(requests.iter().map(|request| request.id), refusal), permit);
                }
                Origin::Attach { reply, .. } => {
                    let _ = reply.send(Err(refusal.clone()));
                }
                Origin::Unary { reply, .. } => {
                    let _ = reply.send(Err(refusal.clone()));
                }
            }
        }
    }
}

/// What a command is about, as far as timers and streams follow from it.
enum Subject {
    Start,
    Suspect(SessionId),
    Expire(SessionId),
    Close(SessionId),
    Register { service: ServiceName, wait: Duration },
    Other,
}

impl Subject {
    fn of(command: &Command) -> Self {
        match command {
            Command::StartNode => Self::Start,
            Command::SuspectSession { session, .. } => Self::Suspect(*session),
            Command::ExpireSession { session, .. } => Self::Expire(*session),
            Command::CloseSession { session, .. } => Self::Close(*session),
            Command::Register { registration, handover, .. } if handover.millis() > 0 => Self::Register {
                service: registration.service.clone(),
                wait: Duration::from_millis(handover.millis().into()),
            },
            Command::Register { .. }
            | Command::OpenSession { .. }
            | Command::ResumeSession { .. }
            | Command::Deregister { .. }
            | Command::Drain { .. }
            | Command::SetCutover { .. }
            | Command::FinishHandover { .. } => Self::Other,
        }
    }
}

fn result_of(request_id: u64, position: Position, outcome: Outcome) -> v1::Result {
    use v1::result::Outcome as Wire;
    let outcome = match outcome {
        Outcome::Active { instance, changed, token } => Wire::Active(v1::Active {
            instance_id: instance.get(),
            position: changed.get(),
            fencing_token: token.map_or(0, Token::get),
        }),
        Outcome::Pending { instance, ahead } => {
            Wire::Pending(v1::Pending { instance_id: instance.get(), ahead: ahead.get() })
        }
        Outcome::Refused(refusal) => Wire::Refusal(refusal.into()),
        Outcome::Done | Outcome::Opened { .. } | Outcome::Resumed { .. } | Outcome::Stale => {
            Wire::Done(v1::Done { position: position.get() })
        }
    };
    v1::Result { request_id, outcome: Some(outcome) }
}

pub(super) fn refused(request_id: u64, refusal: v1::Refusal) -> v1::Result {
    v1::Result { request_id, outcome: Some(v1::result::Outcome::Refusal(refusal)) }
}
