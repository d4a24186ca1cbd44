//! The consumer as a process holds it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use roster_core::queue::{QueueName, Settings as QueueSettings, Window};
use roster_core::{InvalidWord, Label};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::board::Board;
use super::delivery::{Claim, Debt, Delivery};
use super::machine::{ConsumerCounts, Machine, Settings, Verdict};
use super::seat::Consuming;
use super::worker::employ;
use crate::client::Client;
use crate::error::Error;
use crate::moment::Moment;
use crate::queue::dialog::Target;
use crate::queue::format::{Decode, Json};
use crate::queue::link::Link;
use crate::stream::{Shared, drive};

/// How long a consumer that was dropped tries to say what was acknowledged.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a consumer is started with.
#[must_use = "a consumer does nothing until it is started"]
pub struct ConsumerBuilder<T, C = Json> {
    client: Client,
    queue: QueueName,
    create: Option<QueueSettings>,
    name: Option<String>,
    window: Window,
    extend_max: Option<Duration>,
    format: PhantomData<fn() -> (T, C)>,
}

impl<T, C> ConsumerBuilder<T, C> {
    pub(crate) fn new(client: Client, queue: QueueName) -> Self {
        let window = Window::default();
        Self { client, queue, create: None, name: None, window, extend_max: None, format: PhantomData }
    }

    /// Another format than JSON.
    pub fn format<D: Decode<T>>(self) -> ConsumerBuilder<T, D> {
        let Self { client, queue, create, name, window, extend_max, format: _ } = self;
        ConsumerBuilder { client, queue, create, name, window, extend_max, format: PhantomData }
    }

    /// Gets or creates the queue with these settings before the first stream, and again when it was
    /// deleted. Without this an unknown queue ends the consumer.
    pub fn create(mut self, settings: QueueSettings) -> Self {
        self.create = Some(settings);
        self
    }

    /// Who consumes, for the node's status pages; the name of the client by default.
    ///
    /// # Errors
    /// [`Error::InvalidWord`] when it is above 128 bytes or has control characters.
    pub fn name(mut self, name: &str) -> Result<Self, Error> {
        Label::parse("consumer", name)?;
        self.name = Some(name.to_owned());
        Ok(self)
    }

    /// How many messages it works on at a time, and so its window: 256 by default, from 1 to 65 536.
    ///
    /// # Errors
    /// [`Error::InvalidWord`] when out of that range.
    pub fn concurrency(mut self, messages: u32) -> Result<Self, Error> {
        if messages == 0 {
            let why = "it is at least 1".to_owned();
            return Err(InvalidWord { what: "concurrency", text: "0".to_owned(), why }.into());
        }
        self.window = Window::of_messages(messages)?;
        Ok(self)
    }

    /// For how long the deadline of a message is extended while its handler runs; without this as long as
    /// that takes. Then the node gives the message to somebody else.
    pub fn extend_at_most(mut self, extend_max: Duration) -> Self {
        self.extend_max = Some(extend_max);
        self
    }

    /// Opens the stream as soon as a node answers, keeps it, and runs the handler for each message: done
    /// when it returns `Ok`, nacked with the reason when it fails or panics. See [`Retry`](super::Retry)
    /// for a delay. What does not parse is nacked without it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<H, F, E>(self, handler: H) -> Consumer
    where
        T: Send + 'static,
        C: Decode<T>,
        H: Fn(Delivery<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let concurrency = self.window.messages() as usize;
        let desk = self.open(concurrency, tokio::runtime::Handle::current().metrics().num_workers());
        let mut employer = JoinSet::new();
        employer.spawn(employ::<T, C, H, F, E>(desk.board.clone(), desk.shared.clone(), handler));
        Consumer { employer, desk }
    }

    /// The same for who fetches messages by himself.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn pull(self) -> PullConsumer<T, C>
    where
        C: Decode<T>,
    {
        PullConsumer { desk: self.open(0, 1), format: PhantomData }
    }

    fn open(self, workers_max: usize, waking_max: usize) -> Desk {
        let settings = Settings {
            consumer: self.name.unwrap_or_else(|| self.client.name().to_owned()),
            target: Target::new(&self.client, self.queue, self.create),
            window: self.window.messages(),
            extend_max: self.extend_max,
        };
        let board = Arc::new(Board::new(workers_max, waking_max));
        let machine = Machine::new(settings, Moment::take().now);
        let shared = Arc::new(Shared::new(Consuming::new(machine, board.clone())));
        let driver = tokio::spawn(drive(shared.clone(), self.client.endpoints()));
        Desk { shared, board, driver }
    }
}

