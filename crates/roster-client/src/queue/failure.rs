//! What made a stream end or a message fail, once for all whom it concerns.

use std::sync::Arc;
use std::time::Duration;

use roster_proto::v1::Refusal;

use crate::error::Error;

/// A cause that many may share; each of them gets an [`Error`] of its own.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The node, or the queue's settings, said no.
    Refused { call: &'static str, endpoint: Arc<str>, refusal: Arc<Refusal> },
    /// Not answered in time.
    TimedOut { call: &'static str, endpoint: Arc<str>, deadline: Duration },
    /// Nobody tries any more.
    Ended { what: Arc<str>, why: Arc<str> },
}

impl Failure {
    pub(super) fn error(&self) -> Error {
        match self {
            Self::Refused { call, endpoint, refusal } => {
                Error::Refused { call, endpoint: endpoint.to_string(), refusal: Box::new(refusal.as_ref().clone()) }
            }
            Self::TimedOut { call, endpoint, deadline } => {
                Error::TimedOut { call, endpoint: endpoint.to_string(), deadline: *deadline }
            }
            Self::Ended { what, why } => Error::Closed { what: what.to_string(), why: why.to_string() },
        }
    }

    /// For a [`Link`](super::Link).
    pub(super) fn why(&self) -> String {
        match self {
            Self::Refused { refusal, .. } => refusal.message.clone(),
            Self::TimedOut { .. } => self.error().to_string(),
            Self::Ended { why, .. } => why.to_string(),
        }
    }
}
