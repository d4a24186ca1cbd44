//! Messages as they come, until there are enough or nothing comes for too long.

use std::time::Duration;

use roster_client::Error;
use roster_client::queue::{Claim, Message, PullConsumer, Raw};
use tokio::time::{Instant, sleep_until, timeout};

/// Words on what was done are confirmed within this, or given up.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// As long as any queue lets a consumer have a message.
const WORK_WITHIN: Duration = Duration::from_secs(365 * 86_400);
const UNCONFIRMED: &str = "the node has not confirmed everything that was done; some of it may be delivered again";

/// Whether nothing is going on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meanwhile {
    Nothing,
    /// Messages that were taken are being worked on: nobody is idle.
    Work,
}

/// The consumer with its bounds.
pub(super) struct Takings {
    consumer: PullConsumer<Message, Raw>,
    left: Option<u64>,
    idle: Option<Duration>,
    busy_at: Instant,
}

impl Takings {
    pub(super) fn new(consumer: PullConsumer<Message, Raw>, limit: Option<u64>, idle: Option<Duration>) -> Self {
        Self { consumer, left: limit, idle, busy_at: Instant::now() }
    }

    /// The next message; `None` when there were enough, or nothing came for too long. Nothing is lost when
    /// this is dropped before it is done.
    ///
    /// # Errors
    /// Why nothing will come.
    pub(super) async fn next(&mut self, meanwhile: Meanwhile) -> Result<Option<Claim<Message>>, Error> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let idle = self.idle.filter(|_| meanwhile == Meanwhile::Nothing);
        let idle_at = idle.and_then(|idle| self.busy_at.checked_add(idle));
        let idle = async {
            match idle_at {
                Some(idle_at) => sleep_until(idle_at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            claim = self.consumer.next() => claim.map(|claim| Some(self.took(claim))),
            () = idle => Ok(None),
        }
    }

    /// A message that is there already, within the limit.
    pub(super) async fn next_at_once(&mut self) -> Option<Claim<Message>> {
        if self.left == Some(0) {
            return None;
        }
        tokio::select! {
            biased;
            // An error is met again by whoever waits.
            Ok(claim) = self.consumer.next() => Some(self.took(claim)),
            () = std::future::ready(()) => None,
        }
    }

    /// Something is going on, so that nobody is idle.
    pub(super) fn touch(&mut self) {
        self.busy_at = Instant::now();
    }

    /// Says what was done, and waits until that is confirmed.
    ///
    /// # Errors
    /// When it was not; what was done may be delivered again.
    pub(super) async fn close(self) -> Result<(), Error> {
        self.consumer.close(CLOSE_WITHIN).await
    }

    /// The same, from the moment of its first poll without anything further to come, and without a hurry
    /// while there is `work` on what was taken.
    ///
    /// # Errors
    /// As of [`close`](Self::close).
    pub(super) async fn close_after(self, work: impl Future<Output = ()>) -> Result<(), Error> {
        let mut closing = std::pin::pin!(self.consumer.close(WORK_WITHIN));
        let mut work = std::pin::pin!(work);
        // The first poll of the closing comes first: not one more message is asked for.
        let early = tokio::select! {
            biased;
            closed = &mut closing => Some(closed),
            () = &mut work => None,
        };
        match early {
            Some(closed) => {
                work.await;
                closed
            }
            None => match timeout(CLOSE_WITHIN, closing).await {
                Ok(closed) => closed,
                Err(_) => Err(Error::Closed { what: "consumer".to_owned(), why: UNCONFIRMED.to_owned() }),
            },
        }
    }

    fn took(&mut self, claim: Claim<Message>) -> Claim<Message> {
        self.left = self.left.map(|left| left - 1);
        self.touch();
        claim
    }
}
