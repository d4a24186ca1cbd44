//! A watch as its owner reads it.

use std::sync::Arc;

use roster_core::Selector;

use super::hub::Membership;
use super::live::LiveView;
use super::queue::WatchEvent;
use super::seat::Seat;
use super::subscription::WatchId;
use crate::client::Client;

/// Events that wait for a reader, before they collapse into one word.
const CAPACITY_DEFAULT: usize = 4096;

/// What is to be watched.
#[derive(Debug, Clone)]
#[must_use = "a watch does nothing until it is started"]
pub struct WatchBuilder {
    client: Client,
    selector: Selector,
    capacity: usize,
}

impl WatchBuilder {
    pub(crate) fn new(client: Client, selector: Selector) -> Self {
        Self { client, selector, capacity: CAPACITY_DEFAULT }
    }

    /// How many events may wait for a reader, at least one, 4096 by default. When there are more, all
    /// of them are replaced by one [`WatchEvent::Resynchronise`].
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// Watches as soon as a node answers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Watch {
        let hub = self.client.hubs().join(&self.client);
        let (id, seat) = hub.shared.act(|hub, moment| hub.subscribe(moment, self.selector, self.capacity));
        Watch { place: Arc::new(Place { hub, id, seat }) }
    }
}

/// A watch: a stream of events, and a view of the state that they lead to.
///
/// The events need not be read: what waits is bounded. Acknowledging is done by itself, when the view
/// has the change and not when somebody has read of it. The watch ends when it and all its views are dropped.
#[derive(Debug)]
pub struct Watch {
    place: Arc<Place>,
}

/// A seat at the hub; left when the last reader is dropped.
#[derive(Debug)]
pub(super) struct Place {
    hub: Arc<Membership>,
    id: WatchId,
    pub(super) seat: Arc<Seat>,
}

impl Watch {
    /// The next event. `None` when nothing more comes, because the node refuses the watch for good.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        self.place.seat.queue.pop().await
    }

    /// The state as it is and becomes.
    #[must_use]
    pub fn view(&self) -> LiveView {
        LiveView::new(self.place.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A view may live on; the events have no reader any more.
        self.place.seat.queue.abandon();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.shared.act(|hub, _| hub.unsubscribe(self.id));
    }
}
