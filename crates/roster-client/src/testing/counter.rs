//! The calls about queues that the node answers.

use std::sync::Arc;

use roster_core::queue::{
    Command, Contents, DeadLetters, Message, MessageId, Origin, Outcome, Place, ProducerId, Queue, QueueName, Refusal,
    Settings, Stored, Window,
};
use roster_proto::convert::{
    encode_message, encode_queue_settings, invalid, parse_message, parse_queue_name, parse_queue_settings, status_of,
    unavailable,
};
use roster_proto::server::queues_server::Queues;
use roster_proto::v1;
use roster_proto::v1::publish_result::Outcome as BatchOutcome;
use roster_proto::v1::publish_stream_request::Request as PublishWord;
use roster_proto::v1::publish_stream_response::Response as PublishAnswer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::depot::Depot;

/// Messages that wait for a reader.
const OUTBOX: usize = 4096;
const PAGE_MAX: usize = 1000;
/// Fewer than a real node gives, so that a few queues make pages.
const QUEUES_PER_PAGE: usize = 10;

#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub(super) depot: Arc<Depot>,
}

type Parsed<T> = Result<T, v1::Refusal>;
type Answer<T> = Result<Response<T>, Status>;

fn queue_of(name: &str) -> Result<QueueName, Status> {
    parse_queue_name(name).map_err(|refusal| status_of(&refusal))
}

fn unknown(queue: QueueName) -> Status {
    status_of(&Refusal::UnknownQueue { queue }.into())
}

fn part_of(wire: v1::QueuePart) -> Contents {
    match wire {
        v1::QueuePart::Unspecified | v1::QueuePart::All => Contents::All,
        v1::QueuePart::Waiting => Contents::Waiting,
        v1::QueuePart::Failed => Contents::Failed,
        v1::QueuePart::Dead => Contents::Dead,
    }
}

fn dead_of(request: &v1::DeadRequest) -> DeadLetters {
    match request.all {
        true => DeadLetters::All,
        false => DeadLetters::These(request.message_ids.iter().copied().map(MessageId::new).collect()),
    }
}

impl Counter {
    fn apply(&self, command: Command) -> Result<Outcome, Status> {
        let outcome = self.depot.with(|stock| stock.apply(command));
        if let Outcome::Refused(refusal) = outcome {
            return Err(status_of(&refusal.into()));
        }
        Ok(outcome)
    }

    fn move_out(&self, command: Command) -> Answer<v1::MovedResponse> {
        let Outcome::Moved { messages, unknown } = self.apply(command)? else {
            return Err(Status::internal("outcome"));
        };
        Ok(Response::new(v1::MovedResponse { messages, unknown }))
    }

    fn settings(&self, queue: &QueueName) -> Result<Settings, Status> {
        self.depot.read(queue, |_, known| *known.settings()).ok_or_else(|| unknown(queue.clone()))
    }

    fn publish_batch(
        &self,
        queue: &QueueName,
        origin: Option<Origin>,
        wire: &[v1::QueueMessage],
    ) -> Parsed<v1::Published> {
        let messages: Vec<Message> = wire.iter().cloned().map(parse_message).collect::<Parsed<_>>()?;
        let outcome = self.depot.add(|stock| {
            stock.batches += 1;
            match stock.refusals.pop_front() {
                Some(refusal) => Err(refusal),
                None => Ok(stock.apply(Command::Publish { queue: queue.clone(), origin, messages })),
            }
        })?;
        match outcome {
            Outcome::Published { first, stored, duplicates } => {
                Ok(v1::Published { first_message_id: first.get(), stored, duplicates })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other @ (Outcome::Done
            | Outcome::Created
            | Outcome::Exists
            | Outcome::Acknowledged { .. }
            | Outcome::Ended { .. }
            | Outcome::Moved { .. }) => Err(unavailable(format!("publishing ended as {other:?}"))),
        }
    }

    /// The conversation of a producer.
    async fn publish_all(
        self,
        mut requests: Streaming<v1::PublishStreamRequest>,
        answers: &mpsc::Sender<Result<v1::PublishStreamResponse, Status>>,
    ) -> Result<(), Status> {
        let Some(PublishWord::Open(open)) = requests.message().await?.and_then(|request| request.request) else {
            return Err(Status::invalid_argument("the first request is open"));
        };
        let queue = queue_of(&open.queue)?;
        let producer = ProducerId::parse(&open.producer).map_err(|word| status_of(&invalid(word)))?;
        let settings = self.settings(&queue)?;
        // A sequence that cannot be the next is answered with the one that could.
        let probe = Some(Origin { producer: producer.clone(), first: u64::MAX });
        let gap = self
            .depot
            .with(|stock| stock.apply(Command::Publish { queue: queue.clone(), origin: probe, messages: Vec::new() }));
        let Outcome::Refused(Refusal::SequenceGap { expected, .. }) = gap else {
            return Err(Status::internal(format!("a probe ended as {gap:?}")));
        };
        let last_sequence = expected - 1;
        let opened = v1::PublishOpened { last_sequence, message_bytes_max: settings.message_bytes_max };
        say(answers, PublishAnswer::Opened(opened)).await;
        while let Some(request) = requests.message().await? {
            let Some(PublishWord::Batch(batch)) = request.request else { continue };
            let first_sequence = batch.first_sequence;
            let outcome = loop {
                let room = self.depot.room.notified();
                let origin = Some(Origin { producer: producer.clone(), first: first_sequence });
                match self.publish_batch(&queue, origin, &batch.messages) {
                    Err(refusal) if refusal.code() == v1::refusal::Code::QueueFull => room.await,
                    Err(refusal) => break BatchOutcome::Refusal(refusal),
                    Ok(published) => break BatchOutcome::Published(published),
                }
            };
            let results = vec![v1::PublishResult { first_sequence, outcome: Some(outcome) }];
            say(answers, PublishAnswer::Results(v1::PublishResults { results })).await;
        }
        Ok(())
    }
}

async fn say(answers: &mpsc::Sender<Result<v1::PublishStreamResponse, Status>>, answer: PublishAnswer) {
    // A reader that is gone ends the requests, too.
    let _ = answers.send(Ok(v1::PublishStreamResponse { response: Some(answer) })).await;
}

#[tonic::async_trait]
impl Queues for Counter {
    type PublishStreamStream = ReceiverStream<Result<v1::PublishStreamResponse, Status>>;
    type ConsumeStream = ReceiverStream<Result<v1::ConsumeResponse, Status>>;

