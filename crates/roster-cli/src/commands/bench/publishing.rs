//! Messages on their way into a queue, as the SDK publishes them, over connections of their own.
//!
//! Without a rate each connection keeps its part of the messages in flight, and a message is timed from
//! its hand-over. With one, messages are due at fixed times and timed from there, whatever became of those
//! before: what waits because the node is slow counts in full.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Polling, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use indicatif::ProgressBar;
use roster_client::queue::{Pending, Producer, QueueName, Raw};
use tokio::task::JoinSet;

use super::latencies::Latencies;
use super::node::BenchNode;

/// A message begins with the time when it was published; the rest is filled up.
pub(super) const BYTES_MIN: usize = 8;
/// How long the last receipts may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is published, of all connections together.
#[derive(Debug, Clone)]
pub(super) struct Publications {
    pub(super) queue: QueueName,
    pub(super) messages: u64,
    pub(super) bytes: usize,
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    /// Messages a second.
    pub(super) rate: Option<u32>,
}

impl Publications {
    /// Connects, publishes all of it, and waits for every receipt. `start` is when the clock of the
    /// messages began.
    ///
    /// # Errors
    /// When the node cannot be reached, or refuses a message.
    pub(super) async fn publish(
        &self,
        producers: &Producers,
        start: Instant,
        bar: &ProgressBar,
    ) -> anyhow::Result<Latencies> {
        let connections = u64::from(self.connections);
        let mut lanes = JoinSet::new();
        for (number, producer) in (0..).zip(&producers.0) {
            let lane = Lane {
                producer: producer.clone(),
                left: self.messages / connections + u64::from(number < self.messages % connections),
                in_flight: (self.in_flight / self.connections).max(1) as usize,
                pace: self.rate.map(|rate| Pace::new(start, number, connections, rate)),
                payload: vec![b'x'; self.bytes.saturating_sub(BYTES_MIN)],
                start,
                waiting: VecDeque::new(),
                latencies: Latencies::new()?,
            };
            lanes.spawn(lane.run(bar.clone()));
        }
        let mut latencies = Latencies::new()?;
        while let Some(lane) = lanes.join_next().await {
            latencies.add(&lane.context("a publisher failed")??)?;
        }
        ensure!(latencies.count() == self.messages, "{} messages were published", latencies.count());
        Ok(latencies)
    }
}

/// One for each connection.
#[derive(Debug)]
pub(super) struct Producers(Vec<Producer<Bytes, Raw>>);

impl Producers {
    /// # Errors
    /// When the node cannot be reached, or does not have the queue.
    pub(super) async fn connect(node: &BenchNode, publications: &Publications) -> anyhow::Result<Self> {
        let mut producers = Vec::new();
        for _ in 0..publications.connections {
            let producer = node.client()?.producer::<Bytes>(publications.queue.clone()).format::<Raw>().start();
            producer.last_sequence().await.context("begin to publish")?;
            producers.push(producer);
        }
        Ok(Self(producers))
    }

    /// # Errors
    /// When something was not stored.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        for producer in self.0 {
            producer.close(PATIENCE).await.context("end publishing")?;
        }
        Ok(())
    }
}

/// When the messages of one connection are due.
#[derive(Debug)]
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    fn new(start: Instant, number: u64, connections: u64, rate: u32) -> Self {
        let each = |messages: u64| Duration::from_secs_f64(messages as f64 / f64::from(rate));
        Self { next: start + each(number), interval: each(connections) }
    }

    /// The next one that is due by then.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        (due <= now).then(|| {
            self.next += self.interval;
            due
        })
    }
}

/// What one connection publishes.
struct Lane {
    producer: Producer<Bytes, Raw>,
    left: u64,
    in_flight: usize,
    pace: Option<Pace>,
    payload: Vec<u8>,
    start: Instant,
    waiting: VecDeque<(Instant, Pending)>,
    latencies: Latencies,
}

impl Lane {
    async fn run(mut self, bar: ProgressBar) -> anyhow::Result<Latencies> {
        while self.left > 0 || !self.waiting.is_empty() {
            let next = self.hand_over().await?;
            let answered = match next {
                Some(next) => tokio::select! {
                    answered = poll_fn(|context| self.poll_answered(context)), if !self.waiting.is_empty() => answered?,
                    () = tokio::time::sleep_until(next.into()) => 0,
                },
                None => poll_fn(|context| self.poll_answered(context)).await?,
            };
            bar.inc(answered);
        }
        Ok(self.latencies)
    }

    /// Hands over what may be. Returns when the next one is due, when it has such a time.
    async fn hand_over(&mut self) -> anyhow::Result<Option<Instant>> {
        let now = Instant::now();
        while self.left > 0 {
            let since = match &mut self.pace {
                Some(pace) => match pace.due(now) {
                    Some(due) => due,
                    None => return Ok(Some(pace.next)),
                },
                None if self.waiting.len() < self.in_flight => now,
                None => break,
            };
            let payload = payload(self.start, since, &self.payload);
            self.waiting.push_back((since, self.producer.publish_soon(&payload).await.context("publish")?));
            self.left -= 1;
        }
        Ok(None)
    }

    /// How many more have their receipt; at least one when something is awaited.
    fn poll_answered(&mut self, context: &mut Polling<'_>) -> Poll<anyhow::Result<u64>> {
        let mut answered = 0;
        let mut now = None;
        while let Some((since, pending)) = self.waiting.front_mut() {
            match Pin::new(pending).poll(context) {
                Poll::Ready(receipt) => receipt.context("publish")?,
                Poll::Pending if answered > 0 => break,
                Poll::Pending => return Poll::Pending,
            };
            self.latencies.record(*now.get_or_insert_with(Instant::now) - *since);
            self.waiting.pop_front();
            answered += 1;
        }
        Poll::Ready(Ok(answered))
    }
}

fn payload(start: Instant, since: Instant, filling: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(BYTES_MIN + filling.len());
    payload.put_u64_le(u64::try_from((since - start).as_micros()).unwrap_or(u64::MAX));
    payload.put_slice(filling);
    payload.freeze()
}

/// When a message was published, or was to be.
pub(super) fn published_at(start: Instant, mut payload: &[u8]) -> anyhow::Result<Instant> {
    let micros = payload.split_off(..BYTES_MIN).context("a message that the benchmark did not publish")?;
    let micros = u64::from_le_bytes(micros.try_into().context("a short time")?);
    Ok(start + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_when_it_was_due() {
        let start = Instant::now();
        let due = start + Duration::from_micros(123_456);
        let payload = payload(start, due, &[b'x'; 92]);
        assert_eq!((payload.len(), published_at(start, &payload).unwrap()), (100, due));
        assert!(published_at(start, b"short").is_err());
    }

    #[test]
    fn messages_are_due_whether_or_not_those_before_were_answered() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 1, 2, 10);
        let now = start + Duration::from_millis(550);
        let due: Vec<_> = std::iter::from_fn(|| pace.due(now)).map(|due| (due - start).as_millis()).collect();
        assert_eq!(due, [100, 300, 500]);
    }
}
