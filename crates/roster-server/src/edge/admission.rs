//! Admission: of the calls that are asked and answered once so many are under way at a time, and more are refused
//! before they are read. Refusing is cheap; a call that waits behind thousands is answered when its caller is gone.
//!
//! Whoever asks for a sign of life, or how the node is doing, is counted apart: a storm of reads does not
//! keep them out. So is what takes as long as the logs take. Streams have limits of their own.
//!
//! A place is taken before the request is read, so that refusing is cheap. So a request must come soon: or half
//! requests, which cost their caller nothing, would keep everybody else out.

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

use super::arrival::{Arrival, Arriving};
use super::surfaces::Surfaces;
use super::{Desk, Gauges, Place, too_many};

/// Calls of operators at a time.
const ADMIN_CALLS_MAX: usize = 64;
/// Calls of one kind at a time that may take as long as the logs take.
const LONG_CALLS_MAX: usize = 8;
/// A call whose request has not come whole within this is given up …
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// … and one that is not answered within this, but for a long one.
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
    /// As long as the logs take.
    Rebuild,
    /// The same, and anybody may ask for it: it must not keep an operator from the other.
    Requeue,
}

impl Kind {
    /// None: a stream, or what needs neither the director nor the broker.
    fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix("/roster.v1.")?.split_once('/')?;
        match (service, method) {
            ("Registry", "Session" | "Watch") | ("Queues", "PublishStream" | "Consume") => None,
            ("Registry", "Check") => Some(Self::Check),
            ("Admin", "Rebuild") => Some(Self::Rebuild),
            ("Queues", "RequeueDead") => Some(Self::Requeue),
            // A storm of reads does not keep out whoever is to end it.
            ("Registry", "Drain" | "SetCutover") | ("Admin", _) => Some(Self::Admin),
            ("Registry" | "Queues", _) => Some(Self::Call),
            (_, _) => None,
        }
    }

    fn patience(self) -> Patience {
        let answer = match self {
            Self::Call | Self::Check | Self::Admin => Some(CALL_TIMEOUT.saturating_sub(REQUEST_TIMEOUT)),
            Self::Rebuild | Self::Requeue => None,
        };
        Patience { request: REQUEST_TIMEOUT, answer }
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until its request has come whole.
    request: Duration,
    /// And from then on until it is answered.
    answer: Option<Duration>,
}

impl Patience {
    async fn wait<T>(self, arrival: Arrival, answer: impl Future<Output = T>) -> Result<T, Status> {
        let mut answer = std::pin::pin!(answer);
        if let Ok(answer) = tokio::time::timeout(self.request, &mut answer).await {
            return Ok(answer);
        }
        if !arrival.is_over() {
            let message = format!("the request did not come whole within {:?}", self.request);
            return Err(Status::deadline_exceeded(message));
        }
        let Some(left) = self.answer else { return Ok(answer.await) };
        let late = |_| Status::deadline_exceeded("the call took too long; try again later");
        tokio::time::timeout(left, answer).await.map_err(late)
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
            Kind::Rebuild => (|gauges| &gauges.rebuilds, "rebuilds at a time", LONG_CALLS_MAX),
            Kind::Requeue => (|gauges| &gauges.requeues, "requeues at a time", LONG_CALLS_MAX),
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
        let Some(kind) = Kind::of(request.uri().path()) else { return self.surfaces.call(Arriving::unseen(request)) };
        let admitted = self.admit(kind).map(|place| {
            let (request, arrival) = Arriving::seen(request);
            (place, arrival, self.surfaces.call(request))
        });
        Box::pin(async move {
            let (_place, arrival, answer) = match admitted {
                Ok(admitted) => admitted,
                Err(status) => return Ok(status.into_http()),
            };
            kind.patience().wait(arrival, answer).await.unwrap_or_else(|status| Ok(status.into_http()))
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
        assert_eq!(Kind::of("/roster.v1.Queues/RequeueDead"), Some(Kind::Requeue));
    }

    #[tokio::test]
    async fn a_request_that_does_not_come_soon_ends_its_call_and_one_that_came_may_take_longer() {
        let patience = Patience { request: Duration::ZERO, answer: None };
        let (request, arrival) = Arriving::seen(Request::new(()));
        let half = patience.wait(arrival.clone(), std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(half.code(), tonic::Code::DeadlineExceeded);
        drop(request);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            7
        };
        assert_eq!(patience.wait(arrival.clone(), slow).await.unwrap(), 7);
        let short = Patience { request: Duration::ZERO, answer: Some(Duration::ZERO) };
        let late = short.wait(arrival, std::future::pending::<()>()).await.unwrap_err();
        assert!(late.message().contains("too long"), "{late:?}");
    }
}