    async fn create_queue(&self, request: Request<v1::CreateQueueRequest>) -> Answer<v1::CreateQueueResponse> {
        let request = request.into_inner();
        let settings = parse_queue_settings(request.settings.as_ref(), Settings::default());
        let outcome = self.apply(Command::CreateQueue { queue: queue_of(&request.queue)?, settings })?;
        let settings = Some(encode_queue_settings(&settings));
        Ok(Response::new(v1::CreateQueueResponse { created: outcome == Outcome::Created, settings }))
    }

    async fn update_queue(&self, request: Request<v1::UpdateQueueRequest>) -> Answer<v1::UpdateQueueResponse> {
        let request = request.into_inner();
        let queue = queue_of(&request.queue)?;
        let settings = parse_queue_settings(request.settings.as_ref(), self.settings(&queue)?);
        self.apply(Command::UpdateSettings { queue, settings })?;
        Ok(Response::new(v1::UpdateQueueResponse { settings: Some(encode_queue_settings(&settings)) }))
    }

    async fn delete_queue(&self, request: Request<v1::DeleteQueueRequest>) -> Answer<v1::DeleteQueueResponse> {
        let command = Command::DeleteQueue { queue: queue_of(&request.get_ref().queue)? };
        let messages = self.move_out(command)?.into_inner().messages;
        Ok(Response::new(v1::DeleteQueueResponse { messages }))
    }

    async fn get_queue(&self, request: Request<v1::GetQueueRequest>) -> Answer<v1::GetQueueResponse> {
        let name = queue_of(&request.get_ref().queue)?;
        let queue = self.depot.read(&name, |stock, queue| describe(stock, &name, queue));
        Ok(Response::new(v1::GetQueueResponse { queue: Some(queue.ok_or_else(|| unknown(name.clone()))?) }))
    }

