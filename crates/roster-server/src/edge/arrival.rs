//! Whether the request of a call has come whole: a body that tells it to whoever waits for the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::Request;
use hyper::body::{Body, Frame, SizeHint};

/// A body that is on its way in.
#[derive(Debug)]
pub(crate) struct Arriving<B> {
    body: B,
    /// None: nobody asks.
    arrival: Option<Arrival>,
}

/// Of the request of one call.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrival(Arc<AtomicBool>);

impl Arrival {
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<B> Arriving<B> {
    /// A request whose arrival nobody waits for.
    pub(super) fn unseen(request: Request<B>) -> Request<Self> {
        request.map(|body| Self { body, arrival: None })
    }

    pub(super) fn seen(request: Request<B>) -> (Request<Self>, Arrival) {
        let arrival = Arrival::default();
        let seen = arrival.clone();
        (request.map(|body| Self { body, arrival: Some(seen) }), arrival)
    }
}

impl<B> Drop for Arriving<B> {
    /// Whoever reads it has all that it wants, or gave up: before it is called, as a call has one message.
    fn drop(&mut self) {
        if let Some(Arrival(is_over)) = &self.arrival {
            is_over.store(true, Ordering::Release);
        }
    }
}

impl<B: Body + Unpin> Body for Arriving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use roster_proto::codec::SmallBuffers;
    use tonic::codegen::BoxFuture;
    use tonic::server::{Grpc, UnaryService};
    use tonic::{Response, Status};

    use super::*;

    struct Asked(Arrival);

    impl UnaryService<()> for Asked {
        type Response = ();
        type Future = BoxFuture<Response<()>, Status>;

        fn call(&mut self, _request: tonic::Request<()>) -> Self::Future {
            assert!(self.0.is_over(), "it has come whole");
            Box::pin(async { Ok(Response::new(())) })
        }
    }

    #[tokio::test]
    async fn a_request_has_arrived_when_its_call_is_asked() {
        let frame_of_nothing = "\0".repeat(5);
        let (request, arrival) = Arriving::seen(Request::new(frame_of_nothing));
        assert!(!arrival.is_over());
        let answer = Grpc::new(SmallBuffers::<(), ()>::default()).unary(Asked(arrival), request).await;
        assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
    }
}
