//! A gRPC server that does nothing: it answers a call with as many bytes as were asked for, a batch on a
//! stream with a short answer to each of its items, and a push with one message on every watch stream.

use std::convert::Infallible;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::wire::{Batch, ECHO, READ, WATCH};

/// The answer to one item: a number and what became of it.
const RESULT_BYTES: usize = 12;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Pushes that a stream may lag behind.
const PUSHES_WAITING: usize = 1_024;

/// The server in a process of its own; it ends when this is dropped, and with this process.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    pid: u32,
    pub(super) address: String,
}

impl Child {
    /// # Errors
    /// When it does not say where it serves.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.arg("floor-server").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("start the server that does nothing")?;
        let (Some(pid), Some(said)) = (process.id(), process.stdout.take()) else {
            bail!("the server that does nothing ended")
        };
        let mut address = String::new();
        BufReader::new(said).read_line(&mut address).await.context("hear the server")?;
        Ok(Self { process, pid, address: address.trim().to_owned() })
    }

    pub(super) fn pid(&self) -> u32 {
        debug_assert!(self.process.id().is_none_or(|pid| pid == self.pid));
        self.pid
    }
}

/// Says its address, and serves until its standard input ends.
///
/// # Errors
/// When there is no port.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
    println!("{}", listener.local_addr().context("look at the address")?);
    let mut input = tokio::io::stdin();
    let ended = async { while input.read(&mut [0]).await.is_ok_and(|bytes| bytes > 0) {} };
    tokio::select! {
        accepted = accept(listener) => accepted,
        () = ended => Ok(()),
    }
}

/// Serves until it is dropped.
///
/// # Errors
/// When no connection can be accepted.
pub(super) async fn accept(listener: TcpListener) -> anyhow::Result<()> {
    let pushes = Arc::new(Pushes::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accept a connection")?;
                connections.spawn(connection(stream, Arc::clone(&pushes)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The watch streams there are.
#[derive(Debug, Default)]
struct Pushes(Mutex<Vec<mpsc::Sender<Result<Batch, Status>>>>);

impl Pushes {
    fn subscribe(&self) -> ReceiverStream<Result<Batch, Status>> {
        let (push, heard) = mpsc::channel(PUSHES_WAITING);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(push);
        ReceiverStream::new(heard)
    }

    /// To every stream; one that is gone, or too far behind, gets nothing more.
    fn push(&self, batch: &Batch) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.try_send(Ok(batch.clone())).is_ok());
    }
}

async fn connection(stream: TcpStream, pushes: Arc<Pushes>) {
    // Fails only when the connection has ended.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let pushes = Arc::clone(&pushes);
        async move { Ok::<_, Infallible>(answer(request, pushes).await) }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.initial_stream_window_size(STREAM_WINDOW_BYTES).initial_connection_window_size(64 * STREAM_WINDOW_BYTES);
    // Ends with an error when the client goes without a word, as clients here do.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: http::Request<Incoming>, pushes: Arc<Pushes>) -> Response<tonic::body::Body> {
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<Batch, Batch>::default());
    match request.uri().path() {
        READ => {
            let read = |request: Request<Batch>| async move {
                let answer = Bytes::from(vec![b'x'; request.get_ref().wanted as usize]);
                Ok::<_, Status>(tonic::Response::new(Batch { items: vec![answer], ..Batch::default() }))
            };
            grpc.unary(tower::service_fn(read), request).await
        }
        ECHO => {
            let echo = |request: Request<Streaming<Batch>>| async move {
                Ok::<_, Status>(tonic::Response::new(results(request.into_inner())))
            };
            grpc.streaming(tower::service_fn(echo), request).await
        }
        WATCH => {
            let watch = move |request: Request<Streaming<Batch>>| {
                let pushes = Arc::clone(&pushes);
                async move { Ok::<_, Status>(tonic::Response::new(pushed(request.into_inner(), pushes))) }
            };
            grpc.streaming(tower::service_fn(watch), request).await
        }
        _ => {
            let mut response = Response::new(tonic::body::Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

fn results(requests: Streaming<Batch>) -> impl Stream<Item = Result<Batch, Status>> + Send + 'static {
    requests.map(|batch| {
        let result = Bytes::from_static(&[b'r'; RESULT_BYTES]);
        Ok(Batch { items: vec![result; batch?.items.len()], ..Batch::default() })
    })
}

/// What any stream asks to push goes to all streams.
fn pushed(
    requests: Streaming<Batch>,
    pushes: Arc<Pushes>,
) -> impl Stream<Item = Result<Batch, Status>> + Send + 'static {
    let heard = pushes.subscribe();
    let asked = requests.filter_map(move |batch| match batch {
        Ok(batch) => {
            let watches = (0..u64::from(batch.wanted)).collect();
            pushes.push(&Batch { watches, ..batch });
            None
        }
        Err(status) => Some(Err(status)),
    });
    asked.merge(heard)
}
