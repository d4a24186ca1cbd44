//! The watch stream between its readers and its driver: the machine, and a seat for each watch.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use roster_core::Selector;
use roster_proto::convert::Advice;
use roster_proto::v1;
use tokio_stream::wrappers::ReceiverStream;

use super::machine::{Machine, Report, Settings};
use super::queue::WatchEvent;
use super::seat::{Freshness, Seat};
use super::subscription::WatchId;
use crate::client::Client;
use crate::endpoint::Lease;
use crate::moment::Moment;
use crate::stream::{Loss, Opening, Protocol, Shared, Step, drive};

/// The [`Protocol`] of watches.
pub(super) struct Hub {
    machine: Machine,
    seats: HashMap<WatchId, Arc<Seat>>,
    freshness: Arc<Freshness>,
}

impl Hub {
    pub(super) fn new(settings: Settings) -> Self {
        let freshness = Arc::new(Freshness::new(Moment::take().now));
        Self { machine: Machine::new(settings), seats: HashMap::new(), freshness }
    }

    pub(super) fn subscribe(&mut self, moment: Moment, selector: Selector, capacity: usize) -> (WatchId, Arc<Seat>) {
        let watch = self.machine.subscribe(moment, selector);
        let seat = Arc::new(Seat::new(capacity, self.freshness.clone()));
        self.seats.insert(watch, seat.clone());
        (watch, seat)
    }

    pub(super) fn unsubscribe(&mut self, watch: WatchId) {
        self.machine.unsubscribe(watch);
        self.seats.remove(&watch);
    }
}

impl Protocol for Hub {
    type Request = v1::WatchRequest;
    type Response = v1::WatchResponse;

    fn open(&self, lease: &Lease, requests: ReceiverStream<Self::Request>) -> Opening<Self::Response> {
        let mut registry = lease.registry();
        Box::pin(async move { Ok(registry.watch(requests).await?.into_inner()) })
    }

    fn handle_opened(&mut self, moment: Moment) {
        self.machine.handle_opened(moment);
    }

    fn handle_received(&mut self, moment: Moment, response: Self::Response) {
        self.freshness.touch(moment.now);
        self.machine.handle_received(moment, response);
    }

    fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        self.machine.handle_lost(moment, loss);
    }

    fn handle_timeout(&mut self, moment: Moment) {
        self.machine.handle_timeout(moment);
    }

    fn poll_step(&mut self) -> Option<Step> {
        self.machine.poll_step()
    }

    fn has_message(&self) -> bool {
        self.machine.has_message()
    }

    fn poll_message(&mut self, now: Instant) -> Option<Self::Request> {
        self.machine.poll_message(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn publish(&mut self) {
        while let Some(report) = self.machine.poll_report() {
            match report {
                Report::Taken { watch, view, changes } => {
                    let Some(seat) = self.seats.get(&watch) else { continue };
                    let whole = view.is_loaded();
                    seat.view.store(Arc::new(view));
                    if whole {
                        seat.load.whole();
                    }
                    changes.into_iter().for_each(|change| seat.queue.push(WatchEvent::Change(change)));
                }
                Report::Connected { endpoint } => {
                    for seat in self.seats.values() {
                        seat.queue.push(WatchEvent::Connected { endpoint: endpoint.clone() });
                    }
                }
                Report::Disconnected { why } => {
                    tracing::debug!(%why, "the watch stream is lost");
                    for seat in self.seats.values() {
                        seat.queue.push(WatchEvent::Disconnected { why: why.clone() });
                    }
                }
                Report::Refused { watch, refusal } => {
                    let Some(seat) = self.seats.get(&watch) else { continue };
                    seat.queue.push(WatchEvent::Refused(refusal.clone()));
                    if matches!(refusal.advice(), Advice::FixRequest | Advice::GiveUp) {
                        seat.queue.close();
                        seat.load.refuse(refusal);
                    }
                }
            }
        }
    }
}

/// Held by the readers of a hub; the last one ends it.
pub(super) struct Membership {
    pub(super) shared: Arc<Shared<Hub>>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.act(|hub, _| hub.machine.finish());
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}

/// The hub of a client, as long as somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Hubs(Mutex<Weak<Membership>>);

impl Hubs {
    /// The hub, started if there is none. Needs a tokio runtime.
    pub(super) fn join(&self, client: &Client) -> Arc<Membership> {
        let mut hub = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(membership) = hub.upgrade() {
            return membership;
        }
        let endpoints = client.endpoints();
        let settings = Settings {
            endpoints: endpoints.iter().map(|endpoint| endpoint.url().clone()).collect(),
            back_off: client.back_off(),
            patience: client.deadline(),
            silence: client.watch_silence(),
        };
        let shared = Arc::new(Shared::new(Hub::new(settings)));
        // The driver belongs to the membership: it ends when the last reader is dropped.
        tokio::spawn(drive(shared.clone(), endpoints));
        let membership = Arc::new(Membership { shared });
        *hub = Arc::downgrade(&membership);
        membership
    }
}
