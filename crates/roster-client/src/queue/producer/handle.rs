//! The producer as a process holds it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use roster_core::InvalidWord;
use roster_core::queue::{Message, ProducerId, QueueName, Settings as QueueSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::intake::{Capacity, Intake};
use super::machine::{Machine, Settings};
use super::pending::{Pending, Receipt};
use super::seat::Publishing;
use crate::client::Client;
use crate::error::Error;
use crate::moment::Moment;
use crate::queue::dialog::Target;
use crate::queue::format::{Encode, Json};
use crate::queue::link::Link;
use crate::stream::{Shared, drive};

const BUFFER_MESSAGES_DEFAULT: usize = 32 * 1024;
const BUFFER_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// How long a producer that was dropped goes on with what it was given.
const FAREWELL: Duration = Duration::from_secs(3);
/// What a renewal adds to the id must fit in, too.
const PRODUCER_BYTES_MAX: usize = 96;

/// What a producer is started with.
#[must_use = "a producer does nothing until it is started"]
pub struct ProducerBuilder<T: ?Sized, C = Json> {
    client: Client,
    queue: QueueName,
    create: Option<QueueSettings>,
    id: Option<ProducerId>,
    capacity: Capacity,
    timeout: Option<Duration>,
    format: PhantomData<fn(&T) -> C>,
}

impl<T: ?Sized, C> ProducerBuilder<T, C> {
    pub(crate) fn new(client: Client, queue: QueueName) -> Self {
        let capacity = Capacity { messages: BUFFER_MESSAGES_DEFAULT, bytes: BUFFER_BYTES_DEFAULT };
        Self { client, queue, create: None, id: None, capacity, timeout: None, format: PhantomData }
    }

    /// Another format than JSON.
    pub fn format<D: Encode<T>>(self) -> ProducerBuilder<T, D> {
        let Self { client, queue, create, id, capacity, timeout, format: _ } = self;
        ProducerBuilder { client, queue, create, id, capacity, timeout, format: PhantomData }
    }

    /// Gets or creates the queue with these settings before the first stream, and again when it was
    /// deleted. Without this an unknown queue ends the producer.
    pub fn create(mut self, settings: QueueSettings) -> Self {
        self.create = Some(settings);
        self
    }

    /// Publishes under this id instead of a random one, so that a process can go on where it ended:
    /// [`Producer::last_sequence`] tells how many of its messages are stored. An id is of one process at
    /// a time; a producer that finds it in use ends.
    ///
    /// # Errors
    /// [`Error::InvalidWord`] when it is empty, above 96 bytes, or has control characters.
    pub fn id(mut self, id: &str) -> Result<Self, Error> {
        if id.len() > PRODUCER_BYTES_MAX {
            let why = format!("it has {} bytes; {PRODUCER_BYTES_MAX} at most", id.len());
            return Err(InvalidWord { what: "producer id", text: id.chars().take(64).collect(), why }.into());
        }
        self.id = Some(ProducerId::parse(id)?);
        Ok(self)
    }

    /// How much may be taken in and not be answered: 32 768 messages and 64 MiB by default. Publishing
    /// beyond that waits. A message that is larger than the whole buffer goes alone.
    pub fn buffer(mut self, messages: usize, bytes: u64) -> Self {
        self.capacity = Capacity { messages: messages.max(1), bytes };
        self
    }

    /// How long a message may wait for its receipt; by default as long as it takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Opens the stream as soon as a node answers, and keeps it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Producer<T, C>
    where
        C: Encode<T>,
    {
        let producer = match &self.id {
            Some(id) => id.as_str().to_owned(),
            None => format!("{:032x}", fastrand::u128(..)),
        };
        let target = Target::new(&self.client, self.queue, self.create);
        let intake = Arc::new(Intake::new(self.capacity, self.timeout));
        let settings = Settings { target, producer, deadline: self.timeout };
        let machine = Machine::new(settings, Moment::take().now);
        let shared = Arc::new(Shared::new(Publishing::new(machine, intake.clone())));
        let driver = tokio::spawn(drive(shared.clone(), self.client.endpoints()));
        Producer { desk: Arc::new(Desk { shared, intake, driver }), format: PhantomData }
    }
}

/// Publishes to one queue, over one stream.
///
/// Clones share the stream. When the last is dropped, what was taken in is sent for up to 3 s more;
/// [`close`](Self::close) waits for it.
pub struct Producer<T: ?Sized, C = Json> {
    desk: Arc<Desk>,
    format: PhantomData<fn(&T) -> C>,
}

struct Desk {
    shared: Arc<Shared<Publishing>>,
    intake: Arc<Intake>,
    driver: JoinHandle<()>,
}

impl<T: ?Sized, C: Encode<T>> Producer<T, C> {
    /// Publishes, and waits until the message is stored for good.
    ///
    /// What is lost is tried again by itself; dropping the future does not take the message back.
    ///
    /// # Errors
    /// [`Error::NotEncoded`] about the value, [`Error::Refused`] when the node does not take it,
    /// [`Error::TimedOut`] when a timeout is set and has passed, [`Error::Closed`] when the producer has ended.
    pub async fn publish(&self, value: &T) -> Result<Receipt, Error> {
        Ok(self.publish_soon(value).await?.await?)
    }

    /// Publishes, and returns as soon as the message is taken in; waits for room in the buffer only.
    ///
    /// # Errors
    /// [`Error::NotEncoded`] about the value; when the producer has ended, why.
    pub async fn publish_soon(&self, value: &T) -> Result<Pending, Error> {
        self.publish_message_soon(C::encode(value)?).await
    }
}

impl<T: ?Sized, C> Producer<T, C> {
    /// Publishes a message as it is, say one with headers.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub async fn publish_message(&self, message: Message) -> Result<Receipt, Error> {
        Ok(self.publish_message_soon(message).await?.await?)
    }

    /// Publishes a message as it is, and returns as soon as it is taken in.
    ///
    /// # Errors
    /// When the producer has ended, why.
    pub async fn publish_message_soon(&self, message: Message) -> Result<Pending, Error> {
        let (pending, wake) = self.desk.intake.push(message).await.map_err(|failure| failure.error())?;
        if wake {
            self.desk.shared.wake();
        }
        Ok(pending)
    }

    /// Waits until everything that was taken in so far is stored or has failed. What failed is told to
    /// those who hold its [`Pending`].
    pub async fn flush(&self) {
        self.desk.intake.flushed().await;
    }

    /// Waits for the first stream and tells the last sequence that was stored under this id before: 0 for
    /// a new one.
    ///
    /// # Errors
    /// Why the producer has ended, when it ended before.
    pub async fn last_sequence(&self) -> Result<u64, Error> {
        let mut stored = self.desk.shared.read(Publishing::stored);
        let mut link = self.desk.shared.read(Publishing::link);
        tokio::select! {
            Ok(stored) = stored.wait_for(Option::is_some) => return Ok(stored.unwrap_or_default()),
            _ = link.wait_for(|link| matches!(link, Link::Ended { .. })) => {}
        }
        Err(self.error())
    }

    /// The stream as it is and becomes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.desk.shared.read(Publishing::link)
    }

    /// Whether there is a stream.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link().borrow().is_connected()
    }

    /// Messages that are taken in and neither stored nor failed.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.desk.intake.unanswered()
    }

    /// Takes nothing more in, waits until everything is stored or has failed, at most so long, and ends.
    /// The clones end, too.
    ///
    /// # Errors
    /// Why the producer has ended without all of it.
    pub async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.desk.shared.act(|publishing, moment| publishing.leave(moment.now + deadline));
        self.ended().await;
        if self.desk.shared.read(Publishing::is_done) { Ok(()) } else { Err(self.error()) }
    }

    /// Ends at once and takes back what is not known to be stored. A message somebody waits for is in the
    /// error of its [`Pending`]; the others are returned, in the order in which they were published.
    ///
    /// For who publishes elsewhere what a dead node did not answer. What the node stored without being able
    /// to say so is stored twice then.
    #[must_use = "these messages are not known to be stored"]
    pub fn abandon(&self) -> Vec<Message> {
        self.desk.shared.act(|publishing, _| publishing.abandon())
    }

    /// Waits for the end, whatever ends it, and tells why.
    pub async fn ended(&self) -> Error {
        let _ = self.link().wait_for(|link| matches!(link, Link::Ended { .. })).await;
        self.error()
    }

    fn error(&self) -> Error {
        let unknown = || Error::Closed { what: "producer".to_owned(), why: "its runtime is gone".to_owned() };
        self.desk.shared.read(Publishing::failure).map_or_else(unknown, |failure| failure.error())
    }
}

impl<T: ?Sized, C> Clone for Producer<T, C> {
    fn clone(&self) -> Self {
        Self { desk: self.desk.clone(), format: PhantomData }
    }
}

impl<T: ?Sized, C> fmt::Debug for Producer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("link", &*self.link().borrow())
            .field("driver", &self.desk.driver)
            .finish_non_exhaustive()
    }
}

impl<T: ?Sized, C> fmt::Debug for ProducerBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("queue", &self.queue)
            .field("create", &self.create)
            .finish_non_exhaustive()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shared.act(|publishing, moment| publishing.leave(moment.now + FAREWELL));
    }
}
