//! More work than a node can do, from callers that do not wait for what they asked before.
//!
//! Every kind asks on as many connections at a time. What holds a caller back is the flow control of HTTP/2 and
//! nothing else; a call that is refused is made again a tenth of a second later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use roster_client::queue::QueueName;
use roster_proto::v1;
use roster_proto::v1::queues_client::QueuesClient;
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::result::Outcome;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::latencies::Latencies;
use super::node::BenchNode;
use super::session::{self, Session};

/// Operations of one message, and instances of one flooding session, which change again and again.
const OPERATIONS: u32 = 1_000;
/// Messages of one batch.
const BATCH: u64 = 1_000;
/// A refused call is made again after so long.
const AGAIN: Duration = Duration::from_millis(100);
/// Streams of a connection that nobody reads.
const UNREAD_STREAMS: u32 = 8;
/// Requests that wait for a connection.
const WAITING: usize = 4;

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Registrations that change again and again
    Registrations,
    /// Lists of a service
    Reads,
    /// Messages to one queue, which consumers empty as fast as they can
    Messages,
    /// Watches of everything, which never read
    Watches,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Registrations, Self::Reads, Self::Messages, Self::Watches];

    fn as_str(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::Reads => "reads",
            Self::Messages => "messages",
            Self::Watches => "watches",
        }
    }
}

/// What became of the work of one kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    offered: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Streams that the node ended.
    ended: AtomicU64,
}

impl Tally {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Offered, accepted, refused, and streams that ended.
    pub(super) fn read(&self) -> [(&'static str, u64); 4] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("offered", of(&self.offered)),
            ("accepted", of(&self.accepted)),
            ("refused", of(&self.refused)),
            ("streams_ended", of(&self.ended)),
        ]
    }
}

/// All callers of one kind. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Flood {
    pub(super) kind: Kind,
    pub(super) tally: Arc<Tally>,
    tasks: JoinSet<anyhow::Result<Latencies>>,
    end: watch::Sender<bool>,
}

/// How much at a time.
#[derive(Debug, Clone)]
pub(super) struct Size {
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    pub(super) selector: String,
    pub(super) queue: QueueName,
}

impl Flood {
    /// # Errors
    /// When the node cannot be reached.
    pub(super) async fn begin(kind: Kind, node: &BenchNode, size: &Size) -> anyhow::Result<Self> {
        let tally = Arc::new(Tally::default());
        let (end, ended) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for number in 0..size.connections {
            let channel = node.connect().await?;
            let caller = Caller { channel, tally: tally.clone(), ended: ended.clone() };
            match kind {
                Kind::Registrations => {
                    // Cut off in the middle of its work, it is gone at once with all that it has registered.
                    let session = Session::open_on(caller.channel.clone(), Some(Duration::ZERO)).await?;
                    tasks.spawn(caller.register(session, number));
                }
                Kind::Reads => {
                    for _ in 0..size.in_flight {
                        tasks.spawn(caller.clone().read(size.selector.clone()));
                    }
                }
                Kind::Messages if number % 4 == 0 => {
                    tasks.spawn(caller.consume(size.queue.clone()));
                }
                Kind::Messages => {
                    tasks.spawn(caller.publish(size.queue.clone(), format!("flood-{number}")));
                }
                Kind::Watches => {
                    for _ in 0..UNREAD_STREAMS {
                        tasks.spawn(caller.clone().watch());
                    }
                }
            }
        }
        Ok(Self { kind, tally, tasks, end })
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind.as_str()
    }

    /// Asks no more; how long what was accepted took.
    ///
    /// # Errors
    /// When a caller could not go on.
    pub(super) async fn end(mut self) -> anyhow::Result<Latencies> {
        self.end.send_replace(true);
        let mut latencies = Latencies::new()?;
        while let Some(caller) = self.tasks.join_next().await {
            latencies.add(&caller.context("a caller failed")??)?;
        }
        Ok(latencies)
    }
}

#[derive(Debug, Clone)]
struct Caller {
    channel: Channel,
    tally: Arc<Tally>,
    ended: watch::Receiver<bool>,
}

impl Caller {
    async fn over(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    async fn register(self, mut session: Session, number: u32) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new()?;
        // When each message was handed over; its operations carry its number.
        let mut handed_over: Vec<Instant> = Vec::new();
        let hands = session.hands();
        let mut next = Some(operations(number, 0));
        loop {
            tokio::select! {
                permit = hands.reserve() => {
                    let Ok(permit) = permit else { break };
                    let Some(operations_now) = next.take() else { break };
                    permit.send(operations_now);
                    Tally::add(&self.tally.offered, OPERATIONS.into());
                    handed_over.push(Instant::now());
                    next = Some(operations(number, handed_over.len() as u64));
                }
                results = session.results() => {
                    let Ok(results) = results else { break };
                    let now = Instant::now();
                    for result in results {
                        match result.outcome {
                            Some(Outcome::Active(_)) => {
                                Tally::add(&self.tally.accepted, 1);
                                let since = usize::try_from(result.request_id).ok().and_then(|at| handed_over.get(at));
                                latencies.record(now - *since.context("an answer to what was not asked")?);
                            }
                            Some(Outcome::Refusal(_)) => Tally::add(&self.tally.refused, 1),
                            Some(Outcome::Pending(_) | Outcome::Done(_)) | None => {}
                        }
                    }
                }
                () = self.over() => {
                    // The connection goes with everything that is still on its way.
                    return Ok(latencies);
                }
            }
        }
        Tally::add(&self.tally.ended, 1);
        Ok(latencies)
    }

