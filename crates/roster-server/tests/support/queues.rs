//! Bare gRPC streams to the queues of a node.

use std::collections::VecDeque;

use roster_proto::v1;
use roster_proto::v1::publish_result::Outcome;
use roster_proto::v1::publish_stream_request::Request;
use roster_proto::v1::publish_stream_response::Response;
use roster_proto::v1::queues_client::QueuesClient;
use roster_server::Node;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{channel, soon};

pub const JOBS: &str = "jobs";

pub async fn queues(node: &Node) -> QueuesClient<Channel> {
    QueuesClient::new(channel(node).await).max_decoding_message_size(16 * 1024 * 1024)
}

/// Creates the queue `jobs`.
pub async fn create(node: &Node, settings: v1::QueueSettings) {
    let request = v1::CreateQueueRequest { queue: JOBS.into(), settings: Some(settings), ..Default::default() };
    queues(node).await.create_queue(request).await.unwrap();
}

pub fn message(payload: impl ToString) -> v1::QueueMessage {
    v1::QueueMessage { payload: payload.to_string().into(), ..Default::default() }
}

/// Messages whose payloads are numbers.
pub fn messages(numbers: std::ops::Range<u64>) -> Vec<v1::QueueMessage> {
    numbers.map(message).collect()
}

/// Publishes to `jobs` by one call.
pub async fn publish(node: &Node, messages: Vec<v1::QueueMessage>) -> Result<v1::Published, Status> {
    let request = v1::PublishRequest { queue: JOBS.into(), messages, ..Default::default() };
    Ok(queues(node).await.publish(request).await?.into_inner().published.unwrap())
}

pub async fn look(node: &Node) -> v1::Queue {
    let request = v1::GetQueueRequest { queue: JOBS.into() };
    queues(node).await.get_queue(request).await.unwrap().into_inner().queue.unwrap()
}

