//! A watch response whose event groups are encoded already.
//!
//! A group is encoded once and its bytes are shared by every watcher. On the wire a `bytes` field and
//! a message field look the same, so a reader sees a plain `roster.v1.WatchResponse`.

use bytes::Bytes;

/// The wire form of [`crate::v1::WatchResponse`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchResponse {
    #[prost(message, repeated, tag = "1")]
    pub deliveries: Vec<Delivery>,
}

/// The wire form of [`crate::v1::Delivery`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Delivery {
    #[prost(uint64, repeated, tag = "1")]
    pub watch_ids: Vec<u64>,
    /// An encoded [`crate::v1::EventGroup`].
    #[prost(bytes = "bytes", tag = "2")]
    pub group: Bytes,
}
