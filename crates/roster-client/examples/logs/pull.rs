//! Pull: a collector connects to each producer that it finds, and reads its ring.

use std::sync::Arc;
use std::time::Duration;

use roster_client::tonic::Lines;
use roster_client::{Connect, ConnectError, Instance};
use tokio::sync::watch;

use super::book::Book;
use super::wire::{Place, follow};
use super::worker::Worker;

/// How long the last lines of a producer that has left may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Makes one stream for each producer, and notes what comes.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) book: Book,
    /// The collector stops when the other end is dropped.
    pub(crate) stop: watch::Receiver<()>,
}

impl Connect for Pull {
    type Client = Worker;

    async fn connect(&self, instance: &Instance) -> Result<Worker, ConnectError> {
        let connection = Lines.connect(instance).await?;
        // Who it is stands in the registry, so that the place can be told with the call.
        let named = instance.registration.metadata.iter().find(|(key, _)| *key == "producer");
        let place = named.map_or_else(Place::default, |(_, producer)| self.book.place(producer));
        let mut batches = follow(&connection, place).await?;
        let (book, mut stop) = (self.book.clone(), self.stop.clone());
        Ok(Worker::start(async move {
            loop {
                tokio::select! {
                    _ = stop.changed() => return Ok(()),
                    batch = batches.message() => match batch? {
                        Some(batch) => drop(book.note(batch)),
                        None => return Ok(()),
                    },
                }
            }
        }))
    }

    async fn closed(&self, worker: &Worker) -> String {
        worker.broken().await
    }

    /// The producer has left, after its last line: that may still be on its way.
    async fn disconnect(&self, _: &Instance, worker: Arc<Worker>) {
        if tokio::time::timeout(LAST_LINES, worker.ended()).await.is_err() {
            eprintln!("a producer has left without the end of its log");
        }
    }
}
