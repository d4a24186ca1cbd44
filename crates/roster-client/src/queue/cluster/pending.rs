//! Who waits for a message that may go to a second member.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use roster_core::InstanceId;

use super::producer::Inner;
use crate::error::Error;
use crate::queue::producer::{Pending, Receipt};

/// That a message is stored by a member: it survives a crash of that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterReceipt {
    /// The member that has it.
    pub member: InstanceId,
    pub receipt: Receipt,
}

type Again = Pin<Box<dyn Future<Output = Result<ClusterReceipt, Error>> + Send>>;

/// Resolves when the message is stored by some member. It is sent whether anybody waits or not; when the
/// member that has it goes away, it goes to another once this is awaited or dropped.
#[must_use = "a failure is only told here; `let _ =` says that nobody wants to know"]
pub struct ClusterPending {
    inner: Arc<Inner>,
    state: State,
}

enum State {
    First { member: InstanceId, pending: Pending },
    Again(Again),
    Done,
}

impl ClusterPending {
    pub(super) fn new(inner: Arc<Inner>, member: InstanceId, pending: Pending) -> Self {
        Self { inner, state: State::First { member, pending } }
    }
}

impl Future for ClusterPending {
    type Output = Result<ClusterReceipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let result = match &mut self.state {
                State::First { member, pending } => {
                    let member = *member;
                    match std::task::ready!(Pin::new(pending).poll(context)) {
                        Ok(receipt) => Ok(ClusterReceipt { member, receipt }),
                        Err(lost) if is_final(&lost.error) => Err(lost.error),
                        Err(lost) => {
                            let inner = self.inner.clone();
                            let again = async move { inner.publish(lost.message).await };
                            self.state = State::Again(Box::pin(again));
                            continue;
                        }
                    }
                }
                State::Again(again) => std::task::ready!(again.as_mut().poll(context)),
                State::Done => {
                    Err(Error::Closed { what: "receipt".to_owned(), why: "it was taken already".to_owned() })
                }
            };
            self.state = State::Done;
            return Poll::Ready(result);
        }
    }
}

impl Drop for ClusterPending {
    fn drop(&mut self) {
        if let State::First { pending, .. } = std::mem::replace(&mut self.state, State::Done)
            && let Some(lost) = pending.forsake()
            && !is_final(&lost.error)
        {
            self.inner.homeless.add(lost.message);
        }
    }
}

impl fmt::Debug for ClusterPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterPending").finish_non_exhaustive()
    }
}

/// Whether another member would say the same. That a queue is not known there is about that member only.
pub(super) fn is_final(error: &Error) -> bool {
    use roster_proto::convert::Advice;
    use roster_proto::v1::refusal::Code;
    match error {
        Error::Refused { refusal, .. } => {
            let elsewhere = [Code::UnknownQueue, Code::SequenceGap, Code::SettingsDiffer];
            matches!(refusal.advice(), Advice::FixRequest | Advice::GiveUp) && !elsewhere.contains(&refusal.code())
        }
        Error::InvalidWord(_) | Error::NotEncoded { .. } | Error::NoEndpoint | Error::InvalidEndpoint { .. } => true,
        Error::Unreachable { .. }
        | Error::TimedOut { .. }
        | Error::Failed { .. }
        | Error::Unintelligible { .. }
        | Error::NoMember(_)
        | Error::Closed { .. }
        | Error::Ended { .. }
        | Error::NoFarewell { .. } => false,
    }
}
