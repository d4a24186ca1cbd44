//! The accept loop: connections are taken, limited, served and drained here.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::admission::Admission;
use super::at_once::AtOnce;
use super::corked::corked;
use super::surfaces::Surfaces;
use super::{Desk, Place};

/// A connection must say something within this, or it is closed.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// RFC 9113 §3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface that comes in parts.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
/// A connection over which nothing comes is pinged this often, so that the streams of a vanished host end.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long connections may take to end when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors, say) the loop waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The header list of one request.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// The receive window of a stream.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The receive window of a connection. A publisher that waits for room in its queue leaves its stream's window
/// unread: that must not stop the other streams of the connection, a session's answers to pings among them.
const CONNECTION_WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;

#[derive(Debug)]
pub(crate) struct Accept {
    /// None: the node has no socket.
    pub(crate) listener: Option<TcpListener>,
    /// Connections from within the process.
    pub(crate) inside: mpsc::Receiver<DuplexStream>,
    pub(crate) surfaces: Surfaces,
    pub(crate) desk: Desk,
    pub(crate) stop: CancellationToken,
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// What each connection is served with.
struct Server {
    http: auto::Builder<AtOnce>,
    admission: Admission,
}

impl Server {
    fn new(surfaces: Surfaces, desk: &Desk) -> Self {
        let mut http = auto::Builder::new(AtOnce);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(desk.limits.streams_per_connection)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        http.http1().timer(TokioTimer::new()).header_read_timeout(FIRST_BYTE_TIMEOUT);
        Self { http, admission: Admission::new(surfaces, desk) }
    }

    /// One connection, from its first byte. It owns what it needs: whoever waits for it keeps nothing beside it.
    fn connection<S>(&self, stream: S, watcher: Watcher) -> impl Future<Output = Result<(), ConnectionError>> + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        corked(stream, |stream| {
            watcher.watch(self.http.serve_connection(TokioIo::new(stream), self.admission.clone()).into_owned())
        })
    }
}

fn note(ended: &Result<(), ConnectionError>, peer: &impl Display) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended with an error");
    }
}

/// Serves until `stop`; then waits for the connections to end, within bounds.
pub(crate) async fn serve(accept: Accept) {
    let Accept { listener, mut inside, surfaces, desk, stop } = accept;
    let server = Arc::new(Server::new(surfaces, &desk));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let max = desk.limits.connections;
    loop {
        tokio::select! {
            accepted = next(listener.as_ref()) => {
                let (stream, peer) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let Some(place) = Place::take(&desk.gauges, |gauges| &gauges.connections, max) else {
                    warn!(%peer, max, "a connection was closed: limits.connections is reached");
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (server, watcher) = (server.clone(), graceful.watcher());
                connections.spawn(async move {
                    let _place = place;
                    if says_something(&stream).await {
                        note(&server.connection(stream, watcher).await, &peer);
                    }
                });
            }
            Some(stream) = inside.recv() => {
                let Some(place) = Place::take(&desk.gauges, |gauges| &gauges.connections, max) else {
                    warn!(max, "a connection from within was closed: limits.connections is reached");
                    continue;
                };
                let (server, watcher) = (server.clone(), graceful.watcher());
                connections.spawn(async move {
                    let _place = place;
                    note(&server.connection(stream, watcher).await, &"the same process");
                });
            }
            () = stop.cancelled() => break,
        }
    }
    drop((listener, inside));
    connections.close();
    let drained = async {
        graceful.shutdown().await;
        connections.wait().await;
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        debug!("some connections did not end in time");
    }
}

/// The next connection from outside; never, without a socket.
async fn next(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Whether enough came to tell the version of HTTP. What tells them apart has no time limit of its own.
async fn says_something(stream: &TcpStream) -> bool {
    let telling = async {
        let mut first = [0; HTTP2_PREFACE.len()];
        loop {
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return false,
                Ok(read) if read == first.len() || !HTTP2_PREFACE.starts_with(&first[..read]) => return true,
                Ok(_) => tokio::time::sleep(PREFACE_PAUSE).await,
            }
        }
    };
    tokio::time::timeout(FIRST_BYTE_TIMEOUT, telling).await.unwrap_or(false)
}
