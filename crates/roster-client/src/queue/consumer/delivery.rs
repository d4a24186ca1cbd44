//! A message in the hands of a consumer.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use roster_core::queue::{Message, MessageId};
use roster_proto::convert::parse_message;
use roster_proto::v1;

use super::board::Board;
use super::machine::Verdict;
use super::seat::Consuming;
use crate::queue::format::Decode;
use crate::stream::Shared;

/// A message, and what the node says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery<T> {
    /// What was published.
    pub value: T,
    /// The same as it came, with content type and headers.
    pub message: Message,
    pub id: MessageId,
    /// The first is 1.
    pub attempt: u32,
    pub enqueued_unix_millis: u64,
}

impl<T> Delivery<T> {
    /// What the message is, or why it is none.
    pub(super) fn decode<C: Decode<T>>(wire: v1::QueueDelivery) -> Result<Self, String> {
        let message = parse_message(wire.message.unwrap_or_default()).map_err(|refusal| refusal.message)?;
        Ok(Self {
            value: C::decode(&message)?,
            message,
            id: MessageId::new(wire.message_id),
            attempt: wire.attempt,
            enqueued_unix_millis: wire.enqueued_unix_ms,
        })
    }
}

/// A failure whose next attempt shall come after a time of its own, instead of the back-off of the queue.
///
/// What a handler returns as an error may be one of these or, with `?`, a boxed error that is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    delay: Duration,
    reason: String,
}

impl Retry {
    /// After this time; 7 days at most.
    pub fn after(delay: Duration, reason: impl Into<String>) -> Self {
        Self { delay, reason: reason.into() }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl StdError for Retry {}

/// The verdict of a handler's error.
pub(super) fn verdict_of<E: fmt::Display + 'static>(error: &E) -> Verdict {
    let any: &dyn Any = error;
    let boxed = any.downcast_ref::<Box<dyn StdError + Send + Sync>>().and_then(|error| error.downcast_ref::<Retry>());
    let delay = any.downcast_ref::<Retry>().or(boxed).map(|retry| retry.delay);
    Verdict::Failed { reason: error.to_string(), delay }
}

/// A delivery that owes the node a verdict. Dropped without one, it is nacked at once.
#[must_use = "dropped without a verdict it is nacked"]
pub struct Claim<T> {
    delivery: Delivery<T>,
    debt: Debt,
}

/// What is to be said about a message.
pub(super) struct Debt {
    pub(super) id: u64,
    pub(super) board: Arc<Board>,
    pub(super) shared: Arc<Shared<Consuming>>,
    pub(super) paid: bool,
}

impl Debt {
    pub(super) fn pay(&mut self, verdict: Verdict) {
        if !std::mem::replace(&mut self.paid, true) && self.board.judge(self.id, verdict) {
            self.shared.wake();
        }
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.pay(Verdict::Failed { reason: "dropped without a verdict".to_owned(), delay: None });
    }
}

impl<T> Claim<T> {
    pub(super) fn new(delivery: Delivery<T>, debt: Debt) -> Self {
        Self { delivery, debt }
    }

    /// Done. The node is told with the next request, together with all others that are done by then.
    pub fn ack(mut self) {
        self.debt.pay(Verdict::Acknowledged);
    }

    /// Failed; delivered again after the back-off of the queue, or a dead letter after the last attempt.
    pub fn nack(mut self, reason: impl Into<String>) {
        self.debt.pay(Verdict::Failed { reason: reason.into(), delay: None });
    }

    /// Failed; delivered again after this time.
    pub fn nack_after(mut self, delay: Duration, reason: impl Into<String>) {
        self.debt.pay(Verdict::Failed { reason: reason.into(), delay: Some(delay) });
    }

    /// Done, and the delivery to keep.
    pub fn ack_into(mut self) -> Delivery<T> {
        self.debt.pay(Verdict::Acknowledged);
        self.delivery
    }
}

impl<T> Deref for Claim<T> {
    type Target = Delivery<T>;

    fn deref(&self) -> &Delivery<T> {
        &self.delivery
    }
}

impl<T: fmt::Debug> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}
