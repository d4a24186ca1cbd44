//! What follows from a change of a service: promotion, takeover, the floor, the main.

use crate::words::{Cutover, InstanceId, ServiceName, Token};

use super::machine::Directory;
use super::record::Seat;
use super::service::{Family, ServiceNumber};
use super::turn::Turn;
use super::{Event, Notice, OfflineReason, Outcome, RemovedCause};

impl Directory {
    /// The deadline of a hand-over: the holder goes, and settling promotes the one that waits.
    pub(super) fn finish_handover(
        &mut self,
        turn: &mut Turn<'_>,
        service: &ServiceName,
        pending: InstanceId,
    ) -> Outcome {
        let waiting =
            self.tables.names.get(service).filter(|number| self.tables.services[**number].pending == Some(pending));
        let Some(&number) = waiting else { return Outcome::Stale };
        self.retire_holder(turn, number);
        Outcome::Done
    }

    /// The singleton that holds the name of a service, if it is a service of singletons.
    pub(super) fn holder(&self, number: ServiceNumber) -> Option<InstanceId> {
        let service = &self.tables.services[number];
        let (_, lead) = service.lead.filter(|_| service.family == Family::Singleton)?;
        match self.tables.instances[&lead].seat {
            Seat::Holder(_) => Some(lead),
            Seat::Listed | Seat::Pending(_) => None,
        }
    }

    /// Takes the name from its holder, who is told.
    pub(super) fn retire_holder(&mut self, turn: &mut Turn<'_>, number: ServiceNumber) {
        if let Some(holder) = self.holder(number) {
            turn.offline(self.tables.instances[&holder].session, holder, OfflineReason::Handover, 0);
            self.remove_instance(turn, holder, RemovedCause::Superseded);
        }
    }

    /// Brings a service in order after a change. `ripe` is the highest version that the change made
    /// ripe to take over.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>, number: ServiceNumber, ripe: Option<u64>) {
        if self.tables.services.get(number).is_none() {
            return;
        }
        let ripe = ripe.max(self.promote_orphan(turn, number));
        if let Some(version) = ripe {
            self.take_over(turn, number, version);
        }
        self.tell_main(turn, number);
        let service = self.tables.service_mut(number);
        if service.is_empty() {
            // A service that only an operator keeps begins anew: what registrations brought left with them.
            service.floor = 0;
            service.cutover = Cutover::default();
            if service.operator.is_none() {
                self.tables.drop_service(number);
            }
        } else if service.policy() == Cutover::SideBySide {
            service.floor = 0;
        }
    }

    /// Promotes the one that waits when nobody is ahead of it any more. Gives its version when that
    /// is ripe to take over.
    fn promote_orphan(&mut self, turn: &mut Turn<'_>, number: ServiceNumber) -> Option<u64> {
        let service = &self.tables.services[number];
        let id = service.pending.filter(|_| service.lead.is_none())?;
        let (floor, policy) = (service.floor, service.policy());
        self.tables.service_mut(number).pending = None;
        let token = Token::new(turn.position.get());
        let record = self.tables.instances.get_mut(&id)?;
        record.seat = Seat::Holder(token);
        record.changed = turn.position;
        let record = record.clone();
        self.tables.show(id);
        // Its session may be suspect, and the instance says so: it stays until that session expires.
        turn.event(Event::Up(record.instance(id, self.tables.liveness(record.session))));
        turn.effects.notices.push(Notice::Promoted { session: record.session, instance: id, token });
        self.tables.services[number].ripe_version(floor, policy, None)
    }

    /// A version takes over the name: every lower one goes, and its owner is told.
    fn take_over(&mut self, turn: &mut Turn<'_>, number: ServiceNumber, version: u64) {
        let service = self.tables.service_mut(number);
        debug_assert!(version > service.floor, "D4: version {version} takes over below floor {}", service.floor);
        service.floor = version;
        let lower: Vec<_> = self.tables.below(number, version).collect();
        for id in lower {
            turn.offline(self.tables.instances[&id].session, id, OfflineReason::Superseded, 0);
            self.remove_instance(turn, id, RemovedCause::Superseded);
        }
        turn.touched.remove(&number);
    }

    /// Tells watchers of another main, or of none.
    fn tell_main(&mut self, turn: &mut Turn<'_>, number: ServiceNumber) {
        let service = self.tables.service_mut(number);
        let main = service.lead.map(|(_, id)| id);
        if service.main != main {
            service.main = main;
            let service = service.name.clone();
            turn.event(Event::MainChanged { service, main });
        }
    }
}
