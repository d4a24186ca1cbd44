//! What is asked about queues once and answered once.

use roster_core::queue::{Contents, DeadLetters, Message, MessageId, ProducerId, QueueName, Settings};
use roster_proto::convert::{encode_message, encode_queue_settings, parse_queue_settings};
use roster_proto::v1;

use super::standing::{KeptMessage, QueueStatus, parse_kept, parse_status};
use crate::client::{Client, unintelligible};
use crate::endpoint::Lease;
use crate::error::Error;

/// The queues of a node, by hand.
///
/// The errors of every call are [`Error::Unreachable`], [`Error::TimedOut`], [`Error::Refused`] and
/// [`Error::Failed`]. Publishing without a producer, and nothing else, may happen twice when an answer is
/// lost and the call is made again.
#[derive(Debug, Clone)]
pub struct Queues {
    client: Client,
}

/// A queue that was got or created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creation {
    /// False when it was there already, with the same settings.
    pub created: bool,
    pub settings: Settings,
}

/// Settings to be changed; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettingsChange {
    pub in_flight_max: Option<u32>,
    pub ack_timeout_millis: Option<u32>,
    pub attempts_max: Option<u32>,
    pub back_off_first_millis: Option<u32>,
    pub back_off_last_millis: Option<u32>,
    pub message_bytes_max: Option<u32>,
    pub waiting_max: Option<u64>,
    pub waiting_bytes_max: Option<u64>,
}

/// Which messages to list.
#[derive(Debug, Clone, Copy)]
pub struct MessagesQuery {
    pub part: Contents,
    /// At most 1000 of one page.
    pub limit: u32,
    /// The page begins after this message.
    pub after: Option<MessageId>,
    /// Only this one.
    pub only: Option<MessageId>,
    /// Whether the messages themselves come along.
    pub content: Content,
}

/// Whether messages come along with what is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Without,
    With,
}

impl Default for MessagesQuery {
    /// The first hundred that wait, without their content.
    fn default() -> Self {
        Self { part: Contents::Waiting, limit: 100, after: None, only: None, content: Content::Without }
    }
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Messages {
    pub messages: Vec<KeptMessage>,
    /// Whether more follow.
    pub more: bool,
}

/// What was stored by a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The first message that this call stored, when it stored any; the others follow it.
    pub first: Option<MessageId>,
    pub stored: u64,
    /// So many at the beginning were stored before.
    pub duplicates: u64,
}

/// Dead letters that were requeued or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub messages: u64,
    /// Of those named, so many were no dead letters.
    pub unknown: u64,
}

