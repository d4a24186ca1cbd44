//! The process in which a part is measured. It ends with whoever started it.

use anyhow::Context;

use super::super::arguments::measuring_runtime;
use super::answer::{Answer, Errand};
use super::{consumers, producers, registrations, watches};
use crate::commands::bench::node::BenchNode;
use crate::exit::{Ending, Exit};

#[derive(Debug, clap::Args)]
pub(crate) struct ClientWorker {
    /// What it measures, in JSON
    errand: String,
}

/// # Errors
/// When the node cannot be reached, or something is not as it should be.
pub(crate) fn run(worker: &ClientWorker, given: &[String]) -> anyhow::Result<Exit> {
    let wrong = |error| Ending::error(Exit::Usage, format!("{:?} is no errand: {error}", worker.errand));
    let errand: Errand = serde_json::from_str(&worker.errand).map_err(wrong)?;
    let [url] = given else { return Err(Ending::error(Exit::Usage, "name one --server")) };
    // Otherwise the kernel hands out memory by 2 MiB, and what something takes cannot be seen.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay in use");
    }
    let answer = measuring_runtime()?.block_on(measure(errand, BenchNode::Given(url.clone())))?;
    println!("{}", serde_json::to_string(&answer).context("write an answer")?);
    Ok(Exit::Success)
}

async fn measure(errand: Errand, node: BenchNode) -> anyhow::Result<Answer> {
    match errand {
        Errand::Watches { services, instances, changes, idle } => {
            watches::measure(&node, services, instances, changes, idle).await
        }
        Errand::Registrations { instances, idle } => registrations::measure(&node, instances, idle).await,
        Errand::Producers { queue, messages, in_flight, producers, idle } => {
            producers::measure(&node, &queue, messages, in_flight, producers, idle).await
        }
        Errand::Consumers { queue, messages, consumers, idle } => {
            consumers::measure(&node, &queue, messages, consumers, idle).await
        }
    }
}
