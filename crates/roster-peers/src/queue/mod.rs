//! Queues: messages of 100 bytes, published with a bounded number in flight, each acknowledged by the
//! server; and with `--consume`, read and acknowledged by consumers at the same time.

mod jetstream;
mod line;
mod redis;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use crate::measured::{Latencies, Measured};
use crate::process;

const PAYLOAD_BYTES: usize = 100;
/// For all of it.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct QueueLoad {
    #[arg(long)]
    address: String,
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 500_000)]
    messages: u32,
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// Of all connections together
    #[arg(long, default_value_t = 1_024)]
    in_flight: u32,
    #[arg(long)]
    consume: bool,
    #[arg(long, default_value_t = 4)]
    consumers: u32,
}

pub(crate) async fn redis(load: QueueLoad) -> anyhow::Result<Measured> {
    redis::prepare(&load.address).await?;
    measure(load, redis::publish, redis::consume).await
}

pub(crate) async fn jetstream(load: QueueLoad) -> anyhow::Result<Measured> {
    jetstream::prepare(&load.address).await?;
    measure(load, jetstream::publish, jetstream::consume).await
}

/// What one publisher does.
#[derive(Debug, Clone)]
struct Share {
    address: String,
    number: u32,
    messages: u32,
    in_flight: u32,
    /// Payloads say when they were published, counted from here.
    start: Instant,
}

/// What one consumer does, until it has got nothing for a while.
#[derive(Debug, Clone)]
struct Reading {
    address: String,
    number: u32,
    start: Instant,
    /// How many messages there are for all consumers together.
    left: Arc<AtomicU32>,
    /// Microseconds from the start to the last message that any of them took.
    last: Arc<AtomicU64>,
}

impl Reading {
    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// A message came, for the first time.
    fn took(&self, payload: &[u8], latencies: &mut Latencies) -> anyhow::Result<()> {
        let micros = payload.first_chunk().context("a payload that nobody published")?;
        let published = self.start + Duration::from_micros(u64::from_le_bytes(*micros));
        latencies.record(published.elapsed());
        self.last.fetch_max(micros_since(self.start), Ordering::Relaxed);
        self.left.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn payload(start: Instant) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [b'x'; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&micros_since(start).to_le_bytes());
    payload
}

async fn measure<P, C>(
    load: QueueLoad,
    publish: impl Fn(Share) -> P,
    consume: impl Fn(Reading) -> C,
) -> anyhow::Result<Measured>
where
    P: Future<Output = anyhow::Result<Latencies>> + Send + 'static,
    C: Future<Output = anyhow::Result<Latencies>> + Send + 'static,
{
    let before = process::cpu(load.pid)?;
    let start = Instant::now();
    let (mut publishers, mut consumers) = (JoinSet::new(), JoinSet::new());
    for number in 0..load.connections {
        let messages = load.messages / load.connections + u32::from(number < load.messages % load.connections);
        let in_flight = (load.in_flight / load.connections).max(1);
        publishers.spawn(publish(Share { address: load.address.clone(), number, messages, in_flight, start }));
    }
    let (left, last) = (Arc::new(AtomicU32::new(load.messages)), Arc::new(AtomicU64::new(0)));
    if load.consume {
        for number in 0..load.consumers {
            let reading = Reading {
                address: load.address.clone(),
                number,
                start,
                left: Arc::clone(&left),
                last: Arc::clone(&last),
            };
            consumers.spawn(consume(reading));
        }
    }
    let (mut published, mut delivered) = (Latencies::new()?, Latencies::new()?);
    let working = async {
        while let Some(publisher) = publishers.join_next().await {
            published.add(&publisher.context("a publisher failed")??)?;
        }
        while let Some(consumer) = consumers.join_next().await {
            delivered.add(&consumer.context("a consumer failed")??)?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, working).await.context("the messages did not pass in time")??;
    // A consumer learns a while after the last message that it was the last.
    let consumed = Duration::from_micros(last.load(Ordering::Relaxed));
    let elapsed = if load.consume { consumed } else { start.elapsed() };
    let cpu = process::cpu(load.pid)?.saturating_sub(before);
    ensure!(published.count() == u64::from(load.messages), "{} were published", published.count());
    let messages = f64::from(load.messages);
    let measured = Measured::default()
        .figure("per_second", messages / elapsed.as_secs_f64())
        .figure("cpu_us_each", cpu.as_secs_f64() * 1e6 / messages)
        .times("published", &published);
    Ok(if load.consume { measured.times("delivered", &delivered) } else { measured })
}
