//! Registrations by number, handed over on several sessions at a time.
//!
//! Each session keeps a number of registrations in flight: what was answered in one message is replaced
//! by as many in the next. A registration is timed from when it is handed to the stream until its own
//! acknowledgement is read.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use roster_proto::v1;
use tokio::task::JoinSet;

use super::latencies::Latencies;
use super::node::BenchNode;
use super::session::{self, Session};

/// What an instance says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Facts {
    /// Where it is.
    Bare,
    /// Two tags and two metadata pairs beside.
    Full,
}

/// Instances `first`, `first + 1`, …, spread evenly over services.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    pub(super) prefix: &'static str,
    pub(super) first: u32,
    pub(super) instances: u32,
    pub(super) services: u32,
    pub(super) facts: Facts,
}

#[derive(Debug)]
pub(super) struct Registered {
    pub(super) elapsed: Duration,
    pub(super) latencies: Latencies,
    /// Nobody reads them: see `Standing`.
    pub(super) sessions: Vec<Session>,
}

/// One session on each of so many connections.
///
/// # Errors
/// When one of them is not welcomed.
pub(super) async fn sessions(node: &BenchNode, connections: u32) -> anyhow::Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for _ in 0..connections {
        sessions.push(Session::open(node).await?);
    }
    Ok(sessions)
}

impl Population {
    pub(super) fn registration(&self, number: u32) -> v1::Registration {
        let [_, high, middle, low] = number.to_be_bytes();
        let (tags, metadata) = match self.facts {
            Facts::Bare => (Vec::new(), Vec::new()),
            Facts::Full => {
                let pair = |key: &str, value: String| v1::MetadataEntry { key: key.to_owned(), value };
                let metadata = vec![pair("build", number.to_string()), pair("protocol", "grpc".to_owned())];
                (vec!["blue".to_owned(), "http".to_owned()], metadata)
            }
        };
        v1::Registration {
            service: format!("{}{}", self.prefix, number % self.services),
            host: format!("10.{high}.{middle}.{low}"),
            port: 8080,
            kind: v1::Kind::Member.into(),
            zone: "bench".to_owned(),
            tags,
            metadata,
            ..v1::Registration::default()
        }
    }

    /// Registers all of it; `in_flight` of each session at a time.
    ///
    /// # Errors
    /// When a registration was refused, or a session ended.
    pub(super) async fn register(
        self,
        sessions: Vec<Session>,
        in_flight: u32,
        bar: &ProgressBar,
    ) -> anyhow::Result<Registered> {
        let step = u32::try_from(sessions.len()).context("too many sessions")?;
        let start = Instant::now();
        let mut lanes = JoinSet::new();
        for (lane, session) in (0..).zip(sessions) {
            lanes.spawn(drive(session, Share { population: self, next: lane, step }, in_flight, bar.clone()));
        }
        let mut latencies = Latencies::new()?;
        let mut sessions = Vec::new();
        while let Some(lane) = lanes.join_next().await {
            let (session, lane) = lane.context("a connection failed")??;
            latencies.add(&lane)?;
            sessions.push(session);
        }
        let elapsed = start.elapsed();
        ensure!(latencies.count() == u64::from(self.instances), "{} were acknowledged", latencies.count());
        Ok(Registered { elapsed, latencies, sessions })
    }
}

/// Registers all of its share, `in_flight` at a time.
async fn drive(
    mut session: Session,
    mut share: Share,
    in_flight: u32,
    bar: ProgressBar,
) -> anyhow::Result<(Session, Latencies)> {
    let mut latencies = Latencies::new()?;
    // By request id, which counts from 0.
    let mut handed_over: Vec<Instant> = Vec::new();
    let mut outstanding = 0;
    let mut room = in_flight as usize;
    loop {
        let now = Instant::now();
        let operations: Vec<v1::Operation> = share
            .by_ref()
            .take(room)
            .map(|registration| {
                handed_over.push(now);
                session::register(handed_over.len() as u64 - 1, registration)
            })
            .collect();
        outstanding += operations.len();
        if outstanding == 0 {
            return Ok((session, latencies));
        }
        if !operations.is_empty() {
            session.operate(operations).await?;
        }
        let results = session.results().await?;
        let now = Instant::now();
        for result in &results {
            session::active(result)?;
            let since = usize::try_from(result.request_id).ok().and_then(|index| handed_over.get(index));
            latencies.record(now - *since.context("an answer to what was not asked")?);
        }
        room = results.len();
        outstanding = outstanding.checked_sub(room).context("more answers than questions")?;
        bar.inc(room as u64);
    }
}

/// Every `step`th instance, counted from the first.
#[derive(Debug)]
struct Share {
    population: Population,
    next: u32,
    step: u32,
}

impl Iterator for Share {
    type Item = v1::Registration;

    fn next(&mut self) -> Option<v1::Registration> {
        if self.next >= self.population.instances {
            return None;
        }
        let number = self.population.first + self.next;
        self.next = self.next.saturating_add(self.step);
        Some(self.population.registration(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_connections_are_all_instances_once() {
        let population = Population { prefix: "bench/", first: 5, instances: 1_000, services: 7, facts: Facts::Full };
        let shares = (0..64).flat_map(|next| Share { population, next, step: 64 });
        let mut hosts: Vec<String> = shares.map(|registration| registration.host).collect();
        hosts.sort();
        hosts.dedup();
        assert_eq!(hosts.len(), 1_000);
    }
}
