//! `roster bench restart`: a full node is killed and started again; when does it answer in full?
//!
//! Time begins with the start of the process. The node has answered in full when it counts every instance
//! and lists a whole service; then all are listed, page by page, and every session that owned them returns
//! and is told what is its own. Whatever is not there by then was lost.

use std::time::Instant;

use anyhow::{Context, ensure};
use roster_proto::v1;
use roster_proto::v1::registry_client::RegistryClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::cost::Cost;
use super::latencies::Latencies;
use super::node::{BenchNode, Grounds};
use super::progress;
use super::registering::{self, Facts, Population};
use super::session::Session;
use crate::render::{Figure, Measured};

const PREFIX: &str = "bench/restart-";
const CONNECTIONS: u32 = 64;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster bench restart
  roster bench restart --instances 1000000 --rounds 5
  roster bench restart --own-data-dir /var/lib --output json

Starts a node of its own, fills it, and kills and starts it as many times as there are rounds. It counts
every instance after each start, and lets the sessions return: lost instances are an error. Lines of
--output text: a name and a value; a name, a count, and the median, the 99th percentile and the maximum in
microseconds.")]
pub(crate) struct RestartLoad {
    /// How many instances are registered
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    instances: u32,
    /// Over how many services
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    services: u32,
    /// How many times the node is killed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
}

pub(super) async fn run(load: &RestartLoad, grounds: Grounds<'_>) -> anyhow::Result<Measured> {
    let mut node = BenchNode::Own(Box::new(grounds.start(&[]).await?));
    let services = load.services.min(load.instances);
    let population = Population { prefix: PREFIX, first: 0, instances: load.instances, services, facts: Facts::Bare };
    let bar = progress::bar("registering", load.instances.into());
    let registered = population.register(registering::sessions(&node, CONNECTIONS).await?, 200, &bar).await?;
    bar.finish_and_clear();
    let mut sessions = registered.sessions;

    let (mut serving, mut answered) = (Latencies::new()?, Latencies::new()?);
    let (mut read, mut returned) = (Latencies::new()?, Latencies::new()?);
    let mut resident = None;
    let bar = progress::bar("restarting", load.rounds.into());
    for _ in 0..load.rounds {
        let names: Vec<_> = sessions.iter().map(Session::name).collect();
        let start = kill_and_start(&mut node).await?;
        serving.record(start.elapsed());
        drop(sessions);

        let client = node.client()?;
        let status = client.status().await.context("ask for the status of the node")?;
        ensure!(status.instances == u64::from(load.instances), "{} instances after the start", status.instances);
        let channel = node.connect().await?;
        let of_one = load.instances / services + u32::from(!load.instances.is_multiple_of(services));
        let listed = list(channel.clone(), &format!("{PREFIX}0")).await?;
        ensure!(listed == u64::from(of_one), "{listed} instances of the first service, not {of_one}");
        answered.record(start.elapsed());

        let listed = list(channel, "").await?;
        ensure!(listed == u64::from(load.instances), "{listed} instances are listed after the start");
        read.record(start.elapsed());

        sessions = come_back(&node, names, load.instances).await?;
        returned.record(start.elapsed());
        resident = Cost::take(&client, node.url()).await?.resident_bytes();
        bar.inc(1);
    }
    bar.finish_and_clear();

    let mut figures = vec![
        Figure::count("instances", load.instances.into()),
        Figure::count("services", services.into()),
        Figure::count("rounds", load.rounds.into()),
        Figure::count("instances_lost", 0),
    ];
    if let Some(bytes) = resident {
        figures.push(Figure::count("node_resident_bytes", bytes));
    }
    let latencies = vec![
        serving.percentiles("start_to_serving"),
        answered.percentiles("start_to_full_answer"),
        read.percentiles("start_to_all_read"),
        returned.percentiles("start_to_all_sessions_back"),
    ];
    Ok(Measured { workload: "restart", figures, latencies })
}

/// When the new process was started; returns when it serves.
async fn kill_and_start(node: &mut BenchNode) -> anyhow::Result<Instant> {
    node.kill().await?;
    let start = Instant::now();
    node.start_again().await?;
    Ok(start)
}

/// How many instances are listed.
pub(super) async fn list(channel: Channel, selector: &str) -> anyhow::Result<u64> {
    let mut registry = RegistryClient::new(channel).max_decoding_message_size(64 * 1024 * 1024);
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request = v1::ListInstancesRequest { selector: selector.to_owned(), page_size: 1_000, page_token };
        let page = registry.list_instances(request).await.context("list instances")?.into_inner();
        listed += page.instances.len() as u64;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(listed);
        }
    }
}

/// Resumes every session; together they must own everything.
async fn come_back(node: &BenchNode, names: Vec<super::session::Name>, instances: u32) -> anyhow::Result<Vec<Session>> {
    let mut coming = JoinSet::new();
    let node = std::sync::Arc::new(BenchNode::Given(node.url().to_owned()));
    for name in names {
        let node = node.clone();
        coming.spawn(async move { Session::resume(&node, name).await });
    }
    let (mut sessions, mut owned) = (Vec::new(), 0);
    while let Some(session) = coming.join_next().await {
        let (session, instances) = session.context("a session failed")??;
        owned += instances.len();
        sessions.push(session);
    }
    ensure!(owned == instances as usize, "the sessions own {owned} instances after the start, not {instances}");
    Ok(sessions)
}
