//! What can be read of the directory. Reading changes nothing, and its order is that of names and ids.

use std::ops::Bound;
use std::sync::Arc;

use crate::words::{Handover, InstanceId, Selector, ServiceName, SessionId};

use super::machine::Directory;
use super::record::Seat;
use super::service::{Service, ServiceNumber};
use super::{Event, Instance, ServiceSummary, SessionSummary};

const SERVICES_AT_ONCE: usize = 64;

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub sessions: usize,
    /// Sessions that are up.
    pub connected: usize,
    /// Services, those that only an operator's policy keeps included.
    pub services: usize,
    /// Instances, pending ones included.
    pub instances: usize,
    /// Visible instances.
    pub visible: usize,
    /// Visible instances of whom nothing is heard: suspect, or not back since the node restarted.
    pub silent: usize,
}

impl Directory {
    /// The main of a service: the last registered main, else the longest registered member; of
    /// singletons the holder. It may be suspect: its liveness says so.
    #[must_use]
    pub fn main(&self, service: &ServiceName) -> Option<Instance> {
        let number = self.tables.names.get(service)?;
        self.instance(self.tables.services[*number].main?)
    }

    /// One instance, pending ones included.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<Instance> {
        self.tables.instance(id)
    }

    /// Up to `limit` instances, pending ones included, by service name and then by id, beyond `after`
    /// (which need not exist any more).
    #[must_use]
    pub fn instances(
        &self,
        selector: &Selector,
        after: Option<(ServiceName, InstanceId)>,
        limit: usize,
    ) -> Vec<Instance> {
        let (from, mut beyond) = match &after {
            Some((name, id)) => (Bound::Included(name), Some((name, *id))),
            None => (Bound::Unbounded, None),
        };
        let mut found = Vec::new();
        for (name, number) in self.selected(selector, from) {
            let above = beyond.take().filter(|(last, _)| *last == name).map(|(_, id)| id);
            let ids = self.ids(number, above, limit - found.len());
            found.reserve(ids.len());
            found.extend(self.known(ids));
            if found.len() >= limit {
                break;
            }
        }
        found
    }

    /// Up to `limit` services by name, beyond `after` (which need not exist any more).
    #[must_use]
    pub fn services(&self, selector: &Selector, after: Option<&ServiceName>, limit: usize) -> Vec<ServiceSummary> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let selected = self.selected(selector, from).take(limit);
        selected.map(|(_, number)| self.tables.services[number].summary()).collect()
    }

    /// One session.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<SessionSummary> {
        self.tables.sessions.get(&session).map(|known| known.summary(session))
    }

    /// What a session owns, pending ones included, by ascending id.
    #[must_use]
    pub fn session_instances(&self, session: SessionId) -> Vec<Instance> {
        self.tables.of_session(session).filter_map(|id| self.instance(id)).collect()
    }

    /// Every session by ascending id.
    pub fn sessions(&self) -> impl Iterator<Item = SessionSummary> {
        self.tables.sessions.iter().map(|(&id, known)| known.summary(id))
    }

    /// Every singleton that waits, by service name: the service, who waits, and for how long at most.
    #[must_use]
    pub fn handovers(&self) -> Vec<(ServiceName, InstanceId, Handover)> {
        let pending = self.tables.names.iter().filter_map(|(name, number)| {
            let id = self.tables.services[*number].pending?;
            match self.tables.instances[&id].seat {
                Seat::Pending(handover) => Some((name.clone(), id, handover)),
                Seat::Listed | Seat::Holder(_) => None,
            }
        });
        pending.collect()
    }

    /// How much there is, without counting.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let total = &self.tables.total;
        Counts {
            sessions: self.tables.sessions.len(),
            connected: self.tables.connected,
            services: self.tables.services.len(),
            instances: self.tables.instances.len(),
            visible: (total.up + total.unconfirmed + total.suspect) as usize,
            silent: (total.unconfirmed + total.suspect) as usize,
        }
    }

    /// The whole state that a watch begins with, as events: by service name its visible instances as
    /// [`Event::Up`], then its main as [`Event::MainChanged`].
    ///
    /// Each instance is behind four things that lie in no cache when there are many. So each of these is read of
    /// several services before the next one is, for then they are fetched at the same time (docs/performance.md).
    #[must_use]
    pub fn visible(&self, selector: &Selector) -> Vec<Event> {
        let mut services = self.selected(selector, Bound::Unbounded).map(|(_, number)| &self.tables.services[number]);
        let (mut events, mut several, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            several.clear();
            several.extend(services.by_ref().take(SERVICES_AT_ONCE));
            if several.is_empty() {
                return events;
            }
            several.iter().for_each(|service: &&Service| touch(service.main));
            several.iter().for_each(|service| touch(service.ranks.first().map(|(_, &id)| id)));
            ids.clear();
            several.iter().for_each(|service| ids.extend(service.ranks.iter().map(|(_, &id)| id)));
            let mut known = self.known(ids.iter().copied());
            for service in &several {
                events.extend(known.by_ref().take(service.ranks.len()).map(Event::Up));
                events.extend(
                    service.main.map(|main| Event::MainChanged { service: service.name.clone(), main: Some(main) }),
                );
            }
        }
    }

    /// The instances of ids that are there.
    fn known(&self, ids: impl IntoIterator<Item = InstanceId>) -> impl Iterator<Item = Instance> {
        let records: Vec<_> = self.tables.instances.get_each(ids).collect();
        records.iter().for_each(|(_, record)| touch(Arc::strong_count(&record.registration)));
        records.into_iter().map(|(id, record)| record.instance(id, self.tables.liveness(record.session)))
    }

    /// The services that a selector means, by name, from a bound on.
    fn selected<'a>(
        &'a self,
        selector: &'a Selector,
        from: Bound<&'a ServiceName>,
    ) -> impl Iterator<Item = (&'a ServiceName, ServiceNumber)> {
        let first = match selector {
            Selector::All => Bound::Unbounded,
            Selector::Prefix(prefix) => Bound::Included(prefix.as_str()),
            Selector::Service(name) => Bound::Included(name.as_str()),
        };
        let from = match from {
            Bound::Included(name) => Bound::Included(name.as_str()),
            Bound::Excluded(name) => Bound::Excluded(name.as_str()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let start = later(first, from);
        self.tables
            .names
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(name, &number)| (name, number))
            .take_while(|(name, _)| selector.matches(name))
    }

    /// Up to `limit` ids of a service in ascending order, beyond `after`. Instances are indexed by
    /// version first, and a service has one or two; so this merges a page of each.
    fn ids(&self, number: ServiceNumber, after: Option<InstanceId>, limit: usize) -> Vec<InstanceId> {
        let first = InstanceId::new(after.map_or(0, |id| id.get() + 1));
        let versions = self.tables.services[number].versions.iter();
        let mut ids: Vec<_> =
            versions.flat_map(|(_, version)| version.ids.range(first..).take(limit)).map(|(id, ())| id).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }
}

/// Reads what is needed next, of several, before any of it is used.
fn touch<T>(value: T) {
    std::hint::black_box(value);
}

/// The later of two lower bounds. When both are at the same name, the one that leaves it out.
fn later<'a>(one: Bound<&'a str>, other: Bound<&'a str>) -> Bound<&'a str> {
    match (one, other) {
        (Bound::Unbounded, bound) | (bound, Bound::Unbounded) => bound,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            if b > a || (b == a && matches!(other, Bound::Excluded(_))) { other } else { one }
        }
    }
}
