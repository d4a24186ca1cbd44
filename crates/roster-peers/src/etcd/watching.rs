//! One watch stream with any number of watches of one prefix.

use anyhow::{Context, ensure};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::wire::{self, WatchCreateRequest, WatchRequest, WatchRequestUnion, WatchResponse};

#[derive(Debug)]
pub(super) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watching {
    /// Returns when the first watch stands.
    pub(super) async fn open(channel: Channel, prefix: &str) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(64);
        requests.send(create(prefix)).await.context("open a watch")?;
        let responses = wire::watch(channel, ReceiverStream::new(outgoing)).await?;
        let mut watching = Self { requests, responses };
        watching.created(1).await?;
        Ok(watching)
    }

    /// Returns when so many more stand.
    pub(super) async fn more(&mut self, prefixes: impl Iterator<Item = String>) -> anyhow::Result<()> {
        for prefix in prefixes {
            self.requests.send(create(&prefix)).await.context("the watch has ended")?;
            self.created(1).await?;
        }
        Ok(())
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<WatchResponse> {
        let response = self.responses.message().await.context("a watch has ended")?.context("a watch has ended")?;
        ensure!(!response.canceled, "the server ended a watch");
        Ok(response)
    }

    async fn created(&mut self, count: usize) -> anyhow::Result<()> {
        let mut created = 0;
        while created < count {
            created += usize::from(self.next().await?.created);
        }
        Ok(())
    }
}

fn create(prefix: &str) -> WatchRequest {
    let create = WatchCreateRequest { key: prefix.as_bytes().to_vec(), range_end: wire::range_end(prefix) };
    WatchRequest { request: Some(WatchRequestUnion::Create(create)) }
}
