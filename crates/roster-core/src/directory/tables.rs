//! The memory of the directory: records and the indexes over them, kept in step.
//!
//! It knows no rule and tells nobody anything. Every index is one ordered tree over all services or
//! sessions, so that a service of one instance costs no tree of its own, what is removed gives its
//! memory back, and nothing has an order that luck decides.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::words::{Cutover, InstanceId, Registration, ServiceName, SessionId};

use super::record::{Rank, Record};
use super::service::{Service, ServiceNumber, Tally};
use super::session::Session;
use super::{Instance, Liveness};

#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) services: BTreeMap<ServiceNumber, Service>,
    pub(super) names: BTreeMap<ServiceName, ServiceNumber>,
    /// Boxed, for ids ascend, and ascending keys leave the nodes of a tree half empty.
    pub(super) instances: BTreeMap<InstanceId, Box<Record>>,
    /// Whose they are.
    pub(super) owned: BTreeSet<(SessionId, InstanceId)>,
    /// The visible ones in the order that makes the main.
    pub(super) ranks: BTreeMap<(ServiceNumber, Rank), InstanceId>,
    /// All of them by version.
    pub(super) versions: BTreeSet<(ServiceNumber, u64, InstanceId)>,
    /// How many visible ones of a version have a session that is up or unconfirmed; none is no entry.
    pub(super) up: BTreeMap<(ServiceNumber, u64), u32>,
    /// By the hash of where they listen. An ordered set, because a hash map needs either luck or a
    /// key that an attacker knows; here all 64 bits would have to collide.
    pub(super) places: BTreeSet<(u64, InstanceId)>,
    /// Sessions that are up.
    pub(super) connected: usize,
    /// The sum of the tallies of all services.
    pub(super) total: Tally,
    last_number: u64,
}

impl Tables {
    pub(super) fn liveness(&self, session: SessionId) -> Liveness {
        self.sessions[&session].liveness
    }

    pub(super) fn instance(&self, id: InstanceId) -> Option<Instance> {
        let record = self.instances.get(&id)?;
        Some(record.instance(id, self.liveness(record.session)))
    }

    /// The instance that listens where `registration` does, of whatever kind.
    pub(super) fn at_place(&self, registration: &Registration) -> Option<InstanceId> {
        let hash = place_hash(registration);
        self.places
            .range((hash, InstanceId::new(0))..=(hash, InstanceId::new(u64::MAX)))
            .map(|&(_, id)| id)
            .find(|id| is_same_address(&self.instances[id].registration, registration))
    }

    pub(super) fn of_session(&self, session: SessionId) -> impl Iterator<Item = InstanceId> {
        self.owned.range((session, InstanceId::new(0))..=(session, InstanceId::new(u64::MAX))).map(|&(_, id)| id)
    }

    /// The visible instances of a service, in the order that makes the main.
    pub(super) fn ranked(&self, number: ServiceNumber) -> impl DoubleEndedIterator<Item = (Rank, InstanceId)> {
        self.ranks.range((number, Rank::FIRST)..=(number, Rank::LAST)).map(|(&(_, rank), &id)| (rank, id))
    }

    /// Every instance of a service from a version upwards, by version, then by id.
    pub(super) fn at_or_above(&self, number: ServiceNumber, version: u64) -> impl Iterator<Item = InstanceId> {
        let last = (number, u64::MAX, InstanceId::new(u64::MAX));
        self.versions.range((number, version, InstanceId::new(0))..=last).map(|&(_, _, id)| id)
    }

    /// Every instance of a service below a version, by version, then by id.
    pub(super) fn below(&self, number: ServiceNumber, version: u64) -> impl Iterator<Item = InstanceId> {
        let first = (number, 0, InstanceId::new(0));
        self.versions.range(first..(number, version, InstanceId::new(0))).map(|&(_, _, id)| id)
    }

    pub(super) fn up_of(&self, number: ServiceNumber, version: u64) -> u32 {
        self.up.get(&(number, version)).copied().unwrap_or(0)
    }

