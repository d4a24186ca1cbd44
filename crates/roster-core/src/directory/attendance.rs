//! Sessions coming and going: what each of their commands does to the instances behind them.

use crate::limits::SESSIONS_MAX;
use crate::words::{Grace, Label, Position, SecretHash, SessionId};

use super::machine::Directory;
use super::roll::Roll;
use super::session::Session;
use super::turn::Turn;
use super::{Event, Liveness, Outcome, Refusal, RemovedCause, SuspectReason};

impl Directory {
    pub(super) fn open_session(
        &mut self,
        turn: &mut Turn<'_>,
        secret: SecretHash,
        grace: Grace,
        client: Label,
    ) -> Result<Outcome, Refusal> {
        if self.tables.sessions.len() >= SESSIONS_MAX {
            return Err(Refusal::LimitExceeded { limit: "sessions", max: SESSIONS_MAX as u64 });
        }
        let session = SessionId::new(self.last_session.get() + 1);
        self.last_session = session;
        let attachment = turn.position;
        self.tables.add_session(
            session,
            Session { secret, grace, client, attachment, liveness: Liveness::Up, owned: Roll::default() },
        );
        Ok(Outcome::Opened { session })
    }

    /// A session that was away comes up with all that it owns. One that was not away only gets another
    /// stream, which is nobody else's business.
    pub(super) fn resume_session(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        secret: SecretHash,
    ) -> Result<Outcome, Refusal> {
        let known = self.tables.sessions.get_mut(&session).ok_or(Refusal::UnknownSession { session })?;
        if known.secret != secret {
            return Err(Refusal::WrongSecret { session });
        }
        known.attachment = turn.position;
        let before = known.liveness;
        if before != Liveness::Up {
            self.tables.set_liveness(session, Liveness::Up);
            for id in self.tables.of_session(session) {
                let record = &self.tables.instances[&id];
                turn.tell(record, |_| Event::Up(record.instance(id, Liveness::Up)));
                if record.is_visible() {
                    let ripe = self.tables.services[record.service].risen(record.registration.version);
                    turn.touch(record.service, ripe);
                }
            }
        }
        Ok(Outcome::Resumed { session })
    }

    pub(super) fn suspect_session(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        attachment: Position,
        reason: SuspectReason,
    ) -> Outcome {
        let Some(known) = self.attached(session, attachment) else { return Outcome::Stale };
        match known.liveness {
            Liveness::Up | Liveness::Unconfirmed => {}
            Liveness::Suspect(_) => return Outcome::Stale,
        }
        if known.grace.millis() == 0 {
            self.end_session(turn, session, RemovedCause::LostContact);
            return Outcome::Done;
        }
        self.tables.set_liveness(session, Liveness::Suspect(reason));
        for id in self.tables.of_session(session) {
            let record = &self.tables.instances[&id];
            turn.tell(record, |service| Event::Suspect { service: service.clone(), instance: id, reason });
        }
        Outcome::Done
    }

    pub(super) fn expire_session(&mut self, turn: &mut Turn<'_>, session: SessionId, attachment: Position) -> Outcome {
        match self.attached(session, attachment).map(|known| known.liveness) {
            Some(Liveness::Unconfirmed | Liveness::Suspect(_)) => {
                self.end_session(turn, session, RemovedCause::LostContact);
                Outcome::Done
            }
            Some(Liveness::Up) | None => Outcome::Stale,
        }
    }

    pub(super) fn close_session(&mut self, turn: &mut Turn<'_>, session: SessionId, attachment: Position) -> Outcome {
        if self.attached(session, attachment).is_none() {
            return Outcome::Stale;
        }
        self.end_session(turn, session, RemovedCause::Logout);
        Outcome::Done
    }

    /// The session, if `attachment` is its newest stream.
    fn attached(&self, session: SessionId, attachment: Position) -> Option<&Session> {
        self.tables.sessions.get(&session).filter(|known| known.attachment == attachment)
    }

    /// All of its instances go before any service settles, so that none of them is promoted on the way.
    fn end_session(&mut self, turn: &mut Turn<'_>, session: SessionId, cause: RemovedCause) {
        let owned: Vec<_> = self.tables.of_session(session).collect();
        for id in owned {
            debug_assert!(
                self.tables.instances[&id].session == session,
                "D11: the end of session {session} reaches instance {id} of another"
            );
            self.remove_instance(turn, id, cause);
        }
        self.tables.drop_session(session);
    }
}
