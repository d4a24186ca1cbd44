//! A cluster as its callers hold it.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roster_core::directory::Instance;
use roster_core::{Selector, ServiceName};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::Connect;
use super::driver::drive;
use super::member::{Member, MemberId};
use super::shared::Shared;
use super::standing::NoneUsable;
use super::state::Seat;
use crate::moment::Moment;

/// Events that may wait for the driver, which only wants to know that there are some.
const EVENTS_MAX: usize = 16;

/// A service by its name, with a client for each of its instances. Cheap to clone.
///
/// It asks for no watch before the first call, and ends its watch and all its clients when the last
/// clone is dropped. Clients that are in use then end with the last [`Picked`].
pub struct Cluster<C: Connect> {
    owner: Arc<Owner<C>>,
}

impl<C: Connect> Clone for Cluster<C> {
    fn clone(&self) -> Self {
        Self { owner: self.owner.clone() }
    }
}

impl<C: Connect> fmt::Debug for Cluster<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("service", &self.owner.shared.service).finish_non_exhaustive()
    }
}

struct Owner<C: Connect> {
    shared: Arc<Shared<C>>,
    started: OnceLock<()>,
}

impl<C: Connect> Drop for Owner<C> {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

impl<C: Connect> Cluster<C> {
    pub(super) fn new(shared: Shared<C>) -> Self {
        Self { owner: Arc::new(Owner { shared: Arc::new(shared), started: OnceLock::new() }) }
    }

    /// The name.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.owner.shared.service
    }

    /// The client for the next call, chosen by the picker among the best: those that are up, else those
    /// that are unconfirmed, else draining, else suspect. Who is known to be closed is passed over, and
    /// the node is asked to look after it.
    ///
    /// The first call starts the watch, and as nothing is known then, finds nobody; see
    /// [`get_or_wait`](Self::get_or_wait).
    ///
    /// # Errors
    /// [`NoneUsable`], which says what is wrong with whom.
    ///
    /// # Panics
    /// Outside of a tokio runtime, when it is the first call.
    pub fn get(&self) -> Result<Picked<C>, NoneUsable> {
        let shared = self.started();
        loop {
            let picked = Picked { seat: shared.pick()? };
            if !shared.connector.is_closed(&picked.seat.client) {
                return Ok(picked);
            }
            shared.broken(picked.member(), "its connection is closed");
        }
    }

    /// The same, but waits until somebody can be called, at most for `patience`.
    ///
    /// # Errors
    /// [`NoneUsable`] as of the end of the wait.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub async fn get_or_wait(&self, patience: Duration) -> Result<Picked<C>, NoneUsable> {
        let mut version = self.started().subscribe();
        let until = Instant::now() + patience;
        loop {
            version.borrow_and_update();
            let none = match self.get() {
                Ok(picked) => return Ok(picked),
                Err(none) if none.is_final() => return Err(none),
                Err(none) => none,
            };
            // The sender is held by this cluster.
            if tokio::time::timeout_at(until, version.changed()).await.is_err() {
                return Err(none);
            }
        }
    }

    /// This client is of no use: another one is made for its instance, with a pause, and the node is
    /// asked to look after it. Nothing happens when that is known already.
    pub fn report_broken(&self, picked: &Picked<C>, why: &str) {
        self.owner.shared.broken(picked.member(), why);
    }

    /// Every instance that is known, with how far this process has got with it.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.started().act(|state| {
            state.take_in(Moment::take);
            state.table.members().collect()
        })
    }

    /// Tells of every change of [`members`](Self::members).
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[must_use]
    pub fn changes(&self) -> MemberChanges {
        MemberChanges { version: self.started().subscribe() }
    }

    /// Ends the watch and all clients, and waits until each is disconnected. Other clones find nobody
    /// from then on.
    pub async fn close(self) {
        let shared = &self.owner.shared;
        shared.finish();
        if self.owner.started.get().is_none() {
            return;
        }
        let mut version = shared.subscribe();
        while !shared.lock().ended {
            if version.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn is_closed(&self, picked: &Picked<C>) -> bool {
        self.owner.shared.connector.is_closed(&picked.seat.client)
    }

    pub(crate) fn main(&self) -> Option<Instance> {
        self.started().act(|state| {
            state.take_in(Moment::take);
            state.main().cloned()
        })
    }

    /// The watch and the driver, started at the first call.
    fn started(&self) -> &Arc<Shared<C>> {
        let shared = &self.owner.shared;
        self.owner.started.get_or_init(|| {
            let selector = Selector::Service(shared.service.clone());
            let watch = shared.registry.watch(selector).capacity(EVENTS_MAX).start();
            shared.act(|state| {
                if !state.table.is_finished() {
                    state.live = Some(watch.view());
                }
            });
            // Belongs to this cluster: it ends when the last clone is dropped.
            tokio::spawn(drive(shared.clone(), watch));
        });
        shared
    }
}

/// A client and its instance; each counts as a call in flight until it is dropped.
pub struct Picked<C: Connect> {
    seat: Arc<Seat<C>>,
}

impl<C: Connect> Picked<C> {
    /// Its number.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.seat.candidate.member()
    }

    /// What the registry knew of it when it was picked.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        self.seat.candidate.instance()
    }

    /// The client, to be kept for longer than this call.
    #[must_use]
    pub fn client(&self) -> &Arc<C::Client> {
        &self.seat.client
    }
}

impl<C: Connect> Clone for Picked<C> {
    fn clone(&self) -> Self {
        self.seat.load.fetch_add(1, Ordering::Relaxed);
        Self { seat: self.seat.clone() }
    }
}

impl<C: Connect> Deref for Picked<C> {
    type Target = C::Client;

    fn deref(&self) -> &C::Client {
        &self.seat.client
    }
}

impl<C: Connect> Drop for Picked<C> {
    fn drop(&mut self) {
        self.seat.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C: Connect> fmt::Debug for Picked<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picked").field("instance", self.instance()).finish_non_exhaustive()
    }
}

/// Tells of changes; see [`Cluster::changes`]. Does not keep the cluster going.
#[derive(Debug, Clone)]
pub struct MemberChanges {
    version: watch::Receiver<u64>,
}

impl MemberChanges {
    /// Waits until something is different from when this last returned. `false` when nothing will be
    /// any more, because the cluster has ended.
    pub async fn changed(&mut self) -> bool {
        self.version.changed().await.is_ok()
    }
}
