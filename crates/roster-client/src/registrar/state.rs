//! What a caller can see of a registration and of the session behind it.

use std::sync::Arc;
use std::time::Instant;

use roster_core::directory::OfflineReason;
use roster_core::{InstanceId, Position, SessionId, Token};
use roster_proto::v1::{self, Refusal};

/// Where a registration stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not answered yet, or the node is away; it goes on by itself.
    Waiting,
    /// Registered and visible.
    Active {
        instance: InstanceId,
        /// Of what this registration changed last.
        position: Position,
        /// The fencing token of a singleton.
        token: Option<Token>,
    },
    /// A singleton that waits for `ahead` to leave.
    Pending { instance: InstanceId, ahead: InstanceId },
    /// The node said no. When the refusal's advice is to retry, that is done in the background; what
    /// was registered before an update that is refused still stands.
    Refused(Refusal),
    /// Leave: finish what is under way, then deregister. It is not registered again by itself.
    Offline {
        reason: OfflineReason,
        /// When the node removes it; past when it already has.
        deadline: Instant,
    },
    /// Deregistered, or its registrar has ended.
    Ended,
}

/// How many of the watchers of an instance have taken in that it drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainProgress {
    /// Those who have.
    pub seen: u32,
    /// Those there are.
    pub watchers: u32,
    /// Nothing more follows: all have, or the deadline has passed.
    pub finished: bool,
}

impl DrainProgress {
    pub(crate) fn of(wire: &v1::DrainProgress) -> Self {
        Self { seen: wire.seen, watchers: wire.watchers, finished: wire.finished }
    }
}

/// The session of a registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Never connected so far.
    Connecting,
    /// The session stands.
    Connected { session: SessionId, endpoint: Arc<str> },
    /// Lost; it is being tried again.
    Away { since: Instant, why: String },
    /// It will not come back.
    Ended { why: String },
}

/// How far the node has followed one entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) state: State,
    /// The generation of the announcement that was last answered.
    pub(super) answered: u64,
}

/// How far a drain is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DrainStanding {
    Asked,
    Progress(DrainProgress),
    Refused(Refusal),
}

pub(super) fn parse_reason(wire: v1::offline::Reason) -> OfflineReason {
    match wire {
        v1::offline::Reason::Superseded => OfflineReason::Superseded,
        v1::offline::Reason::Handover => OfflineReason::Handover,
        v1::offline::Reason::Displaced => OfflineReason::Displaced,
        v1::offline::Reason::Replaced => OfflineReason::Replaced,
        // A newer node may know more reasons; each of them means leave.
        v1::offline::Reason::Drained | v1::offline::Reason::Unspecified => OfflineReason::Drained,
    }
}
