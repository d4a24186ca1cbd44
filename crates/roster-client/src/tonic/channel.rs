//! A channel that leads to a service rather than to an address.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use prost::bytes::Bytes;
use roster_core::{InvalidWord, Token};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::line::{Failure, Lines};
use super::span;
use crate::client::Client;
use crate::cluster::{Cluster, Picked, RoundRobin};
use crate::follower::Follower;

/// How long a call waits for somebody who can be called.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(5);
/// So many times a request that has not left goes to another member.
const ATTEMPTS_MAX: u32 = 8;

/// A channel to all instances of a service, for any generated client. Calls go to its members in turn;
/// for another picker make the cluster with [`Lines`] and turn it into a channel.
///
/// # Errors
/// [`InvalidWord`] when this is not the name of a service.
pub fn channel(client: &Client, service: &str) -> Result<Channel, InvalidWord> {
    Ok(client.cluster(service, Lines)?.picker(RoundRobin::new().starting_at(fastrand::f64())).build().into())
}

/// A channel to the main of a service: for singletons.
///
/// # Errors
/// [`InvalidWord`] when this is not the name of a service.
pub fn follow(client: &Client, service: &str) -> Result<Channel, InvalidWord> {
    Ok(client.follower(service, Lines)?.build().into())
}

/// A channel that finds who is to be called by a service's name. Cheap to clone.
///
/// It follows joins and leaves by itself from the first call on. A call for which there is nobody waits
/// (5 s by default, or until its own deadline) and then fails with `UNAVAILABLE` and the reason. A
/// request that met a closing connection and of which nothing was sent goes to another member.
#[derive(Debug, Clone)]
pub struct Channel {
    cluster: Cluster<Lines>,
    patience: Duration,
}

impl From<Cluster<Lines>> for Channel {
    fn from(cluster: Cluster<Lines>) -> Self {
        Self { cluster, patience: PATIENCE_DEFAULT }
    }
}

impl From<Follower<Lines>> for Channel {
    fn from(follower: Follower<Lines>) -> Self {
        let patience = follower.patience();
        Self { cluster: follower.into_cluster(), patience }
    }
}

impl Channel {
    /// How long a call waits for somebody who can be called.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Those whom it knows.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<Lines> {
        &self.cluster
    }

    /// The fencing token of the singleton that holds the name.
    ///
    /// # Panics
    /// Outside of a tokio runtime, when nothing was called before.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.cluster.main()?.token
    }

    /// Ends its watch and its connections, and waits until that is done; see [`Cluster::close`].
    pub async fn close(self) {
        self.cluster.close().await;
    }

    async fn send(self, mut request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let until = Instant::now() + self.patience;
        for _ in 0..ATTEMPTS_MAX {
            let left = until.saturating_duration_since(Instant::now());
            let picked = self.cluster.get_or_wait(left).await;
            let picked = picked.map_err(|none| Status::unavailable(none.to_string()))?;
            match picked.send(request).await {
                Ok(response) => return Ok(response.map(|body| Body::new(Answer { body, picked }))),
                Err(Failure::Unsent(back)) => {
                    self.cluster.report_broken(&picked, "it takes no more requests");
                    request = *back;
                }
                Err(Failure::Lost(status)) => {
                    if picked.is_closed() {
                        self.cluster.report_broken(&picked, status.message());
                    }
                    return Err(status);
                }
            }
        }
        Err(Status::unavailable(format!("{ATTEMPTS_MAX} connections to {} took no request", self.cluster.service())))
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Always: a call waits by itself.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let span = span::of(request.headers());
        let sending = self.clone().send(request);
        Box::pin(async move {
            let Some(span) = span else { return sending.await };
            let late = |_| Err(Status::deadline_exceeded(format!("no answer within {span:?}")));
            tokio::time::timeout(span, sending).await.unwrap_or_else(late)
        })
    }
}

/// The body of an answer; as long as it is read, the call counts as under way.
struct Answer {
    body: Incoming,
    picked: Picked<Lines>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| self.picked.lost(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
