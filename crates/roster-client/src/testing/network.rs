//! Connections that a test can freeze and cut.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use crate::endpoint::Transport;

const DUPLEX_BYTES: usize = 64 * 1024;
const BACKLOG: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Flowing,
    /// Nothing is read or written, and nobody is told.
    Frozen,
    /// Connections are refused.
    Down,
}

/// The network of one node.
#[derive(Debug)]
pub(super) struct Network {
    state: Mutex<State>,
    accepted: mpsc::Sender<io::Result<Line>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    lines: Vec<Weak<Switch>>,
    /// Connections ever made.
    made: usize,
}

impl Network {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<io::Result<Line>>) {
        let (accepted, incoming) = mpsc::channel(BACKLOG);
        let state = Mutex::new(State { mode: Mode::Flowing, lines: Vec::new(), made: 0 });
        (Arc::new(Self { state, accepted }), incoming)
    }

    pub(super) fn set(&self, mode: Mode) {
        let mut state = self.lock();
        state.mode = mode;
        for switch in state.lines.iter().filter_map(Weak::upgrade) {
            switch.set(match mode {
                Mode::Flowing => Flow::On,
                Mode::Frozen => Flow::Held,
                Mode::Down => Flow::Cut,
            });
        }
    }

    /// Cuts what there is; new connections are as the mode says.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.lines.drain(..).filter_map(|switch| switch.upgrade()).for_each(|switch| switch.set(Flow::Cut));
    }

    pub(super) fn connections_made(&self) -> usize {
        self.lock().made
    }

    /// # Errors
    /// When the node is down.
    pub(super) async fn connect(&self, io: impl Io) -> io::Result<()> {
        let line = {
            let mut state = self.lock();
            let flow = match state.mode {
                Mode::Flowing => Flow::On,
                Mode::Frozen => Flow::Held,
                Mode::Down => return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the node is down")),
            };
            state.made += 1;
            let switch = Arc::new(Switch { flow: Mutex::new((flow, Vec::new())) });
            state.lines.retain(|switch| switch.strong_count() > 0);
            state.lines.push(Arc::downgrade(&switch));
            Line { io: Box::pin(io), switch }
        };
        let gone = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the node is gone");
        self.accepted.send(Ok(line)).await.map_err(gone)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What connections are made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + 'static> Io for T {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Held,
    Cut,
}

#[derive(Debug)]
struct Switch {
    flow: Mutex<(Flow, Vec<Waker>)>,
}

impl Switch {
    fn set(&self, flow: Flow) {
        let mut state = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != Flow::Cut {
            state.0 = flow;
        }
        state.1.drain(..).for_each(Waker::wake);
    }

    /// Pending while held; notes who waits, so that a change of the flow is seen.
    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.1.iter().any(|waker| waker.will_wake(context.waker())) {
            state.1.push(context.waker().clone());
        }
        match state.0 {
            Flow::On => Poll::Ready(Ok(())),
            Flow::Held => Poll::Pending,
            Flow::Cut => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut by the test"))),
        }
    }
}

/// The node's end of a connection.
pub(super) struct Line {
    io: Pin<Box<dyn Io>>,
    switch: Arc<Switch>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("switch", &self.switch).finish_non_exhaustive()
    }
}

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.switch.poll(context))?;
        self.io.as_mut().poll_read(context, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.switch.poll(context))?;
        self.io.as_mut().poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.switch.poll(context))?;
        self.io.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }
}

/// Reaches a [`FakeNode`](super::FakeNode) without a socket.
#[derive(Debug, Clone)]
pub struct InMemory {
    network: Arc<Network>,
}

impl InMemory {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Self { network }
    }
}

impl Transport for InMemory {
    fn channel(&self, endpoint: &Endpoint) -> Channel {
        let network = self.network.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let network = network.clone();
            async move {
                let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(DUPLEX_BYTES);
                network.connect(theirs).await?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        }))
    }
}
