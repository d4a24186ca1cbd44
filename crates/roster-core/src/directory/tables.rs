//! The memory of the directory: records and the indexes over them, kept in step.
//!
//! It knows no rule and tells nobody anything. An index of a service or a session is a [`Roll`] of its
//! own: what is removed gives its memory back, and nothing has an order that luck decides. Nothing is
//! looked up twice on the way of one registration (docs/performance.md).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use crate::words::{InstanceId, Registration, ServiceName, SessionId};

use super::pages::Pages;
use super::record::{Rank, Record};
use super::roll::Roll;
use super::service::{Family, Service, ServiceNumber, Tally, Version};
use super::services::Services;
use super::session::Session;
use super::{Instance, Liveness};

#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) services: Services,
    pub(super) names: BTreeMap<ServiceName, ServiceNumber>,
    pub(super) instances: Pages,
    /// Sessions that are up.
    pub(super) connected: usize,
    /// The sum of the tallies of all services.
    pub(super) total: Tally,
}

impl Tables {
    pub(super) fn liveness(&self, session: SessionId) -> Liveness {
        self.sessions[&session].liveness
    }

    pub(super) fn instance(&self, id: InstanceId) -> Option<Instance> {
        let record = self.instances.get(&id)?;
        Some(record.instance(id, self.liveness(record.session)))
    }

    /// The instance of this service that listens where `registration` does, of whatever kind.
    pub(super) fn at_place(&self, service: &Service, place: Place, registration: &Registration) -> Option<InstanceId> {
        service
            .places
            .range((place.0, InstanceId::new(0))..)
            .take_while(|((hash, _), ())| *hash == place.0)
            .map(|((_, id), ())| id)
            .find(|id| is_same_address(&self.instances[id].registration, registration))
    }

    pub(super) fn of_session(&self, session: SessionId) -> impl Iterator<Item = InstanceId> {
        self.sessions.get(&session).into_iter().flat_map(|session| session.owned.keys())
    }

    /// The visible instances of a service, in the order that makes the main.
    pub(super) fn ranked(&self, number: ServiceNumber) -> impl DoubleEndedIterator<Item = (Rank, InstanceId)> {
        self.services[number].ranks.iter().map(|(rank, &id)| (rank, id))
    }

    /// Every instance of a service from a version upwards, by version, then by id.
    pub(super) fn at_or_above(&self, number: ServiceNumber, version: u64) -> impl Iterator<Item = InstanceId> {
        self.services[number].versions.range(version..).flat_map(|(_, version)| version.ids.keys())
    }

    /// Every instance of a service below a version, by version, then by id.
    pub(super) fn below(&self, number: ServiceNumber, version: u64) -> impl Iterator<Item = InstanceId> {
        self.services[number].versions.range(..version).flat_map(|(_, version)| version.ids.keys())
    }

    pub(super) fn add_service(&mut self, name: ServiceName) -> ServiceNumber {
        let number = self.services.add(name.clone());
        self.names.insert(name, number);
        number
    }

    pub(super) fn drop_service(&mut self, number: ServiceNumber) {
        if let Some(service) = self.services.remove(number) {
            debug_assert!(service.is_empty(), "D2: a service is dropped with its instances");
            self.names.remove(&service.name);
        }
    }

    pub(super) fn add_session(&mut self, id: SessionId, session: Session) {
        self.connected += usize::from(session.liveness == Liveness::Up);
        self.sessions.insert(id, session);
    }

