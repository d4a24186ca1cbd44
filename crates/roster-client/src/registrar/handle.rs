//! One registration as its owner holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roster_core::directory::OfflineReason;
use tokio::sync::watch;

use super::entry::Key;
use super::start::Tenancy;
use super::state::{DrainProgress, DrainStanding, Standing, State};
use crate::announcement::Announcement;
use crate::error::Error;
use crate::moment::Moment;

/// How long a deregistration may take.
const DEREGISTER_DEADLINE: Duration = Duration::from_secs(5);
/// How long [`Handle::leave`] waits for watchers to see that it drains.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

/// A registration. Dropping it deregisters, without waiting.
#[derive(Debug)]
#[must_use = "dropping the handle deregisters"]
pub struct Handle {
    tenancy: Arc<Tenancy>,
    key: Key,
    standing: watch::Receiver<Standing>,
    /// The last generation that was asked for; what is answered about an older one settles nothing.
    generation: AtomicU64,
}

impl Handle {
    pub(super) fn new(tenancy: Arc<Tenancy>, key: Key, standing: watch::Receiver<Standing>) -> Self {
        Self { tenancy, key, standing, generation: AtomicU64::new(1) }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.standing.borrow().state.clone()
    }

    /// Waits until it stands elsewhere than when this was last called (at first: than at the start).
    /// Once it has ended, that is what this returns.
    pub async fn changed(&mut self) -> State {
        // An error means that it has ended and nothing follows.
        let _ = self.standing.changed().await;
        self.standing.borrow_and_update().state.clone()
    }

    /// Waits until the node has answered what was last asked for: active, pending or refused, or it
    /// has ended. As long as no node can be reached, this waits; put a time limit around it if needed.
    pub async fn settled(&self) -> State {
        let generation = self.generation.load(Ordering::Relaxed);
        let settled = |standing: &Standing| {
            standing.state == State::Ended || standing.answered >= generation && standing.state != State::Waiting
        };
        self.wait(settled).await
    }

    /// Registers other facts, or the same again after `Offline`. Another address or node
    /// index is registered first and then the former one removed.
    ///
    /// # Errors
    /// [`Error::Ended`] when it is deregistered.
    pub fn update(&self, announcement: Announcement) -> Result<(), Error> {
        let generation = self.tenancy.shared.act(|session, _| session.update(self.key, announcement));
        let generation = generation.ok_or_else(ended)?;
        self.generation.fetch_max(generation, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until it is told to leave: `Some` with the reason, and when it is removed; `None` when it
    /// has ended otherwise.
    pub async fn offline(&self) -> Option<(OfflineReason, Instant)> {
        let told = |standing: &Standing| matches!(standing.state, State::Offline { .. } | State::Ended);
        match self.wait(told).await {
            State::Offline { reason, deadline } => Some((reason, deadline)),
            State::Waiting | State::Active { .. } | State::Pending { .. } | State::Refused(_) | State::Ended => None,
        }
    }

    /// Tells all watchers to send no new work, and how many of them have taken that in.
    ///
    /// # Errors
    /// [`Error::Ended`] when there is nothing to drain, [`Error::Refused`] when the node says no,
    /// [`Error::TimedOut`] when it says nothing until the deadline.
    pub async fn drain(&self, deadline: Duration) -> Result<Draining, Error> {
        const CALL: &str = "drain";
        let until = Moment::take().now + deadline;
        let standing = self.tenancy.shared.act(|session, _| session.drain(self.key, until));
        let mut standing = standing.ok_or_else(ended)?;
        let accepted = standing.wait_for(|standing| *standing != DrainStanding::Asked);
        let accepted =
            tokio::time::timeout_at(until.into(), accepted).await.map(|standing| standing.map(|s| s.clone()));
        let endpoint = || self.tenancy.endpoint();
        match accepted {
            Ok(Ok(DrainStanding::Refused(refusal))) => {
                Err(Error::Refused { call: CALL, endpoint: endpoint(), refusal: Box::new(refusal) })
            }
            Ok(Ok(DrainStanding::Progress(_) | DrainStanding::Asked)) => {
                standing.mark_changed();
                Ok(Draining { standing })
            }
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(Error::TimedOut { call: CALL, endpoint: endpoint(), deadline }),
        }
    }

    /// Deregisters and waits until the node has done it, 5 s at most.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the node did not answer; it is then done when the node is back, or by
    /// the end of the session's grace.
    pub async fn deregister(self) -> Result<(), Error> {
        self.tenancy.shared.act(|session, _| session.withdraw(self.key));
        let gone = self.wait(|standing| standing.state == State::Ended);
        match tokio::time::timeout(DEREGISTER_DEADLINE, gone).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TimedOut {
                call: "deregister",
                endpoint: self.tenancy.endpoint(),
                deadline: DEREGISTER_DEADLINE,
            }),
        }
    }

