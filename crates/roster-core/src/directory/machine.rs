//! The directory machine: which instances stand behind which service, and since which revision.
//!
//! A pure machine. It never asks for the time, for luck, for a file or for a socket: whatever it
//! needs comes inside a [`Command`], and the same commands give the same state, outcomes and effects.
//!
//! # Always true
//! * **D1, no gaps**: one applied command moves the revision by exactly one, refused and stale ones too.
//! * **D2, no orphans**: every instance belongs to a session and a service that exist, and every
//!   index says the same as the records.
//! * **D3, one place, one instance**: no two instances share service, host, port and node index.
//! * **D4, nothing below the floor**: no instance has a version below the floor of its service.
//! * **D5, settled**: no version above the floor has what the policy asks of a takeover; a service
//!   that is side by side or empty has no floor.
//! * **D6, one holder**: singletons stand alone in their service: one holder, with a token, and at most
//!   one that waits; nobody waits without a holder.
//! * **D7, main told**: the main of a service is the one that watchers were told last.
//! * **D8, nothing kept for nothing**: a service without instances is there only for an operator's policy.
//! * **D9, counts agree**: tallies equal what they count.
//! * **D10, numbers grow**: no id, place, token, attachment or change lies beyond the revision, and no
//!   session beyond the last one given out.
//! * **D11, own things only**: the end of a session removes what that session owns and nothing else.
//! * **D13, all that changed is named**: whatever reads otherwise after a command is of a service that its
//!   effects name, except after the start of a node, which changes every service and names none.
//!
//! Work per command is logarithmic in the sizes of the directory, plus what the command tells or
//! removes. Two commands look at more: the start of a node looks at every session and service, and
//! a change of policy at each version of its service above the floor.

use crate::limits::SERVICES_MAX;
use crate::words::{Cutover, InstanceId, Label, Position, ServiceName, SessionId, Timestamp};

use super::service::ServiceNumber;
use super::tables::Tables;
use super::turn::Turn;
use super::{Caller, Command, Effects, Event, OfflineReason, Outcome, Refusal, RemovedCause};

/// The directory. One thread owns it; it takes one command after the other.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    pub(super) revision: Position,
    pub(super) last_session: SessionId,
    pub(super) tables: Tables,
}

impl Directory {
    /// An empty directory at revision 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of the last applied command.
    #[must_use]
    pub fn revision(&self) -> Position {
        self.revision
    }

