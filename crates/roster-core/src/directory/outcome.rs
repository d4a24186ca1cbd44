//! How a command ended.

use crate::words::{InstanceId, Kind, Position, SessionId, Token};

/// How a command ended. The same on every node and at every replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing to tell but the position of the command.
    Done,
    /// A session was opened; the command's position is its attachment.
    Opened { session: SessionId },
    /// A session was resumed; the command's position is its attachment.
    Resumed { session: SessionId },
    /// Registered and visible. `changed` is the position of what this registration changed last:
    /// the command's own, or an earlier one when the command repeated what was there.
    Active { instance: InstanceId, changed: Position, token: Option<Token> },
    /// Registered, waiting for `ahead` to leave.
    Pending { instance: InstanceId, ahead: InstanceId },
    /// Too late to mean anything: about an older stream, or a session or hand-over that is gone.
    Stale,
    /// Nothing changed, because of a rule.
    Refused(Refusal),
}

/// Why nothing changed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("session {session} is not known; open a new one")]
    UnknownSession { session: SessionId },
    #[error("the secret does not open session {session}; open a new one")]
    WrongSecret { session: SessionId },
    #[error("session {session} has no stream; resume it first")]
    SessionNotConnected { session: SessionId },
    #[error("version {floor} takes over this service; register version {floor} or higher, or stop it first")]
    VersionTooLow { floor: u64 },
    #[error("the service has instances of kind {existing:?}; singletons do not mix with other kinds")]
    KindConflict { existing: Kind },
    #[error("session {session} has registered this address and is alive; stop it first")]
    AddressInUse { session: SessionId },
    #[error("{limit} is limited to {max}; remove some first")]
    LimitExceeded { limit: &'static str, max: u64 },
    #[error("instance {instance} is not known; it may be gone already")]
    UnknownInstance { instance: InstanceId },
    #[error("instance {instance} belongs to session {owner}; only its owner may do that")]
    NotOwner { instance: InstanceId, owner: SessionId },
}
