//! How messages of a call become bytes and back: as protobuf, in buffers that an idle stream does not feel.
//!
//! tonic's own codec keeps 8 KiB for what goes out and 8 KiB for what comes in, for each stream, from its first
//! moment to its last. Most streams of a node say little and rarely: a watch, a session that answers pings. So the
//! buffers begin small here, and a message that is larger gets its whole room at once, where growing by doubling
//! copied it several times.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// What a stream keeps for what goes out. `bytes` gives a buffer that is still in use elsewhere a successor of the
/// size that it began with, but remembers none below 1 KiB: then each message would begin with a few bytes.
const WRITE_BUFFER_BYTES: usize = 1024;
/// And for what comes in, which comes by the frame and gets room for all of it.
const READ_BUFFER_BYTES: usize = 256;
/// Messages that are ready are sent together up to this, as tonic does it.
const TOGETHER_BYTES: usize = 32 * 1024;

/// Sends `T` and receives `U`.
#[derive(Debug, Clone)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = WholeRoom<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        WholeRoom(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(READ_BUFFER_BYTES, TOGETHER_BYTES))
    }
}

/// Makes room for the whole message before it writes.
#[derive(Debug)]
pub struct WholeRoom<T>(PhantomData<T>);

impl<T: Message> Encoder for WholeRoom<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        // `encode` would ask for the length once more, and there is room.
        message.encode_raw(buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(WRITE_BUFFER_BYTES, TOGETHER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tonic::codec::{EncodeBody, SingleMessageCompressionOverride};
    use tonic::codegen::tokio_stream::{self, Stream};
    use tonic::{Streaming, codegen::Body};

    use super::*;
    use crate::v1;

    type Sessions = SmallBuffers<v1::SessionResponse, v1::SessionResponse>;

    fn farewell(bytes: usize) -> v1::SessionResponse {
        let farewell = v1::Farewell { message: "x".repeat(bytes), ..Default::default() };
        v1::SessionResponse { response: Some(v1::session_response::Response::Farewell(farewell)) }
    }

    fn encoded(messages: Vec<v1::SessionResponse>) -> impl Body<Data = bytes::Bytes, Error = Status> + Send + 'static {
        let source = tokio_stream::iter(messages.into_iter().map(Ok));
        let plain = SingleMessageCompressionOverride::default();
        EncodeBody::new_server(Sessions::default().encoder(), source, None, plain, None)
    }

    #[test]
    fn messages_larger_than_the_buffers_arrive_whole() {
        let messages = [farewell(1), farewell(WRITE_BUFFER_BYTES), farewell(200_000), farewell(0), farewell(70_000)];
        let mut reading =
            pin!(Streaming::new_request(Sessions::default().decoder(), encoded(messages.to_vec()), None, None));
        let mut context = Context::from_waker(Waker::noop());
        for message in messages {
            let Poll::Ready(Some(Ok(read))) = reading.as_mut().poll_next(&mut context) else { panic!("no message") };
            assert_eq!(read, message);
        }
        assert!(matches!(reading.as_mut().poll_next(&mut context), Poll::Ready(None)));
    }

    #[test]
    fn a_large_message_takes_no_more_room_than_it_needs() {
        let message = farewell(100_000);
        let mut body = Box::pin(encoded(vec![message.clone()]));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) else { panic!("nothing") };
        let Ok(bytes) = frame.into_data() else { panic!("no data") };
        drop(body);
        let room = bytes.try_into_mut().expect("nobody else has it").capacity();
        assert!(room <= 5 + message.encoded_len() + WRITE_BUFFER_BYTES, "{room} bytes");
    }
}
