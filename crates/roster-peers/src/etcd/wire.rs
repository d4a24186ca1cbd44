//! The few messages of etcd's API that the workloads need, with the numbers of its published protocol
//! (`etcdserverpb`, version 3), and the calls that carry them.

use anyhow::Context;
use http::uri::PathAndQuery;
use prost::{Enumeration, Message, Oneof};
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// Answers with many keys are larger than what a client takes by default.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) limit: i64,
    #[prost(bool, tag = "9")]
    pub(super) count_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    pub(super) more: bool,
    #[prost(int64, tag = "4")]
    pub(super) count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

/// Whatever it says, the keys are put.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrantResponse {
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
    #[prost(int64, tag = "3")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseKeepAliveRequest {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseKeepAliveResponse {
    #[prost(int64, tag = "3")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchRequest {
    #[prost(oneof = "WatchRequestUnion", tags = "1")]
    pub(super) request: Option<WatchRequestUnion>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum WatchRequestUnion {
    #[prost(message, tag = "1")]
    Create(WatchCreateRequest),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchResponse {
    #[prost(bool, tag = "3")]
    pub(super) created: bool,
    #[prost(bool, tag = "4")]
    pub(super) canceled: bool,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(enumeration = "EventType", tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) kv: Option<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum EventType {
    Put = 0,
    Delete = 1,
}

pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";

/// A connection of its own.
pub(super) async fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).context("an address is HOST:PORT")?;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES);
    endpoint.connect().await.with_context(|| format!("connect to {address}"))
}

/// The end of the range of all keys that begin with this.
pub(super) fn range_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

async fn unary<Q, A>(channel: Channel, path: &'static str, request: Q) -> anyhow::Result<A>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    grpc.ready().await.context("wait for the connection")?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = grpc.unary(Request::new(request), PathAndQuery::from_static(path), codec).await;
    Ok(answer.with_context(|| format!("call {path}"))?.into_inner())
}

async fn streaming<Q, A>(
    channel: Channel,
    path: &'static str,
    requests: impl Stream<Item = Q> + Send + 'static,
) -> anyhow::Result<Streaming<A>>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    grpc.ready().await.context("wait for the connection")?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = grpc.streaming(Request::new(requests), PathAndQuery::from_static(path), codec).await;
    Ok(answer.with_context(|| format!("call {path}"))?.into_inner())
}

pub(super) async fn put(channel: Channel, key: String, value: String, lease: i64) -> anyhow::Result<()> {
    let request = PutRequest { key: key.into_bytes(), value: value.into_bytes(), lease };
    unary::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", request).await.map(|_| ())
}

pub(super) async fn range(channel: Channel, request: RangeRequest) -> anyhow::Result<RangeResponse> {
    unary(channel, RANGE, request).await
}

/// A lease of so many seconds, or of the least that the server gives.
pub(super) async fn grant(channel: Channel, ttl: i64) -> anyhow::Result<LeaseGrantResponse> {
    unary(channel, "/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl }).await
}

pub(super) async fn keep_alive(
    channel: Channel,
    requests: impl Stream<Item = LeaseKeepAliveRequest> + Send + 'static,
) -> anyhow::Result<Streaming<LeaseKeepAliveResponse>> {
    streaming(channel, "/etcdserverpb.Lease/LeaseKeepAlive", requests).await
}

pub(super) async fn watch(
    channel: Channel,
    requests: impl Stream<Item = WatchRequest> + Send + 'static,
) -> anyhow::Result<Streaming<WatchResponse>> {
    streaming(channel, "/etcdserverpb.Watch/Watch", requests).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key() {
        assert_eq!(range_end("a/"), b"a0");
    }
}
