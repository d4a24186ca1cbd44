//! Registering: judged first, by the state alone, and carried out only when nothing speaks against it.

use std::sync::Arc;

use crate::limits::{INSTANCES_MAX, INSTANCES_PER_SESSION_MAX};
use crate::words::{Cutover, Handover, InstanceId, Kind, Registration, SessionId, Token};

use super::machine::Directory;
use super::record::{Record, Seat};
use super::service::{Family, Service, ServiceNumber};
use super::session::Session;
use super::tables::Place;
use super::turn::Turn;
use super::{Event, Liveness, OfflineReason, Outcome, Refusal, RemovedCause};

/// What is asked for.
struct Claim {
    session: SessionId,
    registration: Arc<Registration>,
    place: Place,
    handover: Handover,
    cutover: Option<Cutover>,
}

/// What becomes of it.
enum Verdict {
    /// The session has registered this place already, in this version and kind.
    Known(InstanceId),
    /// A new instance, in place of the `occupant` if there is one.
    Enters { service: Option<ServiceNumber>, occupant: Option<InstanceId>, entry: Entry },
}

/// How a new instance begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Listed,
    /// Holds the name; who held it before goes.
    Holder,
    Pending {
        ahead: InstanceId,
    },
}

impl Directory {
    pub(super) fn register(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        registration: Arc<Registration>,
        handover: Handover,
        cutover: Option<Cutover>,
    ) -> Result<Outcome, Refusal> {
        let place = Place::of(&registration);
        let claim = Claim { session, registration, place, handover, cutover };
        match self.judge(&claim)? {
            Verdict::Known(id) => Ok(self.repeat(turn, id, &claim)),
            Verdict::Enters { service, occupant, entry } => {
                let number = service.unwrap_or_else(|| self.tables.add_service(claim.registration.service.clone()));
                Ok(self.enter(turn, number, occupant, entry, claim))
            }
        }
    }

    fn judge(&self, claim: &Claim) -> Result<Verdict, Refusal> {
        let session = claim.session;
        let owner = self.tables.sessions.get(&session).ok_or(Refusal::UnknownSession { session })?;
        if owner.liveness != Liveness::Up {
            return Err(Refusal::SessionNotConnected { session });
        }
        let wanted = &claim.registration;
        let number = self.tables.names.get(&wanted.service).copied();
        let service = number.map(|number| (number, &self.tables.services[number]));
        if let Some((_, service)) = service
            && wanted.version < service.floor
        {
            return Err(Refusal::VersionTooLow { floor: service.floor });
        }

        let occupant = service.and_then(|(_, service)| self.tables.at_place(service, claim.place, wanted));
        let known = occupant.filter(|id| {
            let record = &self.tables.instances[id];
            record.session == session
                && record.registration.kind == wanted.kind
                && record.registration.version == wanted.version
        });
        let entry = match number {
            Some(number) => self.entry(number, occupant, claim),
            None if wanted.kind == Kind::Singleton => Entry::Holder,
            None => Entry::Listed,
        };
        if let Some((number, service)) = service {
            let adds = known.is_none() && !matches!(entry, Entry::Pending { .. });
            let floor = self.floor_after(service, claim, occupant.filter(|_| known.is_none()), adds);
            // A policy that the claim itself brings can make another version take over.
            if wanted.version < floor {
                return Err(Refusal::VersionTooLow { floor });
            }
            if let Some(existing) = self.conflict(number, service, floor, occupant, wanted.kind) {
                return Err(Refusal::KindConflict { existing });
            }
        }
        if let Some(id) = known {
            return Ok(Verdict::Known(id));
        }
        if let Some(id) = occupant {
            let other = self.tables.instances[&id].session;
            if other != session && self.tables.liveness(other) == Liveness::Up {
                return Err(Refusal::AddressInUse { session: other });
            }
        }
        self.check_room(claim, owner, number, occupant)?;
        Ok(Verdict::Enters { service: number, occupant, entry })
    }

