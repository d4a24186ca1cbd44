//! What goes between the edge, the broker and the writer of the queues. All channels are bounded.

use std::fmt;
use std::sync::Arc;

use roster_core::Position;
use roster_core::queue::{ConsumerId, MessageId, Outcome, ProducerId, QueueName, Window};
use roster_proto::v1;
use roster_store::Queues as Stored;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Broker;
use super::deliveries::DeliveryBox;
use super::results::ResultBox;
use super::room::{Reservation, Room};
use crate::edge::Ticket;
use crate::submission;

/// Batches, words of consumers and queries that may wait for the broker.
pub(crate) const BROKER_MAIL_MAX: usize = 8192;

pub(crate) type Submission = submission::Submission<Stored, Origin>;
pub(crate) type WriterMail = submission::WriterMail<Stored, Origin>;
pub(crate) type News = submission::News<Stored, Origin>;

/// Whom the outcome is for.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The broker itself: what consumers said.
    Broker(Said),
    /// A unary call of one command.
    Unary {
        reply: oneshot::Sender<Result<(Position, Outcome), v1::Refusal>>,
        reservation: Option<Reservation>,
        ticket: Option<Ticket>,
    },
    /// A batch of a publishing stream. The ticket is for its bytes and is given back when it is applied.
    Publish { results: Arc<ResultBox>, first_sequence: u64, reservation: Option<Reservation>, ticket: Ticket },
}

/// What goes with the words of consumers into the log, and is done when they are durable.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Whom to tell that its words up to this one are durable.
    pub(crate) confirms: Vec<(Arc<DeliveryBox>, u64)>,
    /// Given back: their streams may say more.
    pub(crate) permits: Vec<OwnedSemaphorePermit>,
}

/// What one request of a consumer says, in the order in which it is taken in.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) acknowledged: Vec<MessageId>,
    pub(crate) failed: Vec<Nack>,
    pub(crate) handed_back: Vec<MessageId>,
    pub(crate) extended: Vec<(MessageId, u32)>,
    pub(crate) window: Option<Window>,
    /// 0: nobody wants to know.
    pub(crate) confirm: u64,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// A consumer could not do it.
#[derive(Debug)]
pub(crate) struct Nack {
    pub(crate) message: MessageId,
    pub(crate) reason: roster_core::queue::Reason,
    /// None: the back-off of the queue.
    pub(crate) delay: Option<roster_core::queue::Delay>,
}

/// What a publisher needs to know of its queue.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) room: Arc<Room>,
    /// The last sequence that is stored of the producer that asked.
    pub(crate) last_sequence: u64,
}

/// To the broker.
pub(crate) enum BrokerMail {
    Log(News),
    /// A call publishes once.
    Room {
        queue: QueueName,
        producer: Option<ProducerId>,
        reply: oneshot::Sender<Result<Opened, v1::Refusal>>,
    },
    /// A stream begins to publish; it is told in its box when the queue or the node ends.
    OpenPublish {
        queue: QueueName,
        producer: ProducerId,
        stream: u64,
        results: Arc<ResultBox>,
        reply: oneshot::Sender<Result<Opened, v1::Refusal>>,
    },
    ClosePublish {
        queue: QueueName,
        stream: u64,
    },
    /// A stream begins to consume.
    Join {
        queue: QueueName,
        window: Window,
        deliveries: Arc<DeliveryBox>,
        reply: oneshot::Sender<Result<ConsumerId, v1::Refusal>>,
    },
    Words {
        consumer: ConsumerId,
        words: Words,
    },
    /// A consumer's stream has ended.
    Leave(ConsumerId),
    /// Reads between two batches.
    Read(Box<dyn FnOnce(&Broker) + Send>),
    /// Answered when all that consumers said so far is in the log.
    Settle(oneshot::Sender<()>),
    /// End every stream.
    Stop,
    /// End.
    Quit,
}

impl From<News> for BrokerMail {
    fn from(news: News) -> Self {
        Self::Log(news)
    }
}

impl fmt::Debug for BrokerMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerMail")
    }
}
