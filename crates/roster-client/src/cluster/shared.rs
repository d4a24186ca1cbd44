//! The state between its callers and its driver.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roster_core::ServiceName;
use tokio::sync::{Notify, watch};

use super::connect::Connect;
use super::member::MemberId;
use super::standing::NoneUsable;
use super::state::{Seat, State};
use crate::client::Client;
use crate::moment::Moment;

pub(super) struct Shared<C: Connect> {
    pub(super) registry: Client,
    pub(super) service: ServiceName,
    pub(super) connector: C,
    pub(super) connect_deadline: Duration,
    state: Mutex<State<C>>,
    /// There are orders, or an earlier time to wake.
    woken: Notify,
    /// The version of the table.
    version: watch::Sender<u64>,
}

impl<C: Connect> Shared<C> {
    pub(super) fn new(
        registry: Client,
        service: ServiceName,
        connector: C,
        connect_deadline: Duration,
        state: State<C>,
    ) -> Self {
        let (state, version) = (Mutex::new(state), watch::Sender::new(0));
        Self { registry, service, connector, connect_deadline, state, woken: Notify::new(), version }
    }

    /// One input. The lock is held for its length, never across an await.
    pub(super) fn act<T>(&self, input: impl FnOnce(&mut State<C>) -> T) -> T {
        let mut state = self.lock();
        let before = state.table.version();
        let result = input(&mut state);
        let after = state.table.version();
        let wakes = after != before || state.table.has_orders() || state.table.is_finished();
        drop(state);
        if after != before {
            self.version.send_replace(after);
        }
        if wakes {
            self.woken.notify_one();
        }
        result
    }

    /// Who gets the next call, as of the newest view: the driver may not have got to it yet.
    pub(super) fn pick(&self) -> Result<Arc<Seat<C>>, NoneUsable> {
        self.act(|state| {
            state.take_in(Moment::take);
            Self::take_seat(state)
        })
    }

    fn take_seat(state: &mut State<C>) -> Result<Arc<Seat<C>>, NoneUsable> {
        let seat = state.pick()?;
        // Counted under the lock, so that the next pick sees it.
        seat.load.fetch_add(1, Ordering::Relaxed);
        Ok(seat)
    }

    pub(super) fn broken(&self, member: MemberId, why: &str) {
        self.act(|state| state.table.broken(Moment::take(), member, why.to_owned()));
    }

    /// Nobody is called any more; the driver ends what there is.
    pub(super) fn finish(&self) {
        let live = self.act(|state| {
            state.table.finish();
            state.live.take()
        });
        // Leaves the hub of the watches, which has a lock of its own.
        drop(live);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What is awaited may have come about without any change of the table.
    pub(super) fn stir(&self) {
        self.version.send_modify(|_| {});
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<C>> {
        // A panic inside is a bug; callers shall still see the last state rather than panic too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