    fn check_room(
        &self,
        claim: &Claim,
        owner: &Session,
        service: Option<ServiceNumber>,
        occupant: Option<InstanceId>,
    ) -> Result<(), Refusal> {
        let own = occupant.is_some_and(|id| self.tables.instances[&id].session == claim.session);
        if !own && owner.owned.len() >= INSTANCES_PER_SESSION_MAX {
            let max = INSTANCES_PER_SESSION_MAX as u64;
            return Err(Refusal::LimitExceeded { limit: "instances per session", max });
        }
        if occupant.is_none() && self.tables.instances.len() >= INSTANCES_MAX {
            return Err(Refusal::LimitExceeded { limit: "instances", max: INSTANCES_MAX as u64 });
        }
        if service.is_none() { self.check_room_for_service() } else { Ok(()) }
    }

    fn entry(&self, number: ServiceNumber, occupant: Option<InstanceId>, claim: &Claim) -> Entry {
        match claim.registration.kind {
            Kind::Member | Kind::Main => Entry::Listed,
            Kind::Singleton => match self.holder(number) {
                Some(ahead) if occupant != Some(ahead) && claim.handover.millis() > 0 => Entry::Pending { ahead },
                Some(_) | None => Entry::Holder,
            },
        }
    }

    /// The kind of some instance from `floor` upwards but one that excludes `kind`. They are all of one
    /// family (D6), so that any speaks for all; while the floor stays, the one that leads does, and no
    /// index is asked.
    fn conflict(
        &self,
        number: ServiceNumber,
        service: &Service,
        floor: u64,
        but: Option<InstanceId>,
        kind: Kind,
    ) -> Option<Kind> {
        let lead = service.lead.map(|(_, id)| id).filter(|&id| floor == service.floor && Some(id) != but);
        if lead.is_some() && service.family == Family::of(kind) {
            return None;
        }
        let other = lead.or_else(|| self.tables.at_or_above(number, floor).find(|&id| Some(id) != but))?;
        let other = self.tables.instances[&other].registration.kind;
        (Family::of(other) != Family::of(kind)).then_some(other)
    }

    /// The floor as the claim would leave it: with the policy that it brings, without the instance
    /// that `leaves`, and with one more of its version if it `adds` one.
    fn floor_after(&self, service: &Service, claim: &Claim, leaves: Option<InstanceId>, adds: bool) -> u64 {
        let policy = match (&service.operator, claim.cutover) {
            (None, Some(brought)) => brought,
            (Some(_), _) | (None, None) => service.policy(),
        };
        let Cutover::After(needed) = policy else { return 0 };
        let version = claim.registration.version;
        let leaver = leaves
            .map(|id| &self.tables.instances[&id])
            .filter(|record| self.tables.is_up(record))
            .map(|record| record.registration.version);
        let up = service.up_of(version) - u32::from(leaver == Some(version)) + u32::from(adds);
        let own = (version > service.floor && up >= needed.get()).then_some(version);
        // As long as the policy stays, no other version can be ripe (D5).
        let other = if policy == service.policy() { None } else { service.ripe_version(service.floor, policy, leaver) };
        own.max(other).unwrap_or(service.floor).max(service.floor)
    }

    /// The same session says it again: nothing changes but what differs.
    fn repeat(&mut self, turn: &mut Turn<'_>, id: InstanceId, claim: &Claim) -> Outcome {
        let number = self.tables.instances[&id].service;
        self.bring_policy(turn, number, claim.cutover);
        let record = self.tables.instances.get_mut(&id).expect("D2: a place has its record");
        if *record.registration != *claim.registration {
            record.changed = turn.position;
            self.tables.set_facts(id, Arc::clone(&claim.registration));
            let record = &self.tables.instances[&id];
            turn.tell(record, |_| Event::Changed(record.instance(id, Liveness::Up)));
        }
        self.remind(turn, id);
        self.outcome(id)
    }

    /// A process that registers again may have missed what it was told while it was away.
    fn remind(&self, turn: &mut Turn<'_>, id: InstanceId) {
        let record = &self.tables.instances[&id];
        let Some(service) = self.tables.services.get(record.service) else { return };
        if let (Seat::Holder(_), Some(pending)) = (record.seat, service.pending) {
            let waiting = &self.tables.instances[&pending];
            if let Seat::Pending(handover) = waiting.seat {
                let waited = turn.at.get().saturating_sub(waiting.registered.get());
                let left = u64::from(handover.millis()).saturating_sub(waited);
                turn.offline(record.session, id, OfflineReason::Handover, u32::try_from(left).unwrap_or(u32::MAX));
            }
        }
    }

