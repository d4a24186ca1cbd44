//! The load of the workloads on a server that does nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::server::Child;
use super::wire::{self, Batch, ECHO, READ, WATCH};
use crate::measured::{Latencies, Measured};
use crate::process;

const PATIENCE: Duration = Duration::from_secs(120);
/// Of unary calls.
const CONNECTIONS: u32 = 64;
const IN_FLIGHT: u32 = 8;
/// Pushes a second.
const RATE: u32 = 20;
/// What is told of a changed instance.
const EVENT_BYTES: usize = 120;

/// Both directions of a stream.
struct Line {
    requests: mpsc::Sender<Batch>,
    answers: Streaming<Batch>,
}

impl Line {
    async fn open(channel: Channel, path: &'static str) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(4);
        let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        grpc.ready().await.context("wait for the connection")?;
        let codec = ProstCodec::<Batch, Batch>::default();
        let path = PathAndQuery::from_static(path);
        let answers = grpc.streaming(Request::new(ReceiverStream::new(outgoing)), path, codec).await;
        Ok(Self { requests, answers: answers.context("open a stream")?.into_inner() })
    }

    async fn send(&self, batch: Batch) -> anyhow::Result<()> {
        self.requests.send(batch).await.context("a stream has ended")
    }

    async fn next(&mut self) -> anyhow::Result<Batch> {
        self.answers.message().await.context("a stream has ended")?.context("a stream has ended")
    }
}

/// Items on streams, so many in flight on each: what was answered in one message is replaced in the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Echo {
    pub(super) name: &'static str,
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    pub(super) bytes: usize,
}

impl Echo {
    pub(super) async fn run(self, measured: Measured, server: &Child, items: u32) -> anyhow::Result<Measured> {
        let mut lines = Vec::new();
        for _ in 0..self.connections {
            lines.push(Line::open(wire::connect(&server.address).await?, ECHO).await?);
        }
        let before = process::cpu(server.pid())?;
        let start = Instant::now();
        let mut lanes = JoinSet::new();
        for (number, line) in (0..).zip(lines) {
            let share = items / self.connections + u32::from(number < items % self.connections);
            lanes.spawn(self.drive(line, share));
        }
        let latencies = gathered(lanes).await?;
        let elapsed = start.elapsed();
        let cpu = process::cpu(server.pid())?.saturating_sub(before);
        ensure!(latencies.count() == u64::from(items), "{} items were answered", latencies.count());
        Ok(told(measured, self.name, elapsed, cpu, &latencies))
    }

    async fn drive(self, mut line: Line, share: u32) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new()?;
        let item = Bytes::from(vec![b'x'; self.bytes]);
        let (mut left, mut under_way) = (share as usize, VecDeque::new());
        let mut room = self.in_flight as usize;
        while left > 0 || !under_way.is_empty() {
            let count = room.min(left);
            if count > 0 {
                let now = Instant::now();
                under_way.extend(std::iter::repeat_n(now, count));
                left -= count;
                line.send(Batch { items: vec![item.clone(); count], ..Batch::default() }).await?;
            }
            room = line.next().await?.items.len();
            let now = Instant::now();
            for since in under_way.drain(..room.min(under_way.len())) {
                latencies.record(now - since);
            }
        }
        Ok(latencies)
    }
}

/// Calls that are answered with so many bytes.
pub(super) async fn unary(measured: Measured, server: &Child, requests: u32, bytes: usize) -> anyhow::Result<Measured> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(wire::connect(&server.address).await?);
    }
    let before = process::cpu(server.pid())?;
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    let step = CONNECTIONS * IN_FLIGHT;
    for lane in 0..step {
        let channel = channels[(lane % CONNECTIONS) as usize].clone();
        lanes.spawn(async move {
            let mut latencies = Latencies::new()?;
            let mut grpc = Grpc::new(channel);
            for _ in (lane..requests).step_by(step as usize) {
                let called = Instant::now();
                grpc.ready().await.context("wait for the connection")?;
                let request = Batch { wanted: u32::try_from(bytes)?, ..Batch::default() };
                let codec = ProstCodec::<Batch, Batch>::default();
                let answer = grpc.unary(Request::new(request), PathAndQuery::from_static(READ), codec).await;
                let answer = answer.context("read")?.into_inner();
                latencies.record(called.elapsed());
                ensure!(answer.items.iter().map(Bytes::len).sum::<usize>() == bytes, "a short answer");
            }
            anyhow::Ok(latencies)
        });
    }
    let latencies = gathered(lanes).await?;
    let elapsed = start.elapsed();
    let cpu = process::cpu(server.pid())?.saturating_sub(before);
    Ok(told(measured, "unary", elapsed, cpu, &latencies))
}

