//! What an applied command tells: events to whoever watches a service, notices to whoever owns an instance.

use std::sync::Arc;

use crate::words::{InstanceId, Position, Registration, ServiceName, SessionId, Timestamp, Token};

/// An instance as it stands. Cheap to clone: what it says about itself is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: InstanceId,
    pub registration: Arc<Registration>,
    pub session: SessionId,
    pub liveness: Liveness,
    pub draining: bool,
    /// A singleton that waits for the hand-over; watchers do not see it.
    pub pending: bool,
    /// Of a singleton that holds its name.
    pub token: Option<Token>,
    /// When it was registered.
    pub registered: Timestamp,
    /// The position of the command that last changed it: its registration, facts, draining or
    /// promotion. What becomes of its session changes the session only.
    pub changed: Position,
}

/// What is known of the session behind an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// Connected.
    Up,
    /// Restored by a restart of the node, not back yet.
    Unconfirmed,
    /// Lost; removed when the grace ends.
    Suspect(SuspectReason),
}

/// Why a session is suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuspectReason {
    /// Its stream ended without a goodbye.
    StreamClosed,
    /// It did not answer a ping in time.
    PingTimeout,
    /// Somebody could not reach it, and it did not answer the probe.
    CheckFailed,
}

/// Why an instance is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemovedCause {
    /// It or its session said goodbye.
    Logout,
    /// Its session was lost and did not come back within its grace.
    LostContact,
    /// A higher version or another singleton took over.
    Superseded,
    /// An operator removed it.
    Evicted,
}

/// A change that watchers see. Those of one command are delivered together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// New, or known and up again. In the state that follows a reset, and when a waiting singleton is
    /// promoted, its liveness may be any: it says what it is.
    Up(Instance),
    /// Its session is lost.
    Suspect { service: ServiceName, instance: InstanceId, reason: SuspectReason },
    /// Its facts changed.
    Changed(Instance),
    /// New work should avoid it.
    Draining { service: ServiceName, instance: InstanceId },
    /// Another instance, or none, is the main now.
    MainChanged { service: ServiceName, main: Option<InstanceId> },
    /// The same place was registered anew.
    Replaced { old: InstanceId, new: Instance },
    /// Gone.
    Removed { service: ServiceName, instance: InstanceId, cause: RemovedCause },
}

impl Event {
    /// The service that it is about.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Up(instance) | Self::Changed(instance) | Self::Replaced { new: instance, .. } => {
                &instance.registration.service
            }
            Self::Suspect { service, .. }
            | Self::Draining { service, .. }
            | Self::MainChanged { service, .. }
            | Self::Removed { service, .. } => service,
        }
    }
}

/// What the owner of an instance is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Leave. `deadline_millis` is how long until it is removed; 0 when it already is, and for one that
    /// an operator drains, which nobody removes: as soon as it can.
    Offline { session: SessionId, instance: InstanceId, reason: OfflineReason, deadline_millis: u32 },
    /// The pending singleton holds the name now.
    Promoted { session: SessionId, instance: InstanceId, token: Token },
}

impl Notice {
    /// To whom.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match self {
            Self::Offline { session, .. } | Self::Promoted { session, .. } => *session,
        }
    }

    /// About which of its instances.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        match self {
            Self::Offline { instance, .. } | Self::Promoted { instance, .. } => *instance,
        }
    }
}

/// Why an instance should leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfflineReason {
    /// A higher version took over; already removed.
    Superseded,
    /// Another instance waits for the singleton, or has taken it over.
    Handover,
    /// A further newcomer took its pending place; already removed.
    Displaced,
    /// The same place was registered anew by another session; already removed.
    Replaced,
    /// An operator drains it.
    Drained,
}

/// What one command tells. The caller empties and reuses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// In the order in which watchers take them in.
    pub events: Vec<Event>,
    pub notices: Vec<Notice>,
    /// The services in which something changed that watchers do not see: one that waits came, changed or
    /// went. With those of the events they are all that read otherwise than before (D13).
    pub unseen: Vec<ServiceName>,
}

impl Effects {
    /// The services that read otherwise than before (D13); some of them more than once.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        // The events of one service stand together.
        let seen = self.events.chunk_by(|one, next| one.service() == next.service()).map(|chunk| chunk[0].service());
        seen.chain(&self.unseen)
    }
}
