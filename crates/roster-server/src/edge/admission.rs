//! Admission: of the calls that are asked and answered once so many are under way at a time, and more are refused
//! before they are read. Refusing is cheap; a call that waits behind thousands is answered when its caller is gone.
//!
//! Whoever asks for a sign of life, or how the node is doing, is counted apart: a storm of reads does not
//! keep them out. Streams have limits of their own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;

use super::surfaces::Surfaces;
use super::{Desk, Gauges, Place, too_many};

/// Calls of operators at a time.
const ADMIN_CALLS_MAX: usize = 64;
/// A call whose request has not come whole, or that is not answered, within this is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Lets calls in.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    surfaces: Surfaces,
    gauges: Arc<Gauges>,
    calls_max: usize,
}

/// Calls that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reads, and changes by one command.
    Call,
    Check,
    Admin,
}

impl Kind {
    /// None: a stream, or what needs neither the director nor the broker.
    fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix("/roster.v1.")?.split_once('/')?;
        match (service, method) {
            ("Registry", "Session" | "Watch") | ("Queues", "PublishStream" | "Consume") => None,
            ("Registry", "Check") => Some(Self::Check),
            // As long as the logs take.
            ("Admin", "Rebuild") | ("Queues", "RequeueDead") => None,
            // A storm of reads does not keep out whoever is to end it.
            ("Registry", "Drain" | "SetCutover") | ("Admin", _) => Some(Self::Admin),
            ("Registry" | "Queues", _) => Some(Self::Call),
            (_, _) => None,
        }
    }
}

impl Admission {
    pub(super) fn new(surfaces: Surfaces, desk: &Desk) -> Self {
        Self { surfaces, gauges: desk.gauges.clone(), calls_max: desk.limits.calls }
    }

    fn admit(&self, kind: Kind) -> Result<Place, Status> {
        let (of, what, max): (fn(&Gauges) -> &AtomicUsize, _, _) = match kind {
            Kind::Call => (|gauges| &gauges.calls, "calls at a time (limits.calls)", self.calls_max),
            Kind::Check => (|gauges| &gauges.checks, "checks at a time (limits.calls)", self.calls_max),
            Kind::Admin => (|gauges| &gauges.admin_calls, "calls of operators at a time", ADMIN_CALLS_MAX),
        };
        Place::take(&self.gauges, of, max).ok_or_else(|| {
            self.gauges.refused_calls.fetch_add(1, Ordering::Relaxed);
            too_many(what, max)
        })
    }
}

impl Service<Request<Incoming>> for Admission {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(kind) = Kind::of(request.uri().path()) else { return self.surfaces.call(request) };
        let admitted = self.admit(kind).map(|place| (place, self.surfaces.call(request)));
        Box::pin(async move {
            let (_place, answer) = match admitted {
                Ok(admitted) => admitted,
                Err(status) => return Ok(status.into_http()),
            };
            match tokio::time::timeout(CALL_TIMEOUT, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(Status::deadline_exceeded("the call took too long; try again later").into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_not_counted_as_calls_and_signs_of_life_are_counted_apart() {
        assert_eq!(Kind::of("/roster.v1.Registry/Session"), None);
        assert_eq!(Kind::of("/roster.v1.Registry/Watch"), None);
        assert_eq!(Kind::of("/roster.v1.Queues/PublishStream"), None);
        assert_eq!(Kind::of("/grpc.health.v1.Health/Check"), None);
        assert_eq!(Kind::of("/roster.v1.Registry/ListInstances"), Some(Kind::Call));
        assert_eq!(Kind::of("/roster.v1.Queues/Publish"), Some(Kind::Call));
        assert_eq!(Kind::of("/roster.v1.Registry/Check"), Some(Kind::Check));
        assert_eq!(Kind::of("/roster.v1.Admin/GetStatus"), Some(Kind::Admin));
        assert_eq!(Kind::of("/roster.v1.Registry/Drain"), Some(Kind::Admin));
        assert_eq!(Kind::of("/roster.v1.Queues/RequeueDead"), None);
    }
}