/// A message to each of 64 connections at a time, with the numbers of the watches that it is for.
pub(super) async fn push(measured: Measured, server: &Child, watchers: u32, pushes: u32) -> anyhow::Result<Measured> {
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        lines.push(Line::open(wire::connect(&server.address).await?, WATCH).await?);
    }
    let before = process::cpu(server.pid())?;
    let interval = Duration::from_secs(1) / RATE;
    let start = Instant::now() + interval;
    let mut asking = Vec::new();
    let mut lanes = JoinSet::new();
    for mut line in lines {
        asking.push(line.requests.clone());
        lanes.spawn(async move {
            let mut latencies = Latencies::new()?;
            for push in 0..pushes {
                let told = line.next().await?;
                let late = Instant::now().saturating_duration_since(start + interval * push);
                (0..told.watches.len()).for_each(|_| latencies.record(late));
            }
            anyhow::Ok(latencies)
        });
    }
    let first = asking.first().context("no stream")?.clone();
    let item = Bytes::from(vec![b'x'; EVENT_BYTES]);
    for push in 0..pushes {
        tokio::time::sleep_until((start + interval * push).into()).await;
        let batch = Batch { items: vec![item.clone()], wanted: watchers.div_ceil(CONNECTIONS), ..Batch::default() };
        first.send(batch).await.context("a stream has ended")?;
    }
    let latencies = gathered(lanes).await?;
    let cpu = process::cpu(server.pid())?.saturating_sub(before);
    let name = format!("push_{watchers}");
    let each = cpu.as_secs_f64() * 1e6 / latencies.count() as f64;
    Ok(measured.figure(format!("{name}_cpu_us"), each).times(&name, &latencies))
}

/// What a connection with an open stream keeps in the memory of the server.
pub(super) async fn connected(
    measured: Measured,
    server: &Child,
    idle: u64,
    connections: u32,
) -> anyhow::Result<Measured> {
    let mut lines = Vec::new();
    for _ in 0..connections {
        let mut line = Line::open(wire::connect(&server.address).await?, ECHO).await?;
        line.send(Batch { items: vec![Bytes::from_static(b"hello")], ..Batch::default() }).await?;
        line.next().await?;
        lines.push(line);
    }
    let resident = process::settled_bytes(server.pid()).await?;
    let each = (resident as f64 - idle as f64) / f64::from(connections);
    Ok(measured.figure("bytes_per_connection", each))
}

async fn gathered(mut lanes: JoinSet<anyhow::Result<Latencies>>) -> anyhow::Result<Latencies> {
    let gathering = async {
        let mut latencies = Latencies::new()?;
        while let Some(lane) = lanes.join_next().await {
            latencies.add(&lane.context("a lane failed")??)?;
        }
        Ok(latencies)
    };
    tokio::time::timeout(PATIENCE, gathering).await.context("not all was answered in time")?
}

fn told(measured: Measured, name: &str, elapsed: Duration, cpu: Duration, latencies: &Latencies) -> Measured {
    let count = latencies.count() as f64;
    measured
        .figure(format!("{name}_per_second"), count / elapsed.as_secs_f64())
        .figure(format!("{name}_cpu_us"), cpu.as_secs_f64() * 1e6 / count)
        .times(name, latencies)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_does_nothing_answers_each_item_and_pushes_to_every_stream() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(super::super::server::accept(listener));
        let mut echo = Line::open(wire::connect(&address).await.unwrap(), ECHO).await.unwrap();
        echo.send(Batch { items: vec![Bytes::from_static(b"a"); 3], ..Batch::default() }).await.unwrap();
        assert_eq!(echo.next().await.unwrap().items.len(), 3);
        let mut one = Line::open(wire::connect(&address).await.unwrap(), WATCH).await.unwrap();
        let mut other = Line::open(wire::connect(&address).await.unwrap(), WATCH).await.unwrap();
        one.send(Batch { wanted: 5, ..Batch::default() }).await.unwrap();
        assert_eq!(one.next().await.unwrap().watches.len(), 5);
        assert_eq!(other.next().await.unwrap().watches.len(), 5);
    }
}