    fn outcome(&self, id: InstanceId) -> Outcome {
        let record = &self.tables.instances[&id];
        let ahead = if record.is_visible() { None } else { self.holder(record.service) };
        match ahead {
            Some(ahead) => Outcome::Pending { instance: id, ahead },
            None => Outcome::Active { instance: id, changed: record.changed, token: record.token() },
        }
    }

    fn bring_policy(&mut self, turn: &mut Turn<'_>, number: ServiceNumber, cutover: Option<Cutover>) {
        let service = self.tables.service_mut(number);
        let before = service.policy();
        service.cutover = cutover.unwrap_or(service.cutover);
        if service.policy() != before {
            self.touch_policy(turn, number);
        }
    }

    fn enter(
        &mut self,
        turn: &mut Turn<'_>,
        number: ServiceNumber,
        occupant: Option<InstanceId>,
        entry: Entry,
        claim: Claim,
    ) -> Outcome {
        let id = InstanceId::new(turn.position.get());
        let (kind, version) = (claim.registration.kind, claim.registration.version);
        let gone = occupant.and_then(|old| self.vacate(turn, old, claim.session));
        // Who comes back as another kind makes a new claim to be the main, and takes no old place.
        let place = gone.as_ref().filter(|gone| gone.registration.kind == kind).map(|gone| gone.place);
        let seat = match entry {
            Entry::Listed => Seat::Listed,
            Entry::Holder => {
                // Nobody is ahead but at another place; in their own place nobody waits for themselves.
                if self.holder(number).is_some() {
                    self.displace_pending(turn, number);
                    self.retire_holder(turn, number);
                }
                Seat::Holder(Token::new(id.get()))
            }
            Entry::Pending { ahead } => {
                self.displace_pending(turn, number);
                let holder = self.tables.instances[&ahead].session;
                turn.offline(holder, ahead, OfflineReason::Handover, claim.handover.millis());
                Seat::Pending(claim.handover)
            }
        };
        let record = Record {
            registration: claim.registration,
            session: claim.session,
            service: number,
            place: place.unwrap_or(id.get()),
            seat,
            draining: false,
            registered: turn.at,
            changed: turn.position,
        };
        turn.tell(&record, |_| {
            let new = record.instance(id, Liveness::Up);
            match (occupant, gone) {
                (Some(old), Some(_)) => Event::Replaced { old, new },
                (Some(_) | None, _) => Event::Up(new),
            }
        });
        self.tables.insert(id, record, claim.place);
        self.bring_policy(turn, number, claim.cutover);
        let risen = self.tables.services[number].risen(version);
        let ripe = turn.touched.remove(&number).flatten().max(risen);
        self.settle(turn, number, ripe);
        match seat {
            // Nothing that settles a service changes such a one: no need to look it up again.
            Seat::Listed => Outcome::Active { instance: id, changed: turn.position, token: None },
            Seat::Holder(_) | Seat::Pending(_) => {
                self.remind(turn, id);
                self.outcome(id)
            }
        }
    }

    /// Empties a place for its next occupant. Gives what watchers saw there; one that waited leaves
    /// nothing behind, and its place is nobody's.
    fn vacate(&mut self, turn: &mut Turn<'_>, id: InstanceId, newcomer: SessionId) -> Option<Record> {
        let record = self.tables.remove(id)?;
        if record.session != newcomer {
            turn.offline(record.session, id, OfflineReason::Replaced, 0);
        }
        Some(record).filter(Record::is_visible)
    }

    fn displace_pending(&mut self, turn: &mut Turn<'_>, number: ServiceNumber) {
        if let Some(id) = self.tables.services[number].pending {
            turn.offline(self.tables.instances[&id].session, id, OfflineReason::Displaced, 0);
            self.remove_instance(turn, id, RemovedCause::Superseded);
        }
    }
}
