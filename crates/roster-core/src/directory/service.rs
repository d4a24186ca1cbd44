//! What the directory keeps of a service, and what it shows of it.

use crate::words::{Cutover, InstanceId, Kind, Label, ServiceName};

use super::Liveness;
use super::record::Rank;

/// Names a service inside the tables, so that no index repeats its name. Never stored, never shown,
/// never an order of anything that is: a restored directory numbers its services anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceNumber(pub(super) u64);

/// A service as it is kept. Which instances stand behind it stands in the tables.
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
        }
    }

    /// Whether no instance is left, neither visible nor waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.lead.is_none() && self.pending.is_none()
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