/// Waits until the queue is as it should be.
pub async fn look_until(node: &Node, what: &str, is_so: impl Fn(&v1::Queue) -> bool) -> v1::Queue {
    let waiting = async {
        loop {
            let queue = look(node).await;
            if is_so(&queue) {
                return queue;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(what, waiting).await
}

pub async fn list(node: &Node, part: v1::QueuePart) -> Vec<v1::KeptMessage> {
    let request =
        v1::ListMessagesRequest { queue: JOBS.into(), part: part.into(), with_message: true, ..Default::default() };
    queues(node).await.list_messages(request).await.unwrap().into_inner().messages
}

/// One publishing stream.
pub struct Producer {
    pub requests: mpsc::Sender<v1::PublishStreamRequest>,
    pub responses: Streaming<v1::PublishStreamResponse>,
    pub opened: v1::PublishOpened,
    waiting: VecDeque<v1::PublishResult>,
}

impl Producer {
    pub async fn open(node: &Node, producer: &str) -> Self {
        Self::try_open(node, JOBS, producer).await.unwrap()
    }

    pub async fn try_open(node: &Node, queue: &str, producer: &str) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(1024);
        let open = v1::OpenPublish { queue: queue.into(), producer: producer.into() };
        requests.send(v1::PublishStreamRequest { request: Some(Request::Open(open)) }).await.unwrap();
        let outgoing = ReceiverStream::new(outgoing);
        let mut responses = queues(node).await.publish_stream(outgoing).await?.into_inner();
        match soon("opened", responses.message()).await?.unwrap().response {
            Some(Response::Opened(opened)) => Ok(Self { requests, responses, opened, waiting: VecDeque::new() }),
            other => panic!("{other:?} is not opened"),
        }
    }

    pub async fn send(&self, first_sequence: u64, messages: Vec<v1::QueueMessage>) {
        let batch = v1::PublishBatch { first_sequence, messages };
        self.requests.send(v1::PublishStreamRequest { request: Some(Request::Batch(batch)) }).await.unwrap();
    }

    pub async fn result(&mut self) -> Result<(u64, Outcome), Status> {
        loop {
            if let Some(result) = self.waiting.pop_front() {
                return Ok((result.first_sequence, result.outcome.unwrap()));
            }
            match soon("a result", self.responses.message()).await?.map(|response| response.response) {
                Some(Some(Response::Results(results))) => self.waiting.extend(results.results),
                other => return Err(Status::unknown(format!("{other:?} are no results"))),
            }
        }
    }

    /// How many messages of the next batch were stored, and how many before.
    pub async fn stored(&mut self) -> (u64, u64) {
        match self.result().await.unwrap() {
            (_, Outcome::Published(published)) => (published.stored, published.duplicates),
            (_, Outcome::Refusal(refusal)) => panic!("{refusal:?}"),
        }
    }
}

/// One consuming stream.
pub struct Consumer {
    pub requests: mpsc::Sender<v1::ConsumeRequest>,
    pub responses: Streaming<v1::ConsumeResponse>,
    pub opened: v1::ConsumeOpened,
    waiting: VecDeque<v1::QueueDelivery>,
    confirm: u64,
    confirmed: u64,
}

impl Consumer {
    pub async fn open(node: &Node, window: u32) -> Self {
        Self::try_open(node, JOBS, window).await.unwrap()
    }

    pub async fn try_open(node: &Node, queue: &str, window: u32) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(1024);
        let open = v1::OpenConsume { queue: queue.into(), window: Some(window), consumer: "test".into() };
        requests.send(v1::ConsumeRequest { open: Some(open), ..Default::default() }).await.unwrap();
        let responses = queues(node).await.consume(ReceiverStream::new(outgoing)).await?.into_inner();
        let opened = v1::ConsumeOpened::default();
        let mut consumer = Self { requests, responses, opened, waiting: VecDeque::new(), confirm: 0, confirmed: 0 };
        consumer.read().await?;
        Ok(consumer)
    }

    async fn read(&mut self) -> Result<(), Status> {
        let response = soon("a delivery", self.responses.message()).await?;
        let response = response.ok_or_else(|| Status::cancelled("the stream is over"))?;
        self.opened = response.opened.unwrap_or(self.opened);
        self.confirmed = self.confirmed.max(response.confirmed);
        self.waiting.extend(response.deliveries);
        Ok(())
    }

    pub async fn next(&mut self) -> Result<v1::QueueDelivery, Status> {
        loop {
            if let Some(delivery) = self.waiting.pop_front() {
                return Ok(delivery);
            }
            self.read().await?;
        }
    }

    /// The next deliveries: their payloads and attempts, and their ids.
    pub async fn take(&mut self, count: usize) -> (Vec<(String, u32)>, Vec<u64>) {
        let (mut taken, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let delivery = self.next().await.unwrap();
            ids.push(delivery.message_id);
            let payload = delivery.message.unwrap_or_default().payload.to_vec();
            taken.push((String::from_utf8(payload).unwrap(), delivery.attempt));
        }
        (taken, ids)
    }

    pub async fn say(&self, request: v1::ConsumeRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// Says it and waits until it is durable.
    pub async fn say_durably(&mut self, request: v1::ConsumeRequest) -> Result<(), Status> {
        self.confirm += 1;
        self.say(v1::ConsumeRequest { confirm: self.confirm, ..request }).await;
        while self.confirmed < self.confirm {
            self.read().await?;
        }
        Ok(())
    }

    pub async fn acknowledge(&mut self, messages: &[u64]) {
        let request = v1::ConsumeRequest { acknowledge: messages.to_vec(), ..Default::default() };
        self.say_durably(request).await.unwrap();
    }

    pub async fn nack(&self, message_id: u64, reason: &str, delay_ms: Option<u32>) {
        let nack = vec![v1::Nack { message_id, reason: reason.into(), delay_ms }];
        self.say(v1::ConsumeRequest { nack, ..Default::default() }).await;
    }
}
