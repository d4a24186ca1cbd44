//! What can go wrong between a caller and the registry, and what to do about it.

use std::time::Duration;

use roster_core::InvalidWord;
use roster_proto::convert::Advice;
use roster_proto::v1::Refusal;

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name, an address or a fact that no registry would take.
    #[error(transparent)]
    InvalidWord(#[from] InvalidWord),
    /// The client was built without an address.
    #[error("no endpoint is given; name at least one, such as http://127.0.0.1:7400")]
    NoEndpoint,
    /// The text is no address of a node.
    #[error("endpoint {url:?} is not valid: {why}; write it like http://127.0.0.1:7400")]
    InvalidEndpoint { url: String, why: String },
    /// The node understood, and said no.
    #[error("{call} was refused by {endpoint}: {}", refusal.message)]
    Refused { call: &'static str, endpoint: String, refusal: Box<Refusal> },
    /// No address could be reached. The source is what the last one met.
    #[error("cannot reach a node at {endpoints}; check that one runs there")]
    Unreachable { call: &'static str, endpoints: String, source: Box<tonic::Status> },
    /// Reached or not, nothing was answered in time.
    #[error("{call} was not answered within {deadline:?} by {endpoint}; whether it was done is not known")]
    TimedOut { call: &'static str, endpoint: String, deadline: Duration },
    /// The node failed, or does not know the call.
    #[error("{call} failed at {endpoint}")]
    Failed { call: &'static str, endpoint: String, source: Box<tonic::Status> },
    /// The answer makes no sense to this version of the SDK.
    #[error("{endpoint} answered {call} with what this client does not understand: {why}")]
    Unintelligible { call: &'static str, endpoint: String, why: String },
    /// The value cannot be made a message.
    #[error("the value cannot be encoded as {format}")]
    NotEncoded { format: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// No member of the cluster can be used.
    #[error(transparent)]
    NoMember(Box<crate::cluster::NoneUsable>),
    /// The producer or the consumer has ended.
    #[error("the {what} has ended: {why}")]
    Closed { what: String, why: String },
    /// The registration, or the registrar behind it, has ended.
    #[error("the registration has ended: {why}")]
    Ended { why: String },
    /// The registrar went without the node's farewell; the session ends after its grace instead.
    #[error("no node said farewell: {why}; the session ends after its grace")]
    NoFarewell { why: String },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::InvalidWord(_) | Self::NoEndpoint | Self::InvalidEndpoint { .. } | Self::NotEncoded { .. } => {
                Advice::FixRequest
            }
            Self::Refused { refusal, .. } => refusal.advice(),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::NoMember(_) => Advice::RetryLater,
            Self::Failed { source, .. } => match source.code() {
                tonic::Code::Unavailable
                | tonic::Code::Aborted
                | tonic::Code::Cancelled
                | tonic::Code::DeadlineExceeded
                | tonic::Code::ResourceExhausted => Advice::RetryLater,
                tonic::Code::InvalidArgument | tonic::Code::NotFound | tonic::Code::FailedPrecondition => {
                    Advice::FixRequest
                }
                tonic::Code::Ok
                | tonic::Code::Unknown
                | tonic::Code::AlreadyExists
                | tonic::Code::PermissionDenied
                | tonic::Code::OutOfRange
                | tonic::Code::Unimplemented
                | tonic::Code::Internal
                | tonic::Code::DataLoss
                | tonic::Code::Unauthenticated => Advice::GiveUp,
            },
            Self::Unintelligible { .. } | Self::Closed { .. } | Self::Ended { .. } | Self::NoFarewell { .. } => {
                Advice::GiveUp
            }
        }
    }
}
