//! One registration as the registrar keeps it.

use std::time::Instant;

use roster_core::directory::{Instance, OfflineReason};
use roster_core::{Address, InstanceId, Kind, Registration, ServiceName};

use super::state::State;
use crate::announcement::Announcement;

/// The name of an entry towards its handle; never given out twice by one registrar.
pub(super) type Key = u64;

/// What no two instances share at a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    service: ServiceName,
    address: Address,
    node_index: u32,
}

impl From<&Registration> for Place {
    fn from(registration: &Registration) -> Self {
        Self {
            service: registration.service.clone(),
            address: registration.address.clone(),
            node_index: registration.node_index,
        }
    }
}

/// What its owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Desire {
    Registered,
    Gone,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) announcement: Announcement,
    /// Grows with each update.
    pub(super) generation: u64,
    /// The generation that was last answered.
    pub(super) answered: u64,
    pub(super) desire: Desire,
    /// What the node calls it, when it has it.
    pub(super) instance: Option<InstanceId>,
    /// The node told it to leave.
    pub(super) offline: Option<(OfflineReason, Instant)>,
    /// Stands in the queue of what is to be asked.
    pub(super) queued: bool,
    /// Asked for, and the answer has not come.
    pub(super) under_way: bool,
    /// When to ask again after a refusal.
    pub(super) retry: Option<Instant>,
    /// Refusals in a row.
    pub(super) refusals: u32,
    pub(super) state: State,
}

impl Entry {
    pub(super) fn new(announcement: Announcement) -> Self {
        Self {
            announcement,
            generation: 1,
            answered: 0,
            desire: Desire::Registered,
            instance: None,
            offline: None,
            queued: false,
            under_way: false,
            retry: None,
            refusals: 0,
            state: State::Waiting,
        }
    }

    /// Whether the node has exactly what is wanted, so that asking again would only fill its log. What
    /// it did not answer may have brought a policy that the instance does not show, and is asked for
    /// again; but not a singleton, whose successor that could depose (R5).
    pub(super) fn is_confirmed_by(&self, instance: &Instance) -> bool {
        let registration = self.announcement.registration();
        let settled = self.answered == self.generation || registration.kind == Kind::Singleton;
        self.is_wanted() && settled && !instance.pending && *instance.registration == *registration
    }

    pub(super) fn place(&self) -> Place {
        Place::from(self.announcement.registration())
    }

    /// Whether the node shall have it, also when it has lost it.
    pub(super) fn is_wanted(&self) -> bool {
        self.desire == Desire::Registered && self.offline.is_none()
    }
}
