//! A session request whose registrations are still bytes.
//!
//! Nearly every operation is a registration, and as a message each of its texts would be a string of its own,
//! made only to be looked at. [`parse_register`](crate::convert::parse_register) reads them where they stand.

use bytes::Bytes;

use crate::v1;

/// The wire form of [`v1::SessionRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SessionRequest {
    #[prost(oneof = "Request", tags = "1, 2, 3, 4")]
    pub request: Option<Request>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Request {
    #[prost(message, tag = "1")]
    Hello(v1::Hello),
    #[prost(message, tag = "2")]
    Operations(Operations),
    #[prost(message, tag = "3")]
    Pong(v1::Pong),
    #[prost(message, tag = "4")]
    Goodbye(v1::Goodbye),
}

/// The wire form of [`v1::Operations`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operations {
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<Operation>,
}

/// The wire form of [`v1::Operation`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    #[prost(uint64, tag = "1")]
    pub request_id: u64,
    #[prost(oneof = "SessionOperation", tags = "2, 3, 4")]
    pub operation: Option<SessionOperation>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum SessionOperation {
    #[prost(message, tag = "2")]
    Register(Register),
    #[prost(message, tag = "3")]
    Deregister(v1::Deregister),
    #[prost(message, tag = "4")]
    Drain(v1::DrainInstance),
}

/// The wire form of [`v1::Register`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Register {
    /// An encoded [`v1::Registration`].
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub registration: Option<Bytes>,
    #[prost(uint32, tag = "2")]
    pub handover_ms: u32,
    #[prost(message, optional, tag = "3")]
    pub cutover: Option<v1::Cutover>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_plain_request_reads_as_one_with_encoded_registrations() {
        let registration = v1::Registration { service: "orders".into(), tags: vec!["a".into()], ..Default::default() };
        let cutover = Some(v1::Cutover { policy: Some(v1::cutover::Policy::After(2)) });
        let register = v1::Register { registration: Some(registration.clone()), handover_ms: 5, cutover };
        let operation = v1::operation::Operation::Register(register.clone());
        let operation = v1::Operation { request_id: 7, operation: Some(operation) };
        let operations = v1::session_request::Request::Operations(v1::Operations { operations: vec![operation] });
        let plain = v1::SessionRequest { request: Some(operations) };

        let read = SessionRequest::decode(plain.encode_to_vec().as_slice()).unwrap();
        let Some(Request::Operations(operations)) = &read.request else { panic!("{read:?}") };
        let Some(SessionOperation::Register(read_register)) = &operations.operations[0].operation else {
            panic!("{read:?}")
        };
        assert_eq!(read_register.registration.as_deref(), Some(registration.encode_to_vec().as_slice()));
        assert_eq!((read_register.handover_ms, &read_register.cutover), (5, &register.cutover));
        assert_eq!(read.encode_to_vec(), plain.encode_to_vec());
    }
}
