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
    #[prost(fixed64, tag = "2")]
    pub epoch: u64,
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

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::v1;

    #[test]
    fn a_response_with_encoded_groups_reads_as_a_plain_one() {
        let event = v1::Event { event: Some(v1::event::Event::Loaded(v1::Loaded {})) };
        let group = v1::EventGroup { position: 7, events: vec![event] };
        let plain = v1::WatchResponse {
            deliveries: vec![v1::Delivery { watch_ids: vec![1, 300], group: Some(group.clone()) }],
            epoch: 5,
        };
        let encoded = WatchResponse {
            deliveries: vec![Delivery { watch_ids: vec![1, 300], group: group.encode_to_vec().into() }],
            epoch: 5,
        };
        assert_eq!(encoded.encode_to_vec(), plain.encode_to_vec());
        assert_eq!(v1::WatchResponse::decode(encoded.encode_to_vec().as_slice()).unwrap(), plain);
    }
}
