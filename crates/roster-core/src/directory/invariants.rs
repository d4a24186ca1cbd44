//! What always holds, checked whole: slow, for tests and for a doubtful moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::words::{Cutover, InstanceId};

use super::machine::Directory;
use super::record::Seat;
use super::service::{Family, Service, ServiceNumber, Tally};
use super::tables::Place;
use super::{Liveness, StateItem};

impl Directory {
    /// Checks D2 to D10 and D14 on the whole state.
    ///
    /// # Panics
    /// When one does not hold, naming it.
    pub fn check_invariants(&self) {
        self.check_indexes();
        self.check_places();
        self.check_sessions();
        for (number, service) in self.tables.services.iter() {
            self.check_service(number, service);
        }
        let tallies = self.tables.services.iter().map(|(_, service)| service.tally);
        let total = tallies.fold(Tally::default(), |sum, tally| Tally {
            up: sum.up + tally.up,
            unconfirmed: sum.unconfirmed + tally.unconfirmed,
            suspect: sum.suspect + tally.suspect,
            draining: sum.draining + tally.draining,
        });
        assert_eq!(total, self.tables.total, "D9: the tally of all");
        self.check_numbers();
    }

    fn check_indexes(&self) {
        let tables = &self.tables;
        tables.instances.check_invariants();
        let (mut owned, mut versions) = (BTreeSet::new(), BTreeSet::new());
        let (mut ranks, mut up) = (BTreeMap::new(), BTreeMap::new());
        for (id, record) in tables.instances.iter() {
            assert!(tables.sessions.contains_key(&record.session), "D2: instance {id} has no session");
            let service = tables.services.get(record.service);
            assert!(
                service.is_some_and(|service| service.name == record.registration.service),
                "D2: instance {id} has no service"
            );
            owned.insert((record.session, id));
            let version = (record.service, record.registration.version);
            versions.insert((version, id));
            if record.is_visible() {
                assert!(ranks.insert((record.service, record.rank()), id).is_none(), "D2: two share the rank of {id}");
            }
            *up.entry(version).or_insert(0) += u32::from(tables.is_up(record));
        }
        let mut found = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        found
            .0
            .extend(tables.sessions.iter().flat_map(|(&id, session)| session.owned.keys().map(move |own| (id, own))));
        for (number, service) in tables.services.iter() {
            for (version, kept) in service.versions.iter() {
                found.1.extend(kept.ids.keys().map(|id| ((number, version), id)));
                found.3.insert((number, version), kept.up);
            }
            found.2.extend(tables.ranked(number).map(|(rank, id)| ((number, rank), id)));
        }
        assert_eq!(owned, found.0, "D2: the index by session");
        assert_eq!(versions, found.1, "D2: the index by version");
        assert_eq!(ranks, found.2, "D2: the index by rank");
        assert_eq!(up, found.3, "D9: who is up by version");
        let names = tables.services.iter().map(|(number, service)| (service.name.clone(), number)).collect();
        assert_eq!(tables.names, names, "D2: the index by name");
    }

    fn check_places(&self) {
        let mut seen = BTreeSet::new();
        for (id, record) in self.tables.instances.iter() {
            let facts = &record.registration;
            assert!(
                seen.insert((&facts.service, &facts.address, facts.node_index)),
                "D3: instance {id} shares its place"
            );
            let service = &self.tables.services[record.service];
            let found = self.tables.at_place(service, Place::of(facts), facts);
            assert_eq!(found, Some(id), "D3: the index by place");
        }
        let places: usize = self.tables.services.iter().map(|(_, service)| service.places.len()).sum();
        assert_eq!(places, self.tables.instances.len(), "D3: the index by place");
    }

    fn check_sessions(&self) {
        let connected = self.tables.sessions.values().filter(|session| session.liveness == Liveness::Up).count();
        assert_eq!(connected, self.tables.connected, "D9: connected sessions");
    }

    fn check_service(&self, number: ServiceNumber, service: &Service) {
        let (tables, name) = (&self.tables, &service.name);
        let ids: Vec<InstanceId> = tables.at_or_above(number, 0).collect();
        assert!(!ids.is_empty() || service.operator.is_some(), "D8: nothing keeps {name}");
        assert!(!ids.is_empty() || service.cutover == Cutover::default(), "D8: {name} keeps what nobody brought");
        let records = || ids.iter().map(|id| &tables.instances[id]);
        assert!(records().all(|record| record.registration.version >= service.floor), "D4: below the floor of {name}");
        assert!(service.floor == 0 || !ids.is_empty(), "D5: {name} is empty and has a floor");
        assert!(
            service.floor == 0 || service.policy() != Cutover::SideBySide,
            "D5: {name} is side by side with a floor"
        );
        assert_eq!(service.ripe_version(service.floor, service.policy(), None), None, "D5: {name} is not settled");

        let singletons = records().filter(|record| Family::of(record.registration.kind) == Family::Singleton).count();
        assert!(singletons == 0 || singletons == ids.len(), "D6: {name} mixes kinds");
        assert!(
            records().all(|record| Family::of(record.registration.kind) == service.family),
            "D6: {name} is of another family than its instances"
        );
        let holders = records().filter(|record| matches!(record.seat, Seat::Holder(_))).count();
        assert_eq!(holders, usize::from(singletons > 0), "D6: holders of {name}");
        let pending: Vec<_> = ids.iter().filter(|id| !tables.instances[id].is_visible()).copied().collect();
        assert_eq!(pending, Vec::from_iter(service.pending), "D6: who waits for {name}");
        assert_eq!(holders + pending.len(), singletons, "D6: a singleton of {name} neither holds nor waits");

        let lead = tables.ranked(number).reduce(|lead, next| if next.0.leads(lead.0) { next } else { lead });
        assert_eq!(service.lead, lead, "D7: who leads {name}");
        assert_eq!(service.main, lead.map(|(_, id)| id), "D7: the main of {name}");
        let mut tally = Tally::default();
        for record in records().filter(|record| record.is_visible()) {
            *tally.of(tables.liveness(record.session)) += 1;
            tally.draining += u32::from(record.draining);
        }
        assert_eq!(tally, service.tally, "D9: the tally of {name}");
    }

    fn check_numbers(&self) {
        for item in self.snapshot().items() {
            let highest = match item {
                StateItem::Counters { revision, last_session } => revision.get().max(last_session.get()),
                StateItem::Session { id, attachment, .. } => {
                    assert!(id <= self.last_session, "D10: session {id} was never given out");
                    attachment.get()
                }
                StateItem::Service { .. } => 0,
                StateItem::Instance { instance, place, .. } => {
                    assert!(place <= instance.id.get(), "D10: the place of {}", instance.id);
                    let token = instance.token.map_or(0, |token| token.get());
                    instance.id.get().max(instance.changed.get()).max(token)
                }
            };
            assert!(highest <= self.revision.get(), "D10: {highest} is beyond the revision");
        }
    }
}
