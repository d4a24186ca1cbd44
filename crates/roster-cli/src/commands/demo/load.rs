//! A load of registrations: as many under way at a time as there are workers, until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use roster_client::{Announcement, Handle, Registrar, State};
use roster_core::InstanceId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::commands::node;

/// Of the addresses, which nobody calls.
const PORT: u16 = 9;

#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    registrar: Arc<Registrar>,
    workers: JoinSet<anyhow::Result<Vec<Handle>>>,
}

/// A registration that the node has said yes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    /// Its node index, which no two have in common.
    pub(super) number: u32,
    pub(super) instance: InstanceId,
    pub(super) at: Instant,
}

#[derive(Debug)]
struct Shared {
    service: String,
    next: AtomicU32,
    stopped: AtomicBool,
    acknowledged: watch::Sender<Vec<Acknowledged>>,
}

impl Load {
    /// One session, and that many workers that each register one address after the other.
    ///
    /// # Errors
    /// When the address of the node is not one.
    pub(super) fn start(url: &str, service: &str, workers: usize) -> anyhow::Result<Self> {
        let registrar = Arc::new(node::client(&[url.to_owned()])?.registrar().start());
        let shared = Arc::new(Shared {
            service: service.to_owned(),
            next: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            acknowledged: watch::Sender::new(Vec::new()),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            tasks.spawn(register_on(registrar.clone(), shared.clone()));
        }
        Ok(Self { shared, registrar, workers: tasks })
    }

    /// Waits until that many are acknowledged.
    ///
    /// # Errors
    /// When they are not in time.
    pub(super) async fn reach(&self, count: usize, patience: Duration) -> anyhow::Result<()> {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        // What `wait_for` gives locks the list against the workers; it is let go of at once.
        let reached = async { acknowledged.wait_for(|all| all.len() >= count).await.map(drop) };
        let reached = timeout(patience, reached).await;
        let missed =
            || format!("{} of {count} registrations were answered within {patience:?}", self.acknowledged().len());
        reached.with_context(missed)??;
        Ok(())
    }

    /// What is acknowledged so far.
    pub(super) fn acknowledged(&self) -> Vec<Acknowledged> {
        self.shared.acknowledged.borrow().clone()
    }

    /// How many were asked for, answered or not.
    pub(super) fn asked(&self) -> u32 {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// Asks for nothing more, and waits for what was asked.
    ///
    /// # Errors
    /// When one is refused, or not answered in time.
    pub(super) async fn stop(&mut self, patience: Duration) -> anyhow::Result<Vec<Handle>> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut handles = Vec::new();
        let all = async {
            while let Some(worker) = self.workers.join_next().await {
                handles.append(&mut worker??);
            }
            anyhow::Ok(())
        };
        let answered = timeout(patience, all).await;
        answered.with_context(|| format!("registrations under way were not answered within {patience:?}"))??;
        Ok(handles)
    }

    /// Says goodbye for all of them, after it was stopped.
    ///
    /// # Errors
    /// When it was not stopped, or the node does not say farewell.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        let registrar = Arc::into_inner(self.registrar).ok_or_else(|| anyhow!("the load goes on"))?;
        Ok(registrar.close().await?)
    }
}

async fn register_on(registrar: Arc<Registrar>, shared: Arc<Shared>) -> anyhow::Result<Vec<Handle>> {
    let mut handles = Vec::new();
    while !shared.stopped.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = number.to_be_bytes();
        let announcement = Announcement::new(&shared.service, &format!("10.0.{high}.{low}"), PORT)?.node_index(number);
        let handle = registrar.register(announcement);
        match handle.settled().await {
            State::Active { instance, .. } => {
                let at = Instant::now();
                shared.acknowledged.send_modify(|all| all.push(Acknowledged { number, instance, at }));
                handles.push(handle);
            }
            State::Refused(refusal) => bail!("a registration was refused: {}", refusal.message),
            other @ (State::Waiting | State::Pending { .. } | State::Offline { .. } | State::Ended) => {
                bail!("a registration ended as {other:?}");
            }
        }
    }
    Ok(handles)
}
