//! The members of a cluster of queue nodes, and the way to each.

use roster_core::directory::Instance;
use roster_core::queue::QueueName;
use roster_core::{InvalidWord, ServiceName};
use tokio::sync::watch;

use super::consumer::ClusterConsumerBuilder;
use super::producer::ClusterProducerBuilder;
use crate::client::Client;
use crate::cluster::ConnectError;
use crate::error::Error;
use crate::queue::link::Link;

impl Client {
    /// The nodes that have registered themselves under this name, each with queues of its own.
    ///
    /// # Errors
    /// [`InvalidWord`] when this is not the name of a service.
    pub fn queue_cluster(&self, service: &str) -> Result<QueueCluster, InvalidWord> {
        Ok(QueueCluster { registry: self.clone(), service: ServiceName::parse(service)? })
    }
}

/// Queue nodes that are found by the name of their service. Connects to none by itself.
#[derive(Debug, Clone)]
pub struct QueueCluster {
    pub(super) registry: Client,
    pub(super) service: ServiceName,
}

impl QueueCluster {
    /// The name.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// A producer that follows the members, to be started: it sends each `T` as JSON, unless
    /// [another format](ClusterProducerBuilder::format) is named.
    pub fn producer<T: ?Sized>(&self, queue: QueueName) -> ClusterProducerBuilder<T> {
        ClusterProducerBuilder::new(self.clone(), queue)
    }

    /// A consumer on each member, to be started: it takes each message for JSON of a `T`, unless
    /// [another format](ClusterConsumerBuilder::format) is named.
    pub fn consumers<T>(&self, queue: QueueName) -> ClusterConsumerBuilder<T> {
        ClusterConsumerBuilder::new(self.clone(), queue)
    }
}

/// A client of one member, with the settings of the registry's.
pub(super) fn client_of(registry: &Client, instance: &Instance) -> Result<Client, Error> {
    let address = &instance.registration.address;
    let host = if address.host().contains(':') { format!("[{}]", address.host()) } else { address.host().to_owned() };
    registry.sibling(&format!("http://{host}:{}", address.port()))
}

/// Waits until the first stream stands.
///
/// # Errors
/// Why it does not at present.
pub(super) async fn connected(mut link: watch::Receiver<Link>) -> Result<(), ConnectError> {
    let settled = link.wait_for(|link| !matches!(link, Link::Connecting)).await;
    match settled.as_deref() {
        Ok(Link::Connected { .. }) => Ok(()),
        Ok(Link::Away { why, .. } | Link::Ended { why }) => Err(why.clone().into()),
        Ok(Link::Connecting) | Err(_) => Err("its runtime is gone".into()),
    }
}
