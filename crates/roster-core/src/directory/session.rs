//! What the directory keeps of a session, and what it shows of it.

use crate::words::{Grace, InstanceId, Label, Position, SecretHash, SessionId};

use super::Liveness;
use super::roll::Roll;

/// A session as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) secret: SecretHash,
    pub(super) grace: Grace,
    pub(super) client: Label,
    pub(super) attachment: Position,
    pub(super) liveness: Liveness,
    /// What it owns, pending ones included.
    pub(super) owned: Roll<InstanceId>,
}

impl Session {
    pub(super) fn summary(&self, session: SessionId) -> SessionSummary {
        SessionSummary {
            session,
            liveness: self.liveness,
            attachment: self.attachment,
            grace: self.grace,
            client: self.client.clone(),
            instances: self.owned.len(),
        }
    }
}

/// A session as others see it; never its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    pub session: SessionId,
    pub liveness: Liveness,
    /// The position at which its newest stream opened or resumed it.
    pub attachment: Position,
    /// How long it may be away.
    pub grace: Grace,
    /// What the client calls itself.
    pub client: Label,
    /// How many instances it owns, pending ones included.
    pub instances: usize,
}