    /// Applies one command. `effects` is emptied first, then filled with what watchers and owners are
    /// told: events by service name, within a service what appears before the main before what goes
    /// away, each by ascending id; notices by ascending instance.
    pub fn apply(&mut self, at: Timestamp, command: Command, effects: &mut Effects) -> Outcome {
        effects.events.clear();
        effects.notices.clear();
        effects.unseen.clear();
        self.revision = self.revision.next();
        let before = self.tables.instances.len();
        let mut turn = Turn { position: self.revision, at, effects, touched: Default::default() };
        let outcome = self.carry_out(&mut turn, command).unwrap_or_else(Outcome::Refused);
        while let Some((number, ripe)) = turn.touched.pop_first() {
            self.settle(&mut turn, number, ripe);
        }
        turn.order_effects();
        debug_assert!(
            !matches!(outcome, Outcome::Refused(_) | Outcome::Stale) || *turn.effects == Effects::default(),
            "D1: a refused command told something"
        );
        debug_assert!(
            self.tables.instances.len() == before || effects.services().next().is_some(),
            "D13: instances came or went, and no service is named"
        );
        outcome
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<Outcome, Refusal> {
        match command {
            Command::StartNode => {
                self.tables.unconfirm_all();
                Ok(Outcome::Done)
            }
            Command::OpenSession { secret, grace, client } => self.open_session(turn, secret, grace, client),
            Command::ResumeSession { session, secret } => self.resume_session(turn, session, secret),
            Command::SuspectSession { session, attachment, reason } => {
                Ok(self.suspect_session(turn, session, attachment, reason))
            }
            Command::ExpireSession { session, attachment } => Ok(self.expire_session(turn, session, attachment)),
            Command::CloseSession { session, attachment } => Ok(self.close_session(turn, session, attachment)),
            Command::Register { session, registration, handover, cutover } => {
                self.register(turn, session, registration, handover, cutover)
            }
            Command::Deregister { session, instance } => self.deregister(turn, session, instance),
            Command::Drain { caller, instance } => self.drain(turn, caller, instance),
            Command::SetCutover { service, cutover, author } => self.set_cutover(turn, service, cutover, author),
            Command::FinishHandover { service, pending } => Ok(self.finish_handover(turn, &service, pending)),
        }
    }

    fn deregister(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        instance: InstanceId,
    ) -> Result<Outcome, Refusal> {
        self.check_owner(session, instance)?;
        self.remove_instance(turn, instance, RemovedCause::Logout);
        Ok(Outcome::Done)
    }

    /// A pending instance may drain too: watchers do not see it, and if it is promoted it comes up draining.
    fn drain(&mut self, turn: &mut Turn<'_>, caller: Caller, id: InstanceId) -> Result<Outcome, Refusal> {
        match caller {
            Caller::Session(session) => self.check_owner(session, id)?,
            Caller::Operator => {}
        }
        let record = self.tables.instances.get_mut(&id).ok_or(Refusal::UnknownInstance { instance: id })?;
        if record.draining {
            return Ok(Outcome::Done);
        }
        record.changed = turn.position;
        if caller == Caller::Operator {
            turn.offline(record.session, id, OfflineReason::Drained, 0);
        }
        turn.tell(record, |service| Event::Draining { service: service.clone(), instance: id });
        self.tables.set_draining(id);
        Ok(Outcome::Done)
    }

    fn set_cutover(
        &mut self,
        turn: &mut Turn<'_>,
        name: ServiceName,
        cutover: Option<Cutover>,
        author: Label,
    ) -> Result<Outcome, Refusal> {
        let number = match (self.tables.names.get(&name), cutover) {
            (Some(&number), _) => number,
            (None, Some(_)) => {
                self.check_room_for_service()?;
                self.tables.add_service(name)
            }
            (None, None) => return Ok(Outcome::Done),
        };
        self.tables.service_mut(number).operator = cutover.map(|cutover| Box::new((cutover, author)));
        self.touch_policy(turn, number);
        Ok(Outcome::Done)
    }

    pub(super) fn check_room_for_service(&self) -> Result<(), Refusal> {
        if self.tables.services.len() >= SERVICES_MAX {
            return Err(Refusal::LimitExceeded { limit: "services", max: SERVICES_MAX as u64 });
        }
        Ok(())
    }

    /// Whether this session may change this instance.
    fn check_owner(&self, session: SessionId, id: InstanceId) -> Result<(), Refusal> {
        if !self.tables.sessions.contains_key(&session) {
            return Err(Refusal::UnknownSession { session });
        }
        let record = self.tables.instances.get(&id).ok_or(Refusal::UnknownInstance { instance: id })?;
        if record.session != session {
            return Err(Refusal::NotOwner { instance: id, owner: record.session });
        }
        Ok(())
    }

    /// Takes an instance out, tells watchers if they saw it, and has its service settled.
    pub(super) fn remove_instance(&mut self, turn: &mut Turn<'_>, id: InstanceId, cause: RemovedCause) {
        if let Some(record) = self.tables.remove(id) {
            turn.tell(&record, |service| Event::Removed { service: service.clone(), instance: id, cause });
            turn.touch(record.service, None);
        }
    }

    /// Has a service settled whose policy may be another.
    pub(super) fn touch_policy(&self, turn: &mut Turn<'_>, number: ServiceNumber) {
        let service = &self.tables.services[number];
        turn.touch(number, service.ripe_version(service.floor, service.policy(), None));
    }
}
