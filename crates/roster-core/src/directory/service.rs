//! What the directory keeps of a service, and what it shows of it.

use crate::words::{Cutover, InstanceId, Kind, Label, ServiceName};

use super::Liveness;
use super::record::{Rank, Record};
use super::roll::Roll;
use super::tables::counts_as_up;

/// Names a service inside the tables, so that no record repeats its name. Never stored, never shown,
/// never an order of anything that is: a restored directory numbers its services anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceNumber(u32);

impl ServiceNumber {
    /// Fewer than [`SERVICES_MAX`](crate::limits::SERVICES_MAX) are ever taken.
    pub(super) fn of_seat(seat: usize) -> Self {
        Self(u32::try_from(seat).expect("D2: a service has a seat below the limit of services"))
    }

    pub(super) fn seat(self) -> usize {
        self.0 as usize
    }
}

/// A service as it is kept, with the indexes over its instances.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: ServiceName,
    /// The version that has taken over; nothing below it is registered. 0 when none has.
    pub(super) floor: u64,
    /// What the newest registration that named a policy brought.
    pub(super) cutover: Cutover,
    /// What an operator set; boxed because few services have it.
    pub(super) operator: Option<Box<(Cutover, Label)>>,
    /// The main that watchers were told last.
    pub(super) main: Option<InstanceId>,
    /// The visible instance that ranks as the main; kept, for every command asks for it.
    pub(super) lead: Option<(Rank, InstanceId)>,
    /// The singleton that waits.
    pub(super) pending: Option<InstanceId>,
    pub(super) tally: Tally,
    /// Of all its instances (D6).
    pub(super) family: Family,
    /// The visible instances in the order that makes the main.
    pub(super) ranks: Roll<Rank, InstanceId>,
    /// All instances by the hash of where they listen. Ordered, because a hash map needs either luck or
    /// a key that an attacker knows; here all 64 bits would have to collide.
    pub(super) places: Roll<(u64, InstanceId)>,
    /// All instances by version; a version without any is not there.
    pub(super) versions: Roll<u64, Version>,
}

/// The instances of one version.
#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    /// How many visible ones have a session that is up or unconfirmed.
    pub(super) up: u32,
    pub(super) ids: Roll<InstanceId>,
}

impl Service {
    pub(super) fn new(name: ServiceName) -> Self {
        Self {
            name,
            floor: 0,
            cutover: Cutover::default(),
            operator: None,
            main: None,
            lead: None,
            pending: None,
            tally: Tally::default(),
            family: Family::Cluster,
            ranks: Roll::default(),
            places: Roll::default(),
            versions: Roll::default(),
        }
    }

    /// Whether no instance is left, neither visible nor waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.lead.is_none() && self.pending.is_none()
    }

    /// How many instances of a version count for its takeover.
    pub(super) fn up_of(&self, version: u64) -> u32 {
        self.versions.get(version).map_or(0, |version| version.up)
    }

    /// The highest version above `floor` that `policy` lets take over, once one instance of the
    /// version `leaver` is gone.
    pub(super) fn ripe_version(&self, floor: u64, policy: Cutover, leaver: Option<u64>) -> Option<u64> {
        let Cutover::After(needed) = policy else { return None };
        self.versions
            .range(floor.checked_add(1)?..)
            .rev()
            .map(|(number, version)| (number, version.up - u32::from(leaver == Some(number))))
            .find(|&(_, up)| up >= needed.get())
            .map(|(version, _)| version)
    }

    /// The version that got more instances that are up, if that makes it ripe to take over.
    pub(super) fn risen(&self, version: u64) -> Option<u64> {
        let ripe = match self.policy() {
            Cutover::After(needed) => version > self.floor && self.up_of(version) >= needed.get(),
            Cutover::SideBySide => false,
        };
        ripe.then_some(version)
    }

    /// The visible instance that leads by its rank: the last or the first one.
    pub(super) fn lead_by_rank(&self) -> Option<(Rank, InstanceId)> {
        let (last, first) = (self.ranks.last()?, self.ranks.first()?);
        let (rank, &id) = if first.0.leads(last.0) { first } else { last };
        Some((rank, id))
    }

    /// Lets an instance of a liveness enter what watchers see.
    pub(super) fn show(&mut self, id: InstanceId, record: &Record, liveness: Liveness) {
        let rank = record.rank();
        self.ranks.insert(rank, id);
        if self.lead.is_none_or(|(lead, _)| rank.leads(lead)) {
            self.lead = Some((rank, id));
        }
        self.count(record, liveness);
    }

    /// Counts a visible instance.
    pub(super) fn count(&mut self, record: &Record, liveness: Liveness) {
        self.tally.add(record, liveness);
        if counts_as_up(liveness)
            && let Some(version) = self.versions.get_mut(record.registration.version)
        {
            version.up += 1;
        }
    }

    /// Takes an instance out of what watchers see.
    pub(super) fn hide(&mut self, record: &Record, liveness: Liveness) {
        let rank = record.rank();
        self.ranks.remove(rank);
        if self.lead.is_some_and(|(lead, _)| lead == rank) {
            self.lead = self.lead_by_rank();
        }
        self.tally.subtract(record, liveness);
        if counts_as_up(liveness)
            && let Some(version) = self.versions.get_mut(record.registration.version)
        {
            version.up -= 1;
        }
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> Cutover {
        self.operator.as_ref().map_or(self.cutover, |operator| operator.0)
    }

    pub(super) fn summary(&self) -> ServiceSummary {
        ServiceSummary {
            name: self.name.clone(),
            up: self.tally.up,
            unconfirmed: self.tally.unconfirmed,
            suspect: self.tally.suspect,
            draining: self.tally.draining,
            pending: u32::from(self.pending.is_some()),
            floor: self.floor,
            cutover: self.policy(),
            cutover_author: self.operator.as_ref().map(|operator| operator.1.clone()),
            main: self.main,
        }
    }
}

/// How many visible instances a service has, by what is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) up: u32,
    pub(super) unconfirmed: u32,
    pub(super) suspect: u32,
    /// Of those above; draining says nothing about liveness.
    pub(super) draining: u32,
}

impl Tally {
    pub(super) fn add(&mut self, record: &Record, liveness: Liveness) {
        *self.of(liveness) += 1;
        self.draining += u32::from(record.draining);
    }

    pub(super) fn subtract(&mut self, record: &Record, liveness: Liveness) {
        *self.of(liveness) -= 1;
        self.draining -= u32::from(record.draining);
    }

    pub(super) fn of(&mut self, liveness: Liveness) -> &mut u32 {
        match liveness {
            Liveness::Up => &mut self.up,
            Liveness::Unconfirmed => &mut self.unconfirmed,
            Liveness::Suspect(_) => &mut self.suspect,
        }
    }
}

/// A service as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSummary {
    pub name: ServiceName,
    /// Visible instances whose session is connected.
    pub up: u32,
    /// Visible instances whose session is not back since the node restarted.
    pub unconfirmed: u32,
    /// Visible instances whose session is lost.
    pub suspect: u32,
    /// Those of the three above that drain.
    pub draining: u32,
    /// Singletons that wait for a hand-over: 0 or 1.
    pub pending: u32,
    /// The version that has taken over, 0 when none has.
    pub floor: u64,
    /// The policy in force.
    pub cutover: Cutover,
    /// Who set the policy, when an operator did.
    pub cutover_author: Option<Label>,
    pub main: Option<InstanceId>,
}

/// The kinds that exclude each other in one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Cluster,
    Singleton,
}

impl Family {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Member | Kind::Main => Self::Cluster,
            Kind::Singleton => Self::Singleton,
        }
    }
}