impl Queues {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Gets the queue of this name, or creates it.
    ///
    /// # Errors
    /// [`Error::Refused`] that names the differences when it is there with other settings.
    pub async fn create(&self, queue: &QueueName, settings: Settings) -> Result<Creation, Error> {
        let request = v1::CreateQueueRequest {
            queue: queue.as_str().to_owned(),
            r#type: v1::QueueType::Work.into(),
            settings: Some(encode_queue_settings(&settings)),
        };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.create_queue(request).await }
        };
        let (_, answer) = self.client.call("create_queue", call).await?;
        let settings = parse_queue_settings(answer.settings.as_ref(), settings);
        Ok(Creation { created: answer.created, settings })
    }

    /// Changes settings; the messages stay. Returns all the settings.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn update(&self, queue: &QueueName, change: SettingsChange) -> Result<Settings, Error> {
        let settings = v1::QueueSettings {
            in_flight_max: change.in_flight_max,
            ack_timeout_ms: change.ack_timeout_millis,
            attempts_max: change.attempts_max,
            back_off_first_ms: change.back_off_first_millis,
            back_off_last_ms: change.back_off_last_millis,
            message_bytes_max: change.message_bytes_max,
            waiting_max: change.waiting_max,
            waiting_bytes_max: change.waiting_bytes_max,
        };
        let request = v1::UpdateQueueRequest { queue: queue.as_str().to_owned(), settings: Some(settings) };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.update_queue(request).await }
        };
        let (_, answer) = self.client.call("update_queue", call).await?;
        Ok(parse_queue_settings(answer.settings.as_ref(), Settings::default()))
    }

    /// Removes a queue with all its messages; returns how many went with it.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn delete(&self, queue: &QueueName) -> Result<u64, Error> {
        let request = v1::DeleteQueueRequest { queue: queue.as_str().to_owned() };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.delete_queue(request).await }
        };
        Ok(self.client.call("delete_queue", call).await?.1.messages)
    }

    /// One queue as it is.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn get(&self, queue: &QueueName) -> Result<QueueStatus, Error> {
        const CALL: &str = "get_queue";
        let request = v1::GetQueueRequest { queue: queue.as_str().to_owned() };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.get_queue(request).await }
        };
        let (endpoint, answer) = self.client.call(CALL, call).await?;
        parse_status(answer.queue.unwrap_or_default()).map_err(|wrong| unintelligible(CALL, endpoint, &wrong))
    }

    /// The queues whose names begin with `prefix`, which is empty or ends in `/`; all pages.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<QueueStatus>, Error> {
        const CALL: &str = "list_queues";
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListQueuesRequest { prefix: prefix.to_owned(), page_size: 0, page_token };
            let call = |lease: &Lease| {
                let (mut queues, request) = (lease.queues(), request.clone());
                async move { queues.list_queues(request).await }
            };
            let (endpoint, answer) = self.client.call(CALL, call).await?;
            for wire in answer.queues {
                found.push(parse_status(wire).map_err(|wrong| unintelligible(CALL, endpoint.clone(), &wrong))?);
            }
            if answer.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = answer.next_page_token;
        }
    }

    /// A page of the messages of a queue, by id. A page also ends at about 1 MiB.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn messages(&self, queue: &QueueName, query: MessagesQuery) -> Result<Messages, Error> {
        const CALL: &str = "list_messages";
        let request = v1::ListMessagesRequest {
            queue: queue.as_str().to_owned(),
            part: encode_part(query.part).into(),
            page_size: query.limit,
            after_message_id: query.after.map_or(0, MessageId::get),
            message_id: query.only.map_or(0, MessageId::get),
            with_message: query.content == Content::With,
        };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.list_messages(request).await }
        };
        let (endpoint, answer) = self.client.call(CALL, call).await?;
        let messages = answer.messages.into_iter().map(parse_kept).collect::<Result<_, _>>();
        let messages = messages.map_err(|wrong| unintelligible(CALL, endpoint, &wrong))?;
        Ok(Messages { messages, more: answer.more })
    }

    /// Removes messages unread; returns how many.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn purge(&self, queue: &QueueName, part: Contents) -> Result<u64, Error> {
        let request = v1::PurgeQueueRequest { queue: queue.as_str().to_owned(), part: encode_part(part).into() };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.purge_queue(request).await }
        };
        Ok(self.client.call("purge_queue", call).await?.1.messages)
    }

    /// Delivers dead letters again, as if they had never failed.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn requeue(&self, queue: &QueueName, dead: DeadLetters) -> Result<Moved, Error> {
        let request = encode_dead(queue, dead);
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.requeue_dead(request).await }
        };
        Ok(moved(&self.client.call("requeue_dead", call).await?.1))
    }

    /// Removes dead letters.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`].
    pub async fn drop_dead(&self, queue: &QueueName, dead: DeadLetters) -> Result<Moved, Error> {
        let request = encode_dead(queue, dead);
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.drop_dead(request).await }
        };
        Ok(moved(&self.client.call("drop_dead", call).await?.1))
    }

    /// Stores messages, all or none. For what is sent by hand; a [`Producer`](super::Producer) is for more.
    ///
    /// # Errors
    /// Those of every call, see [`Queues`]; a full queue is a refusal here.
    pub async fn publish(&self, queue: &QueueName, messages: &[Message]) -> Result<Stored, Error> {
        self.publish_request(queue, messages, String::new(), 0).await
    }

    /// The same as a producer with an id: what is published again with the same sequences is stored once.
    /// Sequences begin at 1 and have no gaps; `first_sequence` is that of the first message.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish), and a refusal when a sequence is left out.
    pub async fn publish_as(
        &self,
        queue: &QueueName,
        producer: &ProducerId,
        first_sequence: u64,
        messages: &[Message],
    ) -> Result<Stored, Error> {
        self.publish_request(queue, messages, producer.as_str().to_owned(), first_sequence).await
    }

    async fn publish_request(
        &self,
        queue: &QueueName,
        messages: &[Message],
        producer: String,
        first_sequence: u64,
    ) -> Result<Stored, Error> {
        let request = v1::PublishRequest {
            queue: queue.as_str().to_owned(),
            messages: messages.iter().map(encode_message).collect(),
            producer,
            first_sequence,
        };
        let call = |lease: &Lease| {
            let (mut queues, request) = (lease.queues(), request.clone());
            async move { queues.publish(request).await }
        };
        let (_, answer) = self.client.call("publish", call).await?;
        let v1::Published { first_message_id, stored, duplicates } = answer.published.unwrap_or_default();
        Ok(Stored { first: (stored > 0).then(|| MessageId::new(first_message_id)), stored, duplicates })
    }
}

fn moved(answer: &v1::MovedResponse) -> Moved {
    Moved { messages: answer.messages, unknown: answer.unknown }
}

fn encode_part(part: Contents) -> v1::QueuePart {
    match part {
        Contents::Waiting => v1::QueuePart::Waiting,
        Contents::Failed => v1::QueuePart::Failed,
        Contents::Dead => v1::QueuePart::Dead,
        Contents::All => v1::QueuePart::All,
    }
}

fn encode_dead(queue: &QueueName, dead: DeadLetters) -> v1::DeadRequest {
    let queue = queue.as_str().to_owned();
    match dead {
        DeadLetters::All => v1::DeadRequest { queue, message_ids: Vec::new(), all: true },
        DeadLetters::These(ids) => {
            v1::DeadRequest { queue, message_ids: ids.iter().map(|id| id.get()).collect(), all: false }
        }
    }
}
