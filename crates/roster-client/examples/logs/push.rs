//! Push: a producer connects to each collector that it finds, and brings its ring there.

use roster_client::tonic::Lines;
use roster_client::{Connect, ConnectError, Instance};
use tokio::sync::watch;

use super::ring::Ring;
use super::wire::{Batch, append};
use super::worker::Worker;

/// Makes one worker for each collector.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) ring: Ring,
    /// Whoever holds the other end waits until no worker has it any more.
    pub(crate) busy: watch::Receiver<()>,
}

impl Connect for Push {
    type Client = Worker;

    async fn connect(&self, instance: &Instance) -> Result<Worker, ConnectError> {
        let connection = Lines.connect(instance).await?;
        let (mut ring, busy) = (self.ring.clone(), self.busy.clone());
        // Nothing yet: the collector answers up to where it has this run.
        let mut place = append(&connection, Batch { lines: Vec::new(), ..ring.after(u64::MAX) }).await?;
        Ok(Worker::start(async move {
            loop {
                let batch = ring.after(ring.resume(&place));
                if !batch.lines.is_empty() {
                    place = append(&connection, batch).await?;
                } else if !ring.grown().await {
                    drop(busy);
                    return Ok(());
                }
            }
        }))
    }

    async fn closed(&self, worker: &Worker) -> String {
        worker.broken().await
    }
}