    /// The visible instance that leads by its rank: the last or the first one.
    pub(super) fn lead_by_rank(&self, number: ServiceNumber) -> Option<(Rank, InstanceId)> {
        let mut ranked = self.ranked(number);
        let last = ranked.next_back()?;
        Some(ranked.next().filter(|first| first.0.leads(last.0)).unwrap_or(last))
    }

    pub(super) fn add_service(&mut self, name: ServiceName) -> ServiceNumber {
        self.last_number += 1;
        let number = ServiceNumber(self.last_number);
        self.names.insert(name.clone(), number);
        self.services.insert(number, Service::new(name));
        number
    }

    pub(super) fn drop_service(&mut self, number: ServiceNumber) {
        if let Some(service) = self.services.remove(&number) {
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
            debug_assert!(session.instances == 0, "D2: session {id} is dropped with its instances");
            self.connected -= usize::from(session.liveness == Liveness::Up);
        }
    }

    pub(super) fn insert(&mut self, id: InstanceId, record: Record) {
        self.owned.insert((record.session, id));
        self.versions.insert((record.service, record.registration.version, id));
        self.places.insert((place_hash(&record.registration), id));
        if let Some(session) = self.sessions.get_mut(&record.session) {
            session.instances += 1;
        }
        if record.is_visible() {
            self.show(id, &record);
        } else {
            self.service_mut(record.service).pending = Some(id);
        }
        self.instances.insert(id, Box::new(record));
    }

