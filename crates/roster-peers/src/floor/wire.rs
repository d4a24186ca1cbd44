//! The one message of the server that does nothing.

use bytes::Bytes;
use prost::Message;
use tonic::transport::{Channel, Endpoint};

use anyhow::Context;

const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

pub(super) const READ: &str = "/floor.Floor/Read";
pub(super) const ECHO: &str = "/floor.Floor/Echo";
pub(super) const WATCH: &str = "/floor.Floor/Watch";

/// Things in one message, as a session or a queue carries them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Batch {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) items: Vec<Bytes>,
    /// Of a push: whom it is for.
    #[prost(uint64, repeated, tag = "2")]
    pub(super) watches: Vec<u64>,
    /// Of a read: how long the answer is to be. Of a push: how many watches each stream has.
    #[prost(uint32, tag = "3")]
    pub(super) wanted: u32,
}

/// A connection of its own.
pub(super) async fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).context("an address is HOST:PORT")?;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES);
    endpoint.connect().await.with_context(|| format!("connect to {address}"))
}
