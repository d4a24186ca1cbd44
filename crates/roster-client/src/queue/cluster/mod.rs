//! One queue on many nodes: producers and consumers that follow the members of a service.
//!
//! ```no_run
//! use roster_client::queue::{Delivery, QueueName, Settings};
//! use roster_client::Client;
//! use std::convert::Infallible;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().endpoint("http://127.0.0.1:7400").name("shop 2.1").build()?;
//! let members = client.queue_cluster("orders-queue")?;
//! let orders = QueueName::parse("orders")?;
//!
//! let producer = members.producer::<u64>(orders.clone()).create(Settings::default()).start();
//! producer.publish(&7).await?;
//!
//! let consumers = members.consumers::<u64>(orders).create(Settings::default());
//! let consumers = consumers.start(|order: Delivery<u64>| async move {
//!     println!("{}", order.value);
//!     Ok::<(), Infallible>(())
//! });
//! consumers.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Each member is a node that has registered itself (`roster serve --join`) and keeps a part of the
//! messages. A producer publishes to one member at a time; what a member that went away did not answer is
//! published to another, so a message may be done twice and is never lost. Consumers work on all members,
//! also on one that drains, until it has left.

mod consumer;
mod consuming;
mod member;
mod pending;
mod producer;
mod producing;

pub use consumer::{ClusterConsumer, ClusterConsumerBuilder};
pub use member::QueueCluster;
pub use pending::{ClusterPending, ClusterReceipt};
pub use producer::{ClusterProducer, ClusterProducerBuilder};
