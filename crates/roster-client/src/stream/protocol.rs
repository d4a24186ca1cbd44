//! What a protocol on a stream has to say to its driver, and the lock that handles and driver share.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use roster_proto::v1::Refusal;
use tokio::sync::Notify;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::endpoint::Lease;
use crate::moment::Moment;

/// A stream that is being opened.
pub(crate) type Opening<R> = Pin<Box<dyn Future<Output = Result<Streaming<R>, Status>> + Send>>;

/// A machine that speaks over one stream at a time.
pub(crate) trait Protocol: Send + 'static {
    /// What it sends.
    type Request: Send + 'static;
    /// What it receives.
    type Response: Send + 'static;

    /// The call that opens the stream.
    fn open(&self, lease: &Lease, requests: ReceiverStream<Self::Request>) -> Opening<Self::Response>;
    /// The node has taken the call.
    fn handle_opened(&mut self, moment: Moment);
    /// A message came.
    fn handle_received(&mut self, moment: Moment, response: Self::Response);
    /// The stream could not be opened, or ended.
    fn handle_lost(&mut self, moment: Moment, loss: Loss);
    /// The time of `poll_timeout` has come.
    fn handle_timeout(&mut self, moment: Moment);
    /// What the driver shall do next.
    fn poll_step(&mut self) -> Option<Step>;
    /// Whether `poll_message` would give one.
    fn has_message(&self) -> bool;
    /// The next message, made when there is room for it, so that it holds all that gathered.
    fn poll_message(&mut self, now: Instant) -> Option<Self::Request>;
    /// When to wake without an input.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Tells the handles what they wait for.
    fn publish(&mut self);
}

/// What the driver shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Open a stream to this address.
    Open { endpoint: usize },
    /// Drop the stream.
    HangUp,
    /// Drop the stream and the connection under it, which is silent.
    Discard,
    /// Nothing more will come.
    Finish,
}

/// Why a stream is no more.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    /// For a person.
    pub(crate) why: String,
    /// When the node said so in its own words.
    pub(crate) refusal: Option<Refusal>,
}

impl Loss {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), refusal: None }
    }
}

impl From<Status> for Loss {
    fn from(status: Status) -> Self {
        let refusal = Refusal::of_status(&status);
        let mut why = status.message().to_owned();
        let mut cause = std::error::Error::source(&status);
        while let Some(error) = cause {
            let text = error.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            cause = error.source();
        }
        Self { why, refusal }
    }
}

/// A protocol between its handles and its driver.
pub(crate) struct Shared<P> {
    protocol: Mutex<P>,
    woken: Notify,
}

impl<P: Protocol> Shared<P> {
    pub(crate) fn new(protocol: P) -> Self {
        Self { protocol: Mutex::new(protocol), woken: Notify::new() }
    }

    /// One input of a handle; the driver looks at what it changed.
    pub(crate) fn act<T>(&self, input: impl FnOnce(&mut P, Moment) -> T) -> T {
        let result = self.step(input);
        self.woken.notify_one();
        result
    }

    /// One input of the driver.
    pub(super) fn step<T>(&self, input: impl FnOnce(&mut P, Moment) -> T) -> T {
        let mut protocol = self.lock();
        let result = input(&mut protocol, Moment::take());
        protocol.publish();
        result
    }

    /// A handle has left something where the machine looks for it; the driver looks.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// What a handle wants to know.
    pub(crate) fn read<T>(&self, question: impl FnOnce(&P) -> T) -> T {
        question(&self.lock())
    }

    /// A handle has acted.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, P> {
        // A panic inside a machine is a bug; the handles shall still see the last state rather than panic too.
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
