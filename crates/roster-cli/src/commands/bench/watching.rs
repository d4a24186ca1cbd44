//! A bare watch stream that only waits until its watches are whole.

use anyhow::{Context, bail};
use roster_proto::v1;
use roster_proto::v1::event::Event;
use roster_proto::v1::registry_client::RegistryClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Subscriptions in one message.
const SUBSCRIPTIONS: usize = 5_000;

#[derive(Debug)]
pub(super) struct Watching {
    requests: mpsc::Sender<v1::WatchRequest>,
    responses: Streaming<v1::WatchResponse>,
    watches: u64,
    /// How many instances its watches were told of.
    pub(super) known: u64,
}

impl Watching {
    /// Returns when the state of every watch is whole.
    ///
    /// # Errors
    /// When the node cannot be reached, or refuses a watch.
    pub(super) async fn open(channel: Channel, selectors: Vec<String>) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(4);
        let mut registry = RegistryClient::new(channel);
        // The node answers when the first request is there.
        let first = selectors.len().min(SUBSCRIPTIONS);
        let (first, rest) = selectors.split_at(first);
        requests.send(request(0, first)).await.context("open a watch")?;
        let responses = registry.watch(ReceiverStream::new(outgoing)).await.context("open a watch")?.into_inner();
        let mut watching = Self { requests, responses, watches: first.len() as u64, known: 0 };
        watching.loaded(first.len() as u64).await?;
        watching.subscribe(rest.to_vec()).await?;
        Ok(watching)
    }

    /// Returns when the state of every one of these is whole too.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) async fn subscribe(&mut self, selectors: Vec<String>) -> anyhow::Result<()> {
        for selectors in selectors.chunks(SUBSCRIPTIONS) {
            self.requests.send(request(self.watches, selectors)).await.context("the watch has ended")?;
            self.watches += selectors.len() as u64;
            self.loaded(selectors.len() as u64).await?;
        }
        Ok(())
    }

    /// The next events, each with the number of watches that it is for.
    ///
    /// # Errors
    /// When the stream ends, or a watch is refused.
    pub(super) async fn events(&mut self) -> anyhow::Result<Vec<(u64, Event)>> {
        let response = self.responses.message().await.context("a watch has ended")?.context("a watch has ended")?;
        let mut events = Vec::new();
        for delivery in response.deliveries {
            let count = match delivery.watch_ids.len() as u64 {
                0 => self.watches,
                count => count,
            };
            for event in delivery.group.unwrap_or_default().events.into_iter().filter_map(|event| event.event) {
                if let Event::Refused(refusal) = &event {
                    bail!("a watch was refused: {}", refusal.message);
                }
                events.push((count, event));
            }
        }
        Ok(events)
    }

    async fn loaded(&mut self, watches: u64) -> anyhow::Result<()> {
        let mut loaded = 0;
        while loaded < watches {
            for (count, event) in self.events().await? {
                match event {
                    Event::Loaded(_) => loaded += count,
                    Event::Up(_) => self.known += count,
                    Event::Reset(_)
                    | Event::Bookmark(_)
                    | Event::Suspect(_)
                    | Event::Changed(_)
                    | Event::Draining(_)
                    | Event::MainChanged(_)
                    | Event::Replaced(_)
                    | Event::Removed(_)
                    | Event::Refused(_) => {}
                }
            }
        }
        Ok(())
    }
}

fn request(first: u64, selectors: &[String]) -> v1::WatchRequest {
    let subscribe = (first + 1..).zip(selectors).map(|(watch_id, selector)| v1::Subscribe {
        watch_id,
        selector: selector.clone(),
        ..Default::default()
    });
    v1::WatchRequest { subscribe: subscribe.collect(), ..Default::default() }
}
