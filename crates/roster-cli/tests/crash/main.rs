//! What a node survives, as real processes on a real disk: kills, stalls, full disks, cut networks.
//!
//! Counts are scaled down so that all of it takes less than a minute; the environment scales them up
//! (docs/testing.md). What needs rights that are missing is passed over with a line that says so. Time
//! is real here: each wait is for a state, with a deadline.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "what a test does not expect fails it")]

mod backup;
mod benchmarks;
mod cut_network;
mod damaged_log;
mod full_disk;
mod idle_node;
mod killed_consumer;
mod killed_node;
mod ledger;
mod node;
mod poison;
mod queue_churn;
mod stopped_node;
mod stopped_provider;
mod stuck_watcher;
mod syncs;
mod waiting_messages;
mod wire;

use std::time::Duration;

/// Nothing that a test waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome, or the end of the test when it does not come in time.
async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

/// Waits until a question is answered with yes. For states of which nobody tells.
async fn until<Answer: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> Answer) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, asking).await;
}

/// A number that the environment may scale up.
fn scale(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text:?}")))
}