/// Works on the messages of one queue, over one stream.
///
/// When it is dropped, handlers that run are aborted, and what they held is delivered to others at once.
/// [`close`](Self::close) lets them finish.
pub struct Consumer {
    // Before the desk: a handler that is aborted says so before the stream is left.
    employer: JoinSet<()>,
    desk: Desk,
}

/// Hands out the messages of one queue, over one stream.
///
/// When it is dropped, what was acknowledged is still said to the node, and the rest delivered to others,
/// whatever becomes of the [`Claim`]s.
pub struct PullConsumer<T, C = Json> {
    desk: Desk,
    format: PhantomData<fn() -> (T, C)>,
}

struct Desk {
    shared: Arc<Shared<Consuming>>,
    board: Arc<Board>,
    driver: JoinHandle<()>,
}

impl Consumer {
    /// The stream as it is and becomes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.desk.link()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> ConsumerCounts {
        self.desk.counts()
    }

    /// Waits for the end, whatever ends it, and tells why.
    pub async fn ended(&self) -> Error {
        self.desk.ended().await
    }

    /// Takes nothing more, lets the handlers finish, at most so long, and returns when the node has all
    /// verdicts for good. What no handler has begun goes to others, and counts as no attempt.
    ///
    /// # Errors
    /// [`Error::Closed`] when handlers still ran, or the node did not confirm in time; what was not
    /// confirmed may be delivered again.
    pub async fn close(mut self, deadline: Duration) -> Result<(), Error> {
        let result = self.desk.close(deadline).await;
        self.desk.board.dismiss();
        while self.employer.join_next().await.is_some() {}
        result
    }
}

impl<T, C: Decode<T>> PullConsumer<T, C> {
    /// The next message. What does not parse is nacked and left out. Safe to drop before it is ready.
    ///
    /// # Errors
    /// Why the consumer has ended.
    pub async fn next(&mut self) -> Result<Claim<T>, Error> {
        while let Some(wire) = self.desk.board.take().await {
            let Desk { board, shared, .. } = &self.desk;
            let id = wire.message_id;
            let mut debt = Debt { id, board: board.clone(), shared: shared.clone(), paid: false };
            match Delivery::decode::<C>(wire) {
                Ok(delivery) => return Ok(Claim::new(delivery, debt)),
                Err(reason) => debt.pay(Verdict::Failed { reason, delay: None }),
            }
        }
        Err(self.desk.ended().await)
    }
}

impl<T, C> PullConsumer<T, C> {
    /// The stream as it is and becomes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.desk.link()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> ConsumerCounts {
        self.desk.counts()
    }

    /// Takes nothing more, waits for the verdicts on what was handed out, at most so long, and returns
    /// when the node has them for good. What was not handed out goes to others, and counts as no attempt.
    ///
    /// # Errors
    /// [`Error::Closed`] when verdicts are missing, or the node did not confirm in time.
    pub async fn close(self, deadline: Duration) -> Result<(), Error> {
        self.desk.close(deadline).await
    }
}

impl Desk {
    fn link(&self) -> watch::Receiver<Link> {
        self.shared.read(Consuming::link)
    }

    fn counts(&self) -> ConsumerCounts {
        self.shared.read(Consuming::counts)
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.shared.act(|consuming, moment| consuming.leave(moment.now + deadline));
        let error = self.ended().await;
        if self.shared.read(Consuming::is_complete) { Ok(()) } else { Err(error) }
    }

    async fn ended(&self) -> Error {
        let _ = self.link().wait_for(|link| matches!(link, Link::Ended { .. })).await;
        let unknown = || Error::Closed { what: "consumer".to_owned(), why: "its runtime is gone".to_owned() };
        self.shared.read(Consuming::failure).map_or_else(unknown, |failure| failure.error())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.act(|consuming, moment| consuming.drop_off(moment.now + FAREWELL));
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("link", &*self.link().borrow())
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("desk", &self.desk).finish_non_exhaustive()
    }
}

impl<T, C> fmt::Debug for PullConsumer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullConsumer").field("desk", &self.desk).finish_non_exhaustive()
    }
}

impl<T, C> fmt::Debug for ConsumerBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("queue", &self.queue)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
