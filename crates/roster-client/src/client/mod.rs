//! The client: addresses and settings that registrars, watches and calls share.

mod builder;
mod calls;
mod drain;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use roster_core::Selector;
use roster_core::queue::QueueName;

pub use builder::Builder;
pub(crate) use calls::unintelligible;
pub use calls::{CheckOutcome, ServiceSummary};
pub use drain::DrainStream;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::log_follower::LogFollower;
use crate::queue::{ConsumerBuilder, Json, ProducerBuilder, Queues};
use crate::reconnect::BackOff;
use crate::registrar::RegistrarBuilder;
use crate::watch::{Hubs, WatchBuilder};

/// A registry, by the addresses of its nodes. Cheap to clone; connects at first use.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoints: Arc<[Endpoint]>,
    /// The address that answered last.
    preferred: AtomicUsize,
    name: String,
    back_off: BackOff,
    deadline: Duration,
    watch_silence: Duration,
    hubs: Hubs,
}

impl Client {
    /// A client without an address yet.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A registrar, to be started: one session for any number of registrations.
    pub fn registrar(&self) -> RegistrarBuilder {
        RegistrarBuilder::new(self.clone())
    }

    /// A watch, to be started. All watches of a client share one stream.
    pub fn watch(&self, selector: Selector) -> WatchBuilder {
        WatchBuilder::new(self.clone(), selector)
    }

    /// The queues, to be looked at and changed by hand.
    pub fn queues(&self) -> Queues {
        Queues::new(self.clone())
    }

    /// A producer, to be started: it sends each `T` as JSON, unless [another
    /// format](ProducerBuilder::format) is named.
    pub fn producer<T: ?Sized>(&self, queue: QueueName) -> ProducerBuilder<T, Json> {
        ProducerBuilder::new(self.clone(), queue)
    }

    /// A consumer, to be started: it takes each message for JSON of a `T`, unless [another
    /// format](ConsumerBuilder::format) is named.
    pub fn consumer<T>(&self, queue: QueueName) -> ConsumerBuilder<T, Json> {
        ConsumerBuilder::new(self.clone(), queue)
    }

    /// A client with the same settings for another node.
    pub(crate) fn sibling(&self, url: &str) -> Result<Self, Error> {
        let Inner { endpoints, name, back_off, deadline, watch_silence, .. } = &*self.inner;
        let builder = Self::builder().endpoint(url).name(name).back_off(*back_off).deadline(*deadline);
        let builder = builder.watch_silence(*watch_silence);
        match endpoints.first() {
            Some(endpoint) => builder.shared_transport(endpoint.transport().clone()).build(),
            None => builder.build(),
        }
    }

    /// Follows a log of the node, `directory` or `queues`, file by file, for a backup.
    pub fn follow_log(&self, log: impl Into<String>) -> LogFollower {
        LogFollower::new(self.clone(), log.into())
    }

    pub(crate) fn endpoints(&self) -> Arc<[Endpoint]> {
        self.inner.endpoints.clone()
    }

    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn back_off(&self) -> BackOff {
        self.inner.back_off
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.inner.deadline
    }

    pub(crate) fn watch_silence(&self) -> Duration {
        self.inner.watch_silence
    }

    pub(crate) fn hubs(&self) -> &Hubs {
        &self.inner.hubs
    }
}
