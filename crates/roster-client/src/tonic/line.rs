//! One HTTP/2 connection to one member.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use roster_core::directory::Instance;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use crate::cluster::{Connect, ConnectError};

/// An idle connection is asked for a sign of life this often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long that sign may take before the connection counts as broken.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to members over TCP, for a [`Cluster`](crate::Cluster) or a [`Follower`](crate::Follower) of
/// gRPC servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

/// A connection to a member, for any generated client: cheap to clone, and a tower service like a
/// [`Channel`](super::Channel) that leads nowhere else.
#[derive(Clone)]
pub struct Line {
    sender: SendRequest<Body>,
    origin: http::uri::Authority,
    /// Why it has ended.
    ended: watch::Receiver<Option<String>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Connect for Lines {
    type Client = Line;

    async fn connect(&self, instance: &Instance) -> Result<Line, ConnectError> {
        let address = &instance.registration.address;
        let origin = address.to_string().parse()?;
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .adaptive_window(true);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let (end, ended) = watch::channel(None);
        // Belongs to the line: it ends with the last sender and the last call, or when it breaks.
        tokio::spawn(async move {
            let why = match connection.await {
                Ok(()) => "the server has closed the connection".to_owned(),
                Err(error) => with_cause(&error),
            };
            end.send_replace(Some(why));
        });
        poll_fn(|context| sender.poll_ready(context)).await?;
        Ok(Line { sender, origin, ended })
    }

    fn is_closed(&self, client: &Line) -> bool {
        client.sender.is_closed()
    }

    async fn closed(&self, client: &Line) -> String {
        let mut ended = client.ended.clone();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|why| why.clone()).unwrap_or_else(|| "the connection has ended".to_owned())
    }
}

/// What has become of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of it has left: it can go to somebody else.
    Unsent(Box<http::Request<Body>>),
    /// It may have been carried out.
    Lost(Status),
}

impl Line {
    /// Sends one request. Its address becomes that of the member.
    pub(super) async fn send(&self, mut request: http::Request<Body>) -> Result<http::Response<Incoming>, Failure> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.origin.clone());
        parts.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
        match http::Uri::from_parts(parts) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Err(Failure::Lost(Status::internal(error.to_string()))),
        }
        // As the request is made anew from a clone of the sender, each call waits for itself alone.
        match self.sender.clone().try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Failure::Unsent(Box::new(request)),
                None => Failure::Lost(self.lost(error.into_error())),
            }),
        }
    }

    /// A status for what happened to a call that was under way.
    pub(super) fn lost(&self, error: hyper::Error) -> Status {
        let text = with_cause(&error);
        let status = Status::from_error(Box::new(error));
        // These are not the server's word, but what the connection itself came to.
        if matches!(status.code(), Code::Unknown | Code::Cancelled) {
            return Status::unavailable(format!("the connection to {} was lost: {text}", self.origin));
        }
        status
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Always: a call says by itself that the connection is closed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let line = self.clone();
        Box::pin(async move {
            match line.send(request).await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(failure) => Err(match failure {
                    Failure::Unsent(_) => Status::unavailable(format!("the connection to {} is closed", line.origin)),
                    Failure::Lost(status) => status,
                }),
            }
        })
    }
}

fn with_cause(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
