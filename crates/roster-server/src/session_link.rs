//! The director's end of a session's stream.
//!
//! Answers carry the permits of what they answer, which are given back when the stream has taken them: whoever
//! does not read answers is not read any further, and what it leaves unread is bounded as what it asks is.

use bytes::Bytes;
use roster_proto::v1;
use roster_proto::v1::session_response::Response;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

/// Messages that a stream may leave unread beyond the answers it waits for.
const SPARE_MESSAGES: usize = 256;

/// A message on its way to the stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    response: v1::SessionResponse,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Outgoing {
    /// For the stream, which takes it.
    pub(crate) fn taken(self) -> v1::SessionResponse {
        self.response
    }
}

/// Sends to a session's stream without ever waiting.
#[derive(Debug, Clone)]
pub(crate) struct SessionLink {
    messages: mpsc::Sender<Outgoing>,
    ended: CancellationToken,
    /// Of a session that was opened, for its welcome; empty when it was resumed.
    secret: Bytes,
}

impl SessionLink {
    /// A link and the end that the stream reads. `in_flight` is how many requests may wait for an answer.
    pub(crate) fn new(in_flight: usize, secret: Bytes) -> (Self, mpsc::Receiver<Outgoing>) {
        let (messages, reader) = mpsc::channel(in_flight + SPARE_MESSAGES);
        (Self { messages, ended: CancellationToken::new(), secret }, reader)
    }

    /// Sends one message. A stream that has left so many unread is not read any more: it is ended, and the
    /// session goes on when its process resumes it.
    pub(crate) fn send(&self, response: Response) {
        self.send_with(response, None);
    }

    /// Sends answers. The permit of what was asked is given back when they are taken.
    pub(crate) fn answer(&self, results: Vec<v1::Result>, permit: Option<OwnedSemaphorePermit>) {
        if !results.is_empty() {
            self.send_with(Response::Results(v1::Results { results }), permit);
        }
    }

    fn send_with(&self, response: Response, permit: Option<OwnedSemaphorePermit>) {
        if self.ended.is_cancelled() {
            return;
        }
        let response = v1::SessionResponse { response: Some(response) };
        if self.messages.try_send(Outgoing { response, _permit: permit }).is_err() {
            self.ended.cancel();
        }
    }

    /// Sends the last message.
    pub(crate) fn end(&self, reason: v1::farewell::Reason, message: impl Into<String>) {
        self.send(Response::Farewell(v1::Farewell { reason: reason.into(), message: message.into() }));
        self.ended.cancel();
    }

    pub(crate) fn secret(&self) -> Bytes {
        self.secret.clone()
    }

    /// Before the link is shared: the stream resumes a session that has its secret.
    pub(crate) fn forget_secret(&mut self) {
        self.secret = Bytes::new();
    }

    /// Whether nothing more is sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until the stream should close.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
