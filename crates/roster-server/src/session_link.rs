//! The director's end of a session's stream.

use bytes::Bytes;
use roster_proto::v1;
use roster_proto::v1::session_response::Response;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages that a stream may leave unread beyond the answers it waits for.
const SPARE_MESSAGES: usize = 256;

/// Sends to a session's stream without ever waiting.
#[derive(Debug, Clone)]
pub(crate) struct SessionLink {
    messages: mpsc::Sender<v1::SessionResponse>,
    ended: CancellationToken,
    /// Of a session that was opened, for its welcome; empty when it was resumed.
    secret: Bytes,
}

impl SessionLink {
    /// A link and the end that the stream reads. `in_flight` is how many requests may wait for an answer.
    pub(crate) fn new(in_flight: usize, secret: Bytes) -> (Self, mpsc::Receiver<v1::SessionResponse>) {
        let (messages, reader) = mpsc::channel(in_flight + SPARE_MESSAGES);
        (Self { messages, ended: CancellationToken::new(), secret }, reader)
    }

    /// Sends one message. A stream that has left so many unread is not read any more: it is ended, and the
    /// session goes on when its process resumes it.
    pub(crate) fn send(&self, response: Response) {
        if self.ended.is_cancelled() {
            return;
        }
        if self.messages.try_send(v1::SessionResponse { response: Some(response) }).is_err() {
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
