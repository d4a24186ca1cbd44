//! One stream to one node, from the moment somebody wants it.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Loss, Opening, Protocol};
use crate::endpoint::Lease;

/// The two directions apart, so that the driver can wait for both.
pub(super) struct Line<P: Protocol> {
    pub(super) endpoint: usize,
    pub(super) lease: Lease,
    pub(super) outgoing: mpsc::Sender<P::Request>,
    pub(super) incoming: Incoming<P::Response>,
}

/// What comes over a line.
pub(super) enum Word<R> {
    Opened,
    Response(R),
}

pub(super) enum Incoming<R> {
    Opening(Opening<R>),
    Open(Box<Streaming<R>>),
}

impl<P: Protocol> Line<P> {
    pub(super) fn open(protocol: &P, endpoint: usize, lease: Lease) -> Self {
        // Room for one: the next message is made when the last has left, of all that gathered meanwhile.
        let (outgoing, requests) = mpsc::channel(1);
        let opening = protocol.open(&lease, ReceiverStream::new(requests));
        Self { endpoint, lease, outgoing, incoming: Incoming::Opening(opening) }
    }
}

impl<R: Send + 'static> Incoming<R> {
    /// The next message. Safe to drop before it is ready.
    pub(super) async fn next(&mut self) -> Result<Word<R>, Loss> {
        match self {
            Self::Opening(opening) => {
                *self = Self::Open(Box::new(opening.await?));
                Ok(Word::Opened)
            }
            Self::Open(stream) => match stream.message().await? {
                Some(response) => Ok(Word::Response(response)),
                None => Err(Loss::new("the node ended the stream")),
            },
        }
    }
}
