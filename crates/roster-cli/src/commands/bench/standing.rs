//! Sessions that stand by: they answer the node's pings and do nothing else, until they are asked back.

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::session::Session;

/// A task for each session; all end when this is dropped.
#[derive(Debug)]
pub(super) struct Standing {
    tasks: JoinSet<anyhow::Result<Session>>,
    leave: watch::Sender<bool>,
}

impl Standing {
    pub(super) fn new(sessions: impl IntoIterator<Item = Session>) -> Self {
        let (leave, _) = watch::channel(false);
        let mut standing = Self { tasks: JoinSet::new(), leave };
        sessions.into_iter().for_each(|session| standing.add(session));
        standing
    }

    pub(super) fn add(&mut self, mut session: Session) {
        let mut left = self.leave.subscribe();
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    // Nothing was asked: there are no results, only pings that are answered on the way.
                    results = session.results() => { results.context("a session that stands by")?; }
                    _ = left.wait_for(|left| *left) => return Ok(session),
                }
            }
        });
    }

    /// The sessions, in no order.
    ///
    /// # Errors
    /// When one of them ended.
    pub(super) async fn leave(mut self) -> anyhow::Result<Vec<Session>> {
        self.leave.send_replace(true);
        let mut sessions = Vec::with_capacity(self.tasks.len());
        while let Some(session) = self.tasks.join_next().await {
            sessions.push(session??);
        }
        Ok(sessions)
    }
}
