//! Consumers on all members of a cluster.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use roster_core::InvalidWord;
use roster_core::queue::{QueueName, Settings, Window};

use super::consuming::{Consuming, Tally};
use super::member::QueueCluster;
use crate::cluster::{Cluster, Connect, Member};
use crate::error::Error;
use crate::queue::consumer::{ConsumerCounts, Delivery};
use crate::queue::format::{Decode, Json};

/// What the consumers of a cluster are started with.
#[must_use = "nothing is consumed until it is started"]
pub struct ClusterConsumerBuilder<T, C = Json> {
    members: QueueCluster,
    queue: QueueName,
    create: Option<Settings>,
    concurrency: u32,
    format: PhantomData<fn() -> (T, C)>,
}

impl<T> ClusterConsumerBuilder<T> {
    pub(super) fn new(members: QueueCluster, queue: QueueName) -> Self {
        Self { members, queue, create: None, concurrency: Window::default().messages(), format: PhantomData }
    }
}

impl<T, C> ClusterConsumerBuilder<T, C> {
    /// Another format than JSON.
    pub fn format<D: Decode<T>>(self) -> ClusterConsumerBuilder<T, D> {
        let Self { members, queue, create, concurrency, format: _ } = self;
        ClusterConsumerBuilder { members, queue, create, concurrency, format: PhantomData }
    }

    /// Gets or creates the queue with these settings at each member. Without this a member that does not
    /// have it is tried again and again.
    pub fn create(mut self, settings: Settings) -> Self {
        self.create = Some(settings);
        self
    }

    /// How many messages of each member are worked on at a time: 256 by default, from 1 to 65 536.
    ///
    /// # Errors
    /// [`Error::InvalidWord`] when out of that range.
    pub fn concurrency(mut self, messages: u32) -> Result<Self, Error> {
        if messages == 0 {
            let why = "it is at least 1".to_owned();
            return Err(InvalidWord { what: "concurrency", text: "0".to_owned(), why }.into());
        }
        self.concurrency = Window::of_messages(messages)?.messages();
        Ok(self)
    }

    /// Consumes at every member from here on, and at each that joins; the handler is as that of
    /// [`ConsumerBuilder::start`](crate::queue::ConsumerBuilder::start).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<H, F, E>(self, handler: H) -> ClusterConsumer
    where
        T: Send + 'static,
        C: Decode<T>,
        H: Fn(Delivery<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let Self { members: QueueCluster { registry, service }, queue, create, concurrency, format } = self;
        let tally = Tally::default();
        let connector = Consuming::<T, C, H> {
            registry: registry.clone(),
            queue,
            create,
            concurrency,
            handler: Arc::new(handler),
            tally: tally.clone(),
            format,
        };
        let cluster = registry.cluster_of(service, connector).build();
        // Begins to connect.
        let _ = cluster.members();
        ClusterConsumer { members: Box::new(cluster), tally }
    }
}

impl<T, C> fmt::Debug for ClusterConsumerBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConsumerBuilder").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Works on the messages of all members. When it is dropped its streams end, and what it held is delivered
/// to others at once; [`close`](Self::close) lets handlers finish.
pub struct ClusterConsumer {
    members: Box<dyn Following>,
    tally: Tally,
}

/// A cluster, whatever its handler.
trait Following: Send + Sync {
    fn members(&self) -> Vec<Member>;
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<C: Connect> Following for Cluster<C> {
    fn members(&self) -> Vec<Member> {
        Cluster::members(self)
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Cluster::close(*self))
    }
}

impl ClusterConsumer {
    /// The members, with how far this process has got with each.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.members.members()
    }

    /// What was seen so far at all members.
    #[must_use]
    pub fn counts(&self) -> ConsumerCounts {
        self.tally.counts()
    }

    /// Takes nothing more, lets the handlers finish for at most 3 s, and ends. What they acknowledged is
    /// known for good to those members that can be reached.
    pub async fn close(self) {
        self.members.close().await;
    }
}

impl fmt::Debug for ClusterConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConsumer").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