    async fn read(self, selector: String) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new()?;
        let mut registry = RegistryClient::new(self.channel.clone());
        while !*self.ended.borrow() {
            let since = Instant::now();
            Tally::add(&self.tally.offered, 1);
            let request = v1::ListInstancesRequest { selector: selector.clone(), ..Default::default() };
            match registry.list_instances(request).await {
                Ok(_) => {
                    Tally::add(&self.tally.accepted, 1);
                    latencies.record(since.elapsed());
                }
                Err(status) => {
                    ensure!(v1::Refusal::of_status(&status).is_some(), "a read failed: {}", status.message());
                    Tally::add(&self.tally.refused, 1);
                    tokio::time::sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
        Ok(latencies)
    }

    async fn publish(self, queue: QueueName, producer: String) -> anyhow::Result<Latencies> {
        use v1::publish_result::Outcome;
        use v1::publish_stream_request::Request;
        use v1::publish_stream_response::Response;
        let mut latencies = Latencies::new()?;
        let (requests, outgoing) = mpsc::channel(WAITING);
        let open = v1::OpenPublish { queue: queue.as_str().to_owned(), producer };
        requests.send(v1::PublishStreamRequest { request: Some(Request::Open(open)) }).await?;
        let mut client = QueuesClient::new(self.channel.clone());
        let opening = client.publish_stream(ReceiverStream::new(outgoing)).await.context("open a publishing stream")?;
        let mut responses = opening.into_inner();
        let payload = Bytes::from_static(&[b'x'; 100]);
        let mut handed_over = std::collections::VecDeque::new();
        let mut first_sequence = 1;
        loop {
            tokio::select! {
                permit = requests.reserve() => {
                    let Ok(permit) = permit else { break };
                    let message = v1::QueueMessage { payload: payload.clone(), ..Default::default() };
                    let messages = vec![message; BATCH as usize];
                    let batch = v1::PublishBatch { first_sequence, messages };
                    permit.send(v1::PublishStreamRequest { request: Some(Request::Batch(batch)) });
                    first_sequence += BATCH;
                    Tally::add(&self.tally.offered, BATCH);
                    handed_over.push_back(Instant::now());
                }
                response = responses.message() => {
                    let Ok(Some(response)) = response else { break };
                    let Some(Response::Results(results)) = response.response else { continue };
                    for result in results.results {
                        let since = handed_over.pop_front().context("a result of what was not published")?;
                        match result.outcome {
                            Some(Outcome::Published(published)) => {
                                Tally::add(&self.tally.accepted, published.stored);
                                latencies.record(since.elapsed());
                            }
                            // What follows a batch that was refused is refused as well: from there once more.
                            Some(Outcome::Refusal(_)) => {
                                Tally::add(&self.tally.refused, BATCH);
                                first_sequence = first_sequence.min(result.first_sequence);
                            }
                            None => {}
                        }
                    }
                }
                () = self.over() => return Ok(latencies),
            }
        }
        Tally::add(&self.tally.ended, 1);
        Ok(latencies)
    }

    async fn consume(self, queue: QueueName) -> anyhow::Result<Latencies> {
        let (requests, outgoing) = mpsc::channel(WAITING);
        let open = v1::OpenConsume { queue: queue.as_str().to_owned(), window: Some(4_096), consumer: String::new() };
        requests.send(v1::ConsumeRequest { open: Some(open), ..Default::default() }).await?;
        let mut client = QueuesClient::new(self.channel.clone()).max_decoding_message_size(64 * 1024 * 1024);
        let opening = client.consume(ReceiverStream::new(outgoing)).await.context("open a consuming stream")?;
        let mut responses = opening.into_inner();
        loop {
            let response = tokio::select! {
                response = responses.message() => response,
                () = self.over() => return Latencies::new(),
            };
            let Ok(Some(response)) = response else { break };
            let acknowledge: Vec<u64> = response.deliveries.iter().map(|delivery| delivery.message_id).collect();
            if requests.send(v1::ConsumeRequest { acknowledge, ..Default::default() }).await.is_err() {
                break;
            }
        }
        Tally::add(&self.tally.ended, 1);
        Latencies::new()
    }

    /// Asks for everything, and never reads it.
    async fn watch(self) -> anyhow::Result<Latencies> {
        let (requests, outgoing) = mpsc::channel(WAITING);
        let subscribe = vec![v1::Subscribe { watch_id: 1, ..Default::default() }];
        requests.send(v1::WatchRequest { subscribe, ..Default::default() }).await?;
        Tally::add(&self.tally.offered, 1);
        let mut registry = RegistryClient::new(self.channel.clone());
        match registry.watch(ReceiverStream::new(outgoing)).await {
            Ok(unread) => {
                Tally::add(&self.tally.accepted, 1);
                self.over().await;
                drop(unread);
            }
            Err(_) => Tally::add(&self.tally.refused, 1),
        }
        Latencies::new()
    }
}

/// The instances of one session, each with a weight that it did not have before.
fn operations(session: u32, message: u64) -> v1::SessionRequest {
    let operation = |number: u32| {
        let registration = v1::Registration {
            service: format!("bench/overload-flood/{}", number % 100),
            host: format!("10.1.{}.{}", session / 256, session % 256),
            port: 1 + number,
            kind: v1::Kind::Member.into(),
            weight: Some(u32::try_from(1 + message % 100_000).unwrap_or(1)),
            ..Default::default()
        };
        session::register(message, registration)
    };
    let operations = (0..OPERATIONS).map(operation).collect();
    v1::SessionRequest { request: Some(v1::session_request::Request::Operations(v1::Operations { operations })) }
}