    /// Leaves without a failed call: drains, waits until all watchers have seen it (10 s at most, or
    /// until the node removes it), and deregisters.
    ///
    /// # Errors
    /// Those of [`deregister`](Self::deregister). A drain that fails does not keep it from leaving.
    pub async fn leave(self) -> Result<(), Error> {
        let deadline = match self.state() {
            // Nobody removes what an operator drains.
            State::Offline { reason: OfflineReason::Drained, .. } => LEAVE_DEADLINE,
            State::Offline { deadline, .. } => {
                deadline.saturating_duration_since(Moment::take().now).min(LEAVE_DEADLINE)
            }
            State::Active { .. } => LEAVE_DEADLINE,
            State::Waiting | State::Pending { .. } | State::Refused(_) | State::Ended => Duration::ZERO,
        };
        if !deadline.is_zero() {
            match self.drain(deadline).await {
                Ok(mut draining) => {
                    draining.finished().await;
                }
                Err(error) => tracing::info!(%error, "leaving without a drain"),
            }
        }
        self.deregister().await
    }

    /// Serves until it is told to leave or `shutdown` is ready, then [leaves](Self::leave).
    ///
    /// # Errors
    /// Those of [`deregister`](Self::deregister).
    pub async fn serve_until(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            _ = self.offline() => {}
            () = shutdown => {}
        }
        self.leave().await
    }

    async fn wait(&self, until: impl FnMut(&Standing) -> bool) -> State {
        let mut standing = self.standing.clone();
        let result = standing.wait_for(until).await.map(|standing| standing.state.clone());
        result.unwrap_or(State::Ended)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.tenancy.shared.act(|session, _| session.withdraw(self.key));
    }
}

/// A drain that is under way.
#[derive(Debug)]
pub struct Draining {
    standing: watch::Receiver<DrainStanding>,
}

impl Draining {
    /// The next progress, or `None` after the last. What was overtaken by newer progress is left out.
    pub async fn next(&mut self) -> Option<DrainProgress> {
        self.standing.changed().await.ok()?;
        match *self.standing.borrow_and_update() {
            DrainStanding::Progress(progress) => Some(progress),
            DrainStanding::Asked | DrainStanding::Refused(_) => None,
        }
    }

    /// Waits for the end: all watchers have seen it, or the deadline has passed.
    pub async fn finished(&mut self) -> DrainProgress {
        let over = |standing: &DrainStanding| match standing {
            DrainStanding::Progress(progress) => progress.finished,
            DrainStanding::Refused(_) => true,
            DrainStanding::Asked => false,
        };
        let _ = self.standing.wait_for(over).await;
        match *self.standing.borrow() {
            DrainStanding::Progress(progress) => DrainProgress { finished: true, ..progress },
            DrainStanding::Asked | DrainStanding::Refused(_) => DrainProgress { finished: true, ..Default::default() },
        }
    }
}

fn ended() -> Error {
    Error::Ended { why: "it is not registered".to_owned() }
}