    pub(super) fn drop_session(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            debug_assert!(session.owned.is_empty(), "D2: session {id} is dropped with its instances");
            self.connected -= usize::from(session.liveness == Liveness::Up);
        }
    }

    /// `place` is that of the record's registration.
    pub(super) fn insert(&mut self, id: InstanceId, record: Record, place: Place) {
        debug_assert!(place == Place::of(&record.registration), "D3: instance {id} stands at another place");
        let session = self.sessions.get_mut(&record.session).expect("D2: a record's session exists");
        session.owned.insert(id, ());
        let liveness = session.liveness;
        let service = self.services.get_mut(record.service).expect("D2: a record's service exists");
        service.places.insert((place.0, id), ());
        service.family = Family::of(record.registration.kind);
        let version = record.registration.version;
        match service.versions.get_mut(version) {
            Some(version) => drop(version.ids.insert(id, ())),
            None => {
                let ids = Roll::of_sorted(vec![(id, ())]);
                service.versions.insert(version, Version { up: 0, ids });
            }
        }
        if record.is_visible() {
            service.show(id, &record, liveness);
            self.total.add(&record, liveness);
        } else {
            service.pending = Some(id);
        }
        self.instances.push(id, record);
    }

    pub(super) fn remove(&mut self, id: InstanceId) -> Option<Record> {
        let record = self.instances.remove(&id)?;
        let session = self.sessions.get_mut(&record.session).expect("D2: a record's session exists");
        session.owned.remove(id);
        let liveness = session.liveness;
        let service = self.services.get_mut(record.service).expect("D2: a record's service exists");
        service.places.remove((Place::of(&record.registration).0, id));
        if record.is_visible() {
            service.hide(&record, liveness);
            self.total.subtract(&record, liveness);
        } else {
            service.pending = None;
        }
        let number = record.registration.version;
        if let Some(version) = service.versions.get_mut(number) {
            version.ids.remove(id);
            if version.ids.is_empty() {
                service.versions.remove(number);
            }
        }
        Some(record)
    }

    /// Lets a record that waited enter what watchers see.
    pub(super) fn show(&mut self, id: InstanceId) {
        let record = &self.instances[&id];
        let liveness = self.sessions[&record.session].liveness;
        let service = self.services.get_mut(record.service).expect("D2: a record's service exists");
        service.show(id, record, liveness);
        self.total.add(record, liveness);
    }

    /// Replaces the facts of an instance by others of the same place, kind and version.
    pub(super) fn set_facts(&mut self, id: InstanceId, registration: Arc<Registration>) {
        if let Some(record) = self.instances.get_mut(&id) {
            debug_assert!(record.registration.is_same_place(&registration), "D3: facts of {id} move its place");
            debug_assert!(record.registration.version == registration.version, "D4: facts of {id} move its version");
            record.registration = registration;
        }
    }

    /// Marks an instance as draining.
    pub(super) fn set_draining(&mut self, id: InstanceId) {
        if let Some(record) = self.instances.get_mut(&id)
            && !record.draining
        {
            record.draining = true;
            let (number, visible) = (record.service, record.is_visible());
            self.service_mut(number).tally.draining += u32::from(visible);
            self.total.draining += u32::from(visible);
        }
    }

    /// Moves a session, and with it the tallies of its instances, from one liveness to another.
    pub(super) fn set_liveness(&mut self, id: SessionId, liveness: Liveness) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let before = std::mem::replace(&mut session.liveness, liveness);
        if before == liveness {
            return;
        }
        self.connected -= usize::from(before == Liveness::Up);
        self.connected += usize::from(liveness == Liveness::Up);
        for id in session.owned.keys() {
            let record = &self.instances[&id];
            if !record.is_visible() {
                continue;
            }
            if let Some(service) = self.services.get_mut(record.service) {
                *service.tally.of(before) -= 1;
                *service.tally.of(liveness) += 1;
                *self.total.of(before) -= 1;
                *self.total.of(liveness) += 1;
                if let Some(version) = service.versions.get_mut(record.registration.version) {
                    version.up -= u32::from(counts_as_up(before));
                    version.up += u32::from(counts_as_up(liveness));
                }
            }
        }
    }

    /// Every session that is up becomes unconfirmed, without a look at each instance.
    pub(super) fn unconfirm_all(&mut self) {
        for session in self.sessions.values_mut() {
            if session.liveness == Liveness::Up {
                session.liveness = Liveness::Unconfirmed;
            }
        }
        for service in self.services.iter_mut() {
            service.tally.unconfirmed += std::mem::take(&mut service.tally.up);
        }
        self.total.unconfirmed += std::mem::take(&mut self.total.up);
        self.connected = 0;
    }

    /// Whether an instance counts for the takeover of its version.
    pub(super) fn is_up(&self, record: &Record) -> bool {
        record.is_visible() && counts_as_up(self.liveness(record.session))
    }

    /// Fills tables that have sessions and services but no instance. Sorted runs build dense indexes, and
    /// several times faster than one insertion after another. Records come by ascending id.
    ///
    /// # Errors
    /// Which instance shares its place, and in which sense.
    pub(super) fn fill(&mut self, records: Vec<(InstanceId, Record)>) -> Result<(), (InstanceId, &'static str)> {
        debug_assert!(self.instances.is_empty(), "D2: tables are filled once");
        let mut places = Vec::with_capacity(records.len());
        let mut ranks = Vec::with_capacity(records.len());
        let mut versions = Vec::with_capacity(records.len());
        let mut owned = Vec::with_capacity(records.len());
        for (id, record) in &records {
            let number = record.service;
            owned.push((record.session, (*id, ())));
            places.push((number, ((Place::of(&record.registration).0, *id), ())));
            versions.push(((number, record.registration.version), (*id, ())));
            if record.is_visible() {
                ranks.push((number, (record.rank(), *id)));
            } else {
                self.service_mut(number).pending = Some(*id);
            }
        }
        self.instances = Pages::of_sorted(records);
        owned.sort_unstable();
        for (id, owned) in runs(&owned) {
            self.sessions.get_mut(&id).expect("D2: a record's session exists").owned = owned;
        }
        versions.sort_unstable();
        for ((number, version), ids) in runs(&versions) {
            self.service_mut(number).versions.insert(version, Version { up: 0, ids });
        }
        places.sort_unstable();
        for alike in places.chunk_by(|(one, ((hash, _), ())), (next, ((other, _), ()))| (one, hash) == (next, other)) {
            for (nth, (_, ((_, id), ()))) in alike.iter().enumerate() {
                let facts = |id| &self.instances[id].registration;
                if alike[..nth].iter().any(|(_, ((_, other), ()))| is_same_address(facts(other), facts(id))) {
                    return Err((*id, "its place is taken"));
                }
            }
        }
        for (number, places) in runs(&places) {
            self.service_mut(number).places = places;
        }
        ranks.sort_unstable();
        let same =
            |alike: &&[(ServiceNumber, (Rank, InstanceId))]| (alike[0].0, alike[0].1.0) == (alike[1].0, alike[1].1.0);
        if let Some(alike) = ranks.windows(2).find(same) {
            return Err((alike[1].1.1, "its place in the order is taken"));
        }
        for (number, ranks) in runs(&ranks) {
            self.service_mut(number).ranks = ranks;
        }
        for record in self.instances.iter().map(|(_, record)| record).filter(|record| record.is_visible()) {
            let liveness = self.sessions[&record.session].liveness;
            let service = self.services.get_mut(record.service).expect("D2: a record's service exists");
            service.family = Family::of(record.registration.kind);
            service.count(record, liveness);
            self.total.add(record, liveness);
        }
        for service in self.services.iter_mut() {
            service.lead = service.lead_by_rank();
        }
        Ok(())
    }

    pub(super) fn service_mut(&mut self, number: ServiceNumber) -> &mut Service {
        self.services.get_mut(number).expect("D2: a record's service exists")
    }
}

/// Entries that are sorted, as one roll for each owner.
fn runs<O: Copy + PartialEq, K: Ord + Copy, V: Copy>(entries: &[(O, (K, V))]) -> impl Iterator<Item = (O, Roll<K, V>)> {
    entries
        .chunk_by(|one, next| one.0 == next.0)
        .map(|run| (run[0].0, Roll::of_sorted(run.iter().map(|&(_, entry)| entry).collect())))
}

/// Unconfirmed counts: a restart of the node takes nobody's place away.
pub(super) fn counts_as_up(liveness: Liveness) -> bool {
    match liveness {
        Liveness::Up | Liveness::Unconfirmed => true,
        Liveness::Suspect(_) => false,
    }
}

/// Whether two registrations of one service mean one socket of one node. The kind is no part of it:
/// who listens there cannot be two things at once.
fn is_same_address(one: &Registration, other: &Registration) -> bool {
    one.address == other.address && one.node_index == other.node_index
}

/// Where an instance of a service listens, as a number. Lives in memory only, so that the hash function
/// may differ from one build to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn of(registration: &Registration) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(registration.address.host().as_bytes());
        hasher.write_u64(u64::from(registration.address.port()) << 32 | u64::from(registration.node_index));
        Self(hasher.finish())
    }
}