    pub(super) fn remove(&mut self, id: InstanceId) -> Option<Record> {
        let record = *self.instances.remove(&id)?;
        self.owned.remove(&(record.session, id));
        self.versions.remove(&(record.service, record.registration.version, id));
        self.places.remove(&(place_hash(&record.registration), id));
        if record.is_visible() {
            self.hide(&record);
        } else {
            self.service_mut(record.service).pending = None;
        }
        if let Some(session) = self.sessions.get_mut(&record.session) {
            session.instances -= 1;
        }
        Some(record)
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
        let owned = self.owned.range((id, InstanceId::new(0))..=(id, InstanceId::new(u64::MAX)));
        for (_, id) in owned {
            let record = &self.instances[id];
            if !record.is_visible() {
                continue;
            }
            if let Some(service) = self.services.get_mut(&record.service) {
                *service.tally.of(before) -= 1;
                *service.tally.of(liveness) += 1;
                *self.total.of(before) -= 1;
                *self.total.of(liveness) += 1;
            }
            let key = (record.service, record.registration.version);
            match (counts_as_up(before), counts_as_up(liveness)) {
                (true, false) => count_down(&mut self.up, key),
                (false, true) => *self.up.entry(key).or_insert(0) += 1,
                (true, true) | (false, false) => {}
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
        for service in self.services.values_mut() {
            service.tally.unconfirmed += std::mem::take(&mut service.tally.up);
        }
        self.total.unconfirmed += std::mem::take(&mut self.total.up);
        self.connected = 0;
    }

    /// Whether an instance counts for the takeover of its version.
    pub(super) fn is_up(&self, record: &Record) -> bool {
        record.is_visible() && counts_as_up(self.liveness(record.session))
    }

    /// The highest version above the floor that `policy` lets take over, once one instance of the
    /// version `leaver` is gone.
    pub(super) fn ripe_version(
        &self,
        number: ServiceNumber,
        floor: u64,
        policy: Cutover,
        leaver: Option<u64>,
    ) -> Option<u64> {
        let Cutover::After(needed) = policy else { return None };
        let above = (number, floor.checked_add(1)?)..=(number, u64::MAX);
        self.up
            .range(above)
            .rev()
            .map(|(&(_, version), &up)| (version, up - u32::from(leaver == Some(version))))
            .find(|&(_, up)| up >= needed.get())
            .map(|(version, _)| version)
    }

    /// Fills tables that have sessions and services but no instance. Sorted runs build dense trees, and
    /// several times faster than one insertion after another. Records come by ascending id.
    ///
    /// # Errors
    /// Which instance shares its place, and in which sense.
    pub(super) fn fill(&mut self, records: Vec<(InstanceId, Box<Record>)>) -> Result<(), (InstanceId, &'static str)> {
        debug_assert!(self.instances.is_empty(), "D2: tables are filled once");
        let (mut owned, mut versions) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        let (mut places, mut ranks) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for (id, record) in &records {
            owned.push((record.session, *id));
            versions.push((record.service, record.registration.version, *id));
            places.push((place_hash(&record.registration), *id));
            if let Some(session) = self.sessions.get_mut(&record.session) {
                session.instances += 1;
            }
            if record.is_visible() {
                ranks.push(((record.service, record.rank()), *id));
                self.lead_with(*id, record);
                self.count_in(record);
            } else {
                self.service_mut(record.service).pending = Some(*id);
            }
        }
        self.instances = records.into_iter().collect();
        places.sort_unstable();
        for alike in places.chunk_by(|one, next| one.0 == next.0) {
            for (nth, (_, id)) in alike.iter().enumerate() {
                let facts = |id| &self.instances[id].registration;
                if alike[..nth].iter().any(|(_, other)| is_same_address(facts(other), facts(id))) {
                    return Err((*id, "its place is taken"));
                }
            }
        }
        ranks.sort_unstable();
        if let Some(alike) = ranks.windows(2).find(|alike| alike[0].0 == alike[1].0) {
            return Err((alike[1].1, "its place in the order is taken"));
        }
        self.owned = owned.into_iter().collect();
        self.versions = versions.into_iter().collect();
        self.places = places.into_iter().collect();
        self.ranks = ranks.into_iter().collect();
        Ok(())
    }

    /// Lets a record enter what watchers see. The caller stores it.
    pub(super) fn show(&mut self, id: InstanceId, record: &Record) {
        self.ranks.insert((record.service, record.rank()), id);
        self.lead_with(id, record);
        self.count_in(record);
    }

    fn lead_with(&mut self, id: InstanceId, record: &Record) {
        let (rank, service) = (record.rank(), self.service_mut(record.service));
        if service.lead.is_none_or(|(lead, _)| rank.leads(lead)) {
            service.lead = Some((rank, id));
        }
    }

    fn count_in(&mut self, record: &Record) {
        let liveness = self.liveness(record.session);
        let service = self.service_mut(record.service);
        *service.tally.of(liveness) += 1;
        service.tally.draining += u32::from(record.draining);
        *self.total.of(liveness) += 1;
        self.total.draining += u32::from(record.draining);
        if counts_as_up(liveness) {
            *self.up.entry((record.service, record.registration.version)).or_insert(0) += 1;
        }
    }

    fn hide(&mut self, record: &Record) {
        let liveness = self.liveness(record.session);
        let service = self.service_mut(record.service);
        *service.tally.of(liveness) -= 1;
        service.tally.draining -= u32::from(record.draining);
        let led = service.lead.is_some_and(|(lead, _)| lead == record.rank());
        self.ranks.remove(&(record.service, record.rank()));
        *self.total.of(liveness) -= 1;
        self.total.draining -= u32::from(record.draining);
        if led {
            self.service_mut(record.service).lead = self.lead_by_rank(record.service);
        }
        if counts_as_up(liveness) {
            count_down(&mut self.up, (record.service, record.registration.version));
        }
    }

    pub(super) fn service_mut(&mut self, number: ServiceNumber) -> &mut Service {
        self.services.get_mut(&number).expect("D2: a record's service exists")
    }
}

/// Unconfirmed counts: a restart of the node takes nobody's place away.
pub(super) fn counts_as_up(liveness: Liveness) -> bool {
    match liveness {
        Liveness::Up | Liveness::Unconfirmed => true,
        Liveness::Suspect(_) => false,
    }
}

/// Whether two registrations mean one socket of one node of one service. The kind is no part of it:
/// who listens there cannot be two things at once.
fn is_same_address(one: &Registration, other: &Registration) -> bool {
    one.service == other.service && one.address == other.address && one.node_index == other.node_index
}

/// Lives in memory only, so that the hash function may differ from one build to the next.
fn place_hash(registration: &Registration) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&registration.service, &registration.address, registration.node_index).hash(&mut hasher);
    hasher.finish()
}

fn count_down(up: &mut BTreeMap<(ServiceNumber, u64), u32>, key: (ServiceNumber, u64)) {
    if let Some(count) = up.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            up.remove(&key);
        }
    }
}
