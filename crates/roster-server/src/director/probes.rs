//! Whether a session is alive: asked by whoever cannot reach it, and by newcomers at its address.

use roster_core::directory::{Liveness as Standing, Refusal};
use roster_core::{ServiceName, SessionId};
use roster_proto::convert::unavailable;
use roster_proto::v1::check_response::Outcome as Checked;
use tokio::sync::oneshot;

use super::Director;
use super::apply::refused;
use crate::liveness::{Due, Probe};
use crate::mail::{Origin, Submission, WriterMail};
use crate::sessions::Asker;

impl Director {
    pub(super) fn probe(&mut self, session: SessionId) -> Probe {
        let (probe, ping) = self.liveness.probe(self.clock.now(), session);
        if let Some(Due::Ping { session, nonce }) = ping {
            self.ping(session, nonce);
        }
        probe
    }

    pub(super) fn check(&mut self, service: &ServiceName, session: SessionId, reply: oneshot::Sender<Checked>) {
        let serves = self.directory.session_instances(session).iter().any(|i| i.registration.service == *service);
        let liveness = self.directory.session(session).map(|summary| summary.liveness);
        let known = match liveness.filter(|_| serves) {
            None => Some(Checked::Unknown),
            Some(Standing::Suspect(_)) => Some(Checked::Suspect),
            Some(Standing::Unconfirmed) => Some(Checked::Unconfirmed),
            Some(Standing::Up) if self.sessions.link(session).is_none() => Some(Checked::Suspect),
            Some(Standing::Up) => match self.probe(session) {
                Probe::Alive => Some(Checked::Alive),
                // The stream broke a moment ago; the suspicion is on its way to the log.
                Probe::NoStream => Some(Checked::Suspect),
                Probe::Asked => None,
            },
        };
        match known {
            Some(outcome) => {
                let _ = reply.send(outcome);
            }
            None => {
                self.sessions.park(session, Asker::Check(reply));
            }
        }
    }

    /// Answers those who only want to know: the suspicion is on its way to the log, which may be stuck.
    pub(super) fn settle_checks(&mut self, session: SessionId) {
        for asker in self.sessions.unpark(session) {
            match asker {
                Asker::Check(reply) => {
                    let _ = reply.send(Checked::Suspect);
                }
                Asker::Register { .. } => {
                    self.sessions.park(session, asker);
                }
            }
        }
    }

    /// Answers everybody who waits to know whether this session is alive.
    pub(super) fn settle_askers(&mut self, session: SessionId, outcome: Checked) {
        for asker in self.sessions.unpark(session) {
            match asker {
                Asker::Check(reply) => {
                    let _ = reply.send(outcome);
                }
                Asker::Register { request, link, .. } if outcome == Checked::Alive => {
                    let refusal = Refusal::AddressInUse { session };
                    link.answer(vec![refused(request.id, refusal.into())], None);
                }
                // A stream that was replaced meanwhile gets no registration that nobody waits for.
                Asker::Register { stream, .. } if !self.sessions.is_attached(stream.session, stream.attachment) => {}
                Asker::Register { command, request, stream, link } => {
                    let (requests, link_of) = (vec![request], link.clone());
                    let origin = Origin::Session { stream, link: link_of, requests, permit: None, ticket: None };
                    if self.writer.try_send(WriterMail::Submission(Submission::new(vec![command], origin))).is_err() {
                        let refusal = unavailable("the node is overloaded; try again");
                        link.answer(vec![refused(request.id, refusal)], None);
                    }
                }
            }
        }
    }
}