    async fn list_queues(&self, request: Request<v1::ListQueuesRequest>) -> Answer<v1::ListQueuesResponse> {
        let request = request.into_inner();
        let after = QueueName::parse(&request.page_token).ok();
        Ok(Response::new(self.depot.with(|stock| {
            let named =
                stock.queues.queues(after.as_ref()).filter(|(name, _)| name.as_str().starts_with(&request.prefix));
            let queues: Vec<_> =
                named.take(QUEUES_PER_PAGE).map(|(name, queue)| describe(stock, name, queue)).collect();
            let last = queues.last().filter(|_| queues.len() == QUEUES_PER_PAGE);
            v1::ListQueuesResponse { next_page_token: last.map(|last| last.name.clone()).unwrap_or_default(), queues }
        })))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        let request = request.into_inner();
        let queue = queue_of(&request.queue)?;
        let origin = match request.producer.as_str() {
            "" => None,
            id => {
                let producer = ProducerId::parse(id).map_err(|word| status_of(&invalid(word)))?;
                Some(Origin { producer, first: request.first_sequence })
            }
        };
        let published = self.publish_batch(&queue, origin, &request.messages).map_err(|refusal| status_of(&refusal))?;
        Ok(Response::new(v1::PublishResponse { published: Some(published) }))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Answer<Self::PublishStreamStream> {
        let (answers, responses) = mpsc::channel(OUTBOX);
        let counter = self.clone();
        tokio::spawn(async move {
            if let Err(status) = counter.publish_all(request.into_inner(), &answers).await {
                let _ = answers.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn consume(&self, request: Request<Streaming<v1::ConsumeRequest>>) -> Answer<Self::ConsumeStream> {
        let (sender, responses) = mpsc::channel(OUTBOX);
        let mut requests = request.into_inner();
        let depot = self.depot.clone();
        tokio::spawn(async move {
            let Ok(Some(mut first)) = requests.message().await else { return };
            let open = first.open.take().unwrap_or_default();
            let window = open.window.map_or(Ok(Window::default()), Window::of_messages).unwrap_or_default();
            let joined = queue_of(&open.queue).and_then(|queue| {
                let joined = depot.with(|stock| {
                    let consumer = stock.join(&queue, window, sender.clone())?;
                    let ack_timeout_ms = stock.queues.queue(&queue)?.settings().ack_timeout_millis;
                    let opened = v1::ConsumeOpened { consumer_id: consumer.0, ack_timeout_ms };
                    let _ = sender.try_send(Ok(v1::ConsumeResponse { opened: Some(opened), ..Default::default() }));
                    stock.hear(consumer, first);
                    stock.deliver(&queue);
                    Some(consumer)
                });
                joined.ok_or_else(|| unknown(queue))
            });
            let consumer = match joined {
                Ok(consumer) => consumer,
                Err(status) => return drop(sender.try_send(Err(status))),
            };
            drop(sender); // the stream ends with its place in the stock
            while let Ok(Some(request)) = requests.message().await {
                depot.with(|stock| stock.hear(consumer, request));
            }
            depot.with(|stock| stock.leave(consumer));
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn list_messages(&self, request: Request<v1::ListMessagesRequest>) -> Answer<v1::ListMessagesResponse> {
        let request = request.into_inner();
        let name = queue_of(&request.queue)?;
        let listed = self.depot.read(&name, |_, queue| {
            let first = MessageId::new(request.after_message_id + 1);
            let all: Vec<Stored<'_>> = match part_of(request.part()) {
                Contents::Waiting => queue.waiting().filter(|stored| stored.id >= first).collect(),
                Contents::Failed => queue.failed(first).collect(),
                Contents::Dead => queue.dead(first).collect(),
                Contents::All => queue.message(MessageId::new(request.message_id)).into_iter().collect(),
            };
            let limit = if request.page_size == 0 { 100 } else { PAGE_MAX.min(request.page_size as usize) };
            let messages = all.iter().take(limit).map(|stored| keep(stored, request.with_message)).collect();
            v1::ListMessagesResponse { messages, more: all.len() > limit }
        });
        Ok(Response::new(listed.ok_or_else(|| unknown(name))?))
    }

    async fn purge_queue(&self, request: Request<v1::PurgeQueueRequest>) -> Answer<v1::MovedResponse> {
        let request = request.into_inner();
        self.move_out(Command::Purge { queue: queue_of(&request.queue)?, contents: part_of(request.part()) })
    }

    async fn requeue_dead(&self, request: Request<v1::DeadRequest>) -> Answer<v1::MovedResponse> {
        let request = request.into_inner();
        self.move_out(Command::RequeueDead { queue: queue_of(&request.queue)?, dead: dead_of(&request) })
    }

    async fn drop_dead(&self, request: Request<v1::DeadRequest>) -> Answer<v1::MovedResponse> {
        let request = request.into_inner();
        self.move_out(Command::DropDead { queue: queue_of(&request.queue)?, dead: dead_of(&request) })
    }
}

fn describe(stock: &super::depot::Stock, name: &QueueName, queue: &Queue) -> v1::Queue {
    let (counts, totals) = (queue.counts(), queue.totals());
    let traffic = stock.dispatchers.get(name).map(roster_core::queue::Dispatcher::traffic).unwrap_or_default();
    v1::Queue {
        name: name.to_string(),
        r#type: v1::QueueType::Work.into(),
        settings: Some(encode_queue_settings(queue.settings())),
        waiting: counts.waiting.saturating_sub(traffic.in_flight as u64),
        in_flight: traffic.in_flight as u64,
        failed: counts.failed,
        dead: counts.dead,
        bytes: counts.bytes,
        consumers: stock.consumers_of(name),
        producers: u32::try_from(counts.producers).unwrap_or(u32::MAX),
        oldest_unix_ms: queue.oldest().map_or(0, roster_core::Timestamp::get),
        published_total: totals.published,
        acknowledged_total: totals.acknowledged,
        failed_total: totals.failures,
        ..Default::default()
    }
}

fn keep(stored: &Stored<'_>, with_message: bool) -> v1::KeptMessage {
    let (reason, when) = match stored.place {
        Place::Fresh => ("", 0),
        Place::Failed { due, reason } => (reason, due.get()),
        Place::Dead { since, reason } => (reason, since.get()),
    };
    v1::KeptMessage {
        message_id: stored.id.get(),
        enqueued_unix_ms: stored.enqueued.get(),
        attempts: stored.attempts,
        bytes: stored.message.bytes(),
        reason: reason.to_owned(),
        when_unix_ms: when,
        in_flight: false,
        message: with_message.then(|| encode_message(stored.message)),
    }
}
