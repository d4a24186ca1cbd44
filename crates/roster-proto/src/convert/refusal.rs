//! Refusals: one table from the words of the core to the wire, to gRPC codes, and to advice.

use bytes::Bytes;
use prost::Message;
use roster_core::InvalidWord;
use roster_core::directory::Refusal;
use roster_core::queue;

use crate::v1;
use crate::v1::refusal::Code;

/// What the caller should do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The same again, now.
    RetryNow,
    /// The same again, after a pause that grows.
    RetryLater,
    /// Something else: the request itself is wrong.
    FixRequest,
    /// Nothing: it will not be.
    GiveUp,
}

impl From<Refusal> for v1::Refusal {
    fn from(refusal: Refusal) -> Self {
        let mut wire = Self { message: refusal.to_string(), ..Self::default() };
        let code = match refusal {
            Refusal::UnknownSession { session } => {
                wire.session_id = session.get();
                Code::UnknownSession
            }
            Refusal::SessionNotConnected { session } => {
                wire.session_id = session.get();
                Code::SessionNotConnected
            }
            Refusal::WrongSecret { session } => {
                wire.session_id = session.get();
                Code::Unauthorized
            }
            Refusal::NotOwner { owner, .. } => {
                wire.session_id = owner.get();
                Code::Unauthorized
            }
            Refusal::VersionTooLow { floor } => {
                wire.floor = floor;
                Code::VersionTooLow
            }
            Refusal::KindConflict { .. } => Code::KindConflict,
            Refusal::AddressInUse { session } => {
                wire.session_id = session.get();
                Code::AddressInUse
            }
            Refusal::LimitExceeded { limit, max } => {
                wire.limit = limit.to_owned();
                wire.limit_max = max;
                Code::LimitExceeded
            }
            Refusal::UnknownInstance { .. } => Code::UnknownInstance,
        };
        wire.set_code(code);
        wire
    }
}

impl From<queue::Refusal> for v1::Refusal {
    fn from(refusal: queue::Refusal) -> Self {
        let mut wire = Self { message: refusal.to_string(), ..Self::default() };
        let code = match refusal {
            queue::Refusal::UnknownQueue { .. } => Code::UnknownQueue,
            queue::Refusal::SettingsDiffer { .. } => Code::SettingsDiffer,
            queue::Refusal::Settings(_) => Code::InvalidArgument,
            queue::Refusal::QueueFull { max, .. } => {
                wire.limit_max = max;
                Code::QueueFull
            }
            queue::Refusal::MessageTooLarge { max, .. } => {
                wire.limit_max = max;
                Code::MessageTooLarge
            }
            queue::Refusal::SequenceGap { expected, .. } => {
                wire.expected_sequence = expected;
                Code::SequenceGap
            }
            queue::Refusal::LimitExceeded { limit, max } => {
                wire.limit = limit.to_owned();
                wire.limit_max = max;
                Code::LimitExceeded
            }
        };
        wire.set_code(code);
        wire
    }
}

/// A word that did not parse.
#[must_use]
pub fn invalid(word: InvalidWord) -> v1::Refusal {
    let code = match word.what {
        "service name" | "prefix" | "queue name" => Code::InvalidName,
        "address" => Code::InvalidAddress,
        _ => Code::InvalidArgument,
    };
    v1::Refusal { code: code.into(), message: word.to_string(), ..Default::default() }
}

/// The node cannot do it at this moment.
#[must_use]
pub fn unavailable(message: impl Into<String>) -> v1::Refusal {
    v1::Refusal { code: Code::Unavailable.into(), message: message.into(), ..Default::default() }
}

impl v1::Refusal {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self.code() {
            Code::InvalidName
            | Code::InvalidAddress
            | Code::InvalidKind
            | Code::InvalidArgument
            | Code::KindConflict
            | Code::UnknownInstance
            | Code::UnknownQueue
            | Code::SettingsDiffer
            | Code::SequenceGap
            | Code::MessageTooLarge => Advice::FixRequest,
            Code::VersionTooLow
            | Code::AddressInUse
            | Code::LimitExceeded
            | Code::ReadOnly
            | Code::Unavailable
            | Code::QueueFull => Advice::RetryLater,
            Code::SessionNotConnected => Advice::RetryNow,
            Code::UnknownSession | Code::Unauthorized | Code::Unspecified => Advice::GiveUp,
        }
    }
}

/// The gRPC status of a refused unary call; the refusal itself travels in its details.
#[must_use]
pub fn status_of(refusal: &v1::Refusal) -> tonic::Status {
    let code = match refusal.code() {
        Code::InvalidName
        | Code::InvalidAddress
        | Code::InvalidKind
        | Code::InvalidArgument
        | Code::MessageTooLarge => tonic::Code::InvalidArgument,
        Code::UnknownSession | Code::UnknownInstance | Code::UnknownQueue => tonic::Code::NotFound,
        Code::SessionNotConnected | Code::VersionTooLow | Code::KindConflict | Code::SequenceGap => {
            tonic::Code::FailedPrecondition
        }
        Code::AddressInUse | Code::SettingsDiffer => tonic::Code::AlreadyExists,
        Code::LimitExceeded | Code::QueueFull => tonic::Code::ResourceExhausted,
        Code::Unauthorized => tonic::Code::PermissionDenied,
        Code::ReadOnly | Code::Unavailable => tonic::Code::Unavailable,
        Code::Unspecified => tonic::Code::Unknown,
    };
    tonic::Status::with_details(code, refusal.message.clone(), Bytes::from(refusal.encode_to_vec()))
}

impl v1::Refusal {
    /// The refusal in the details of a status, if it carries one.
    #[must_use]
    pub fn of_status(status: &tonic::Status) -> Option<Self> {
        if status.details().is_empty() { None } else { Self::decode(status.details()).ok() }
    }
}
