//! Queues: publish what must not be lost, and work on it.
//!
//! ```no_run
//! use std::time::Duration;
//! use roster_client::queue::{Delivery, QueueName, Retry, Settings};
//! use roster_client::Client;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { number: u64 }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().endpoint("http://127.0.0.1:7400").name("orders 1.4.2").build()?;
//! let orders = QueueName::parse("orders")?;
//!
//! // Publish: returns when the order survives a crash of the node.
//! let producer = client.producer::<Order>(orders.clone()).create(Settings::default()).start();
//! producer.publish(&Order { number: 1 }).await?;
//! // Or do not wait for each: this returns as soon as there is room.
//! let pending = producer.publish_soon(&Order { number: 2 }).await?;
//! println!("{:?}", pending.await?);
//! producer.close(Duration::from_secs(5)).await?;
//!
//! // Work: done when the handler returns `Ok`, and delivered again when it does not.
//! let consumer = client.consumer::<Order>(orders).concurrency(16)?.start(|order: Delivery<Order>| async move {
//!     if order.value.number == 0 {
//!         return Err(Retry::after(Duration::from_secs(60), "the warehouse is closed"));
//!     }
//!     Ok(())
//! });
//! consumer.close(Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each message is done at least once. It may be done twice: when a handler was done and the node did
//! not hear of it in time, or when a producer goes on under another id ([`ProducerBuilder::id`]).
//!
//! [`Raw`] sends and takes bytes as they are: `client.producer::<Bytes>(queue).format::<Raw>()`.
//! [`ConsumerBuilder::pull`] is for who fetches messages by himself, [`Queues`] for what is done by hand.

mod calls;
mod cluster;
mod consumer;
mod dialog;
mod failure;
mod format;
mod link;
mod producer;
mod standing;

pub use calls::{Content, Creation, Messages, MessagesQuery, Moved, Queues, SettingsChange, Stored};
pub use cluster::{
    ClusterConsumer, ClusterConsumerBuilder, ClusterPending, ClusterProducer, ClusterProducerBuilder, ClusterReceipt,
    QueueCluster,
};
pub use consumer::{Claim, Consumer, ConsumerBuilder, ConsumerCounts, Delivery, PullConsumer, Retry};
pub use format::{Decode, Encode, Json, Raw};
pub use link::Link;
pub use producer::{Fate, Pending, Producer, ProducerBuilder, Receipt, Unpublished};
pub use roster_core::queue::{
    Contents, DeadLetters, Message, MessageId, ProducerId, QueueName, SettingDifferences, SettingOutOfRange, Settings,
};
pub use standing::{KeptMessage, QueueStatus, QueueTotals};

#[cfg(feature = "bench")]
pub(crate) mod hot_paths {
    pub use super::consumer::hot_path::Consumed;
    pub use super::producer::hot_path::Published;
}
