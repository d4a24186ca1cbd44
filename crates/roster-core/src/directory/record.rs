//! An instance as it is kept.

use std::sync::Arc;

use crate::words::{Handover, InstanceId, Kind, Position, Registration, SessionId, Timestamp, Token};

use super::service::ServiceNumber;
use super::{Instance, Liveness};

/// An instance as it is kept. Its liveness is that of its session, kept once there.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) registration: Arc<Registration>,
    pub(super) session: SessionId,
    pub(super) service: ServiceNumber,
    /// Orders it among its kind: the id of the first of a chain of replacements.
    pub(super) place: u64,
    pub(super) seat: Seat,
    pub(super) draining: bool,
    pub(super) registered: Timestamp,
    pub(super) changed: Position,
}

/// What an instance is to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// A member or a main.
    Listed,
    /// The singleton.
    Holder(Token),
    /// A singleton that waits; watchers do not see it.
    Pending(Handover),
}

impl Record {
    pub(super) fn is_visible(&self) -> bool {
        match self.seat {
            Seat::Listed | Seat::Holder(_) => true,
            Seat::Pending(_) => false,
        }
    }

    pub(super) fn token(&self) -> Option<Token> {
        match self.seat {
            Seat::Holder(token) => Some(token),
            Seat::Listed | Seat::Pending(_) => None,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        Rank::new(self.registration.kind, self.place)
    }

    pub(super) fn instance(&self, id: InstanceId, liveness: Liveness) -> Instance {
        Instance {
            id,
            registration: Arc::clone(&self.registration),
            session: self.session,
            liveness,
            draining: self.draining,
            pending: !self.is_visible(),
            token: self.token(),
            registered: self.registered,
            changed: self.changed,
        }
    }
}

/// Orders the visible instances of a service: members by place, and above them mains by place.
/// So the main is the last when that is a main, else the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    /// The bit above every place: positions stay below it (D10).
    pub(super) const MAIN: u64 = 1 << 63;

    fn new(kind: Kind, place: u64) -> Self {
        debug_assert!(place < Self::MAIN, "D10: place {place} is beyond every position");
        match kind {
            Kind::Member | Kind::Singleton => Self(place),
            Kind::Main => Self(place | Self::MAIN),
        }
    }

    /// Whether the instance of this rank is the main rather than that of the other.
    pub(super) fn leads(self, other: Self) -> bool {
        match (self.is_main(), other.is_main()) {
            (true, true) => self > other,
            (false, false) => self < other,
            (own, _) => own,
        }
    }

    fn is_main(self) -> bool {
        self.0 >= Self::MAIN
    }
}
