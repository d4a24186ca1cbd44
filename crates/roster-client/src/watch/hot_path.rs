//! The way of a change from the wire to its reader, for `benches/sdk.rs`.

use std::sync::Arc;

use roster_core::Selector;
use roster_proto::v1;
use roster_proto::v1::event::Event;

use super::hub::Hub;
use super::machine::Settings;
use super::queue::WatchEvent;
use super::seat::Seat;
use crate::hot_paths::at_once;
use crate::moment::Moment;
use crate::reconnect::BackOff;
use crate::stream::Protocol;

/// Watches whose states are whole, on a stream that stands.
#[allow(missing_debug_implementations, reason = "for benchmarks")]
pub struct Watched {
    hub: Hub,
    moment: Moment,
    seats: Vec<Arc<Seat>>,
}

impl Watched {
    /// One watch for each service, whose instances these are.
    #[must_use]
    pub fn load(services: &[(String, Vec<v1::Instance>)]) -> Self {
        let moment = Moment::take();
        let patience = std::time::Duration::from_secs(30);
        let endpoints = vec!["a".into()];
        let mut hub = Hub::new(Settings { endpoints, back_off: BackOff::default(), patience, silence: patience });
        let mut seats = Vec::new();
        for (service, _) in services {
            let selector = Selector::parse(service).expect("a name of a service");
            seats.push(hub.subscribe(moment, selector, 4_096).1);
        }
        hub.handle_timeout(moment);
        while hub.poll_step().is_some() {}
        hub.handle_opened(moment);
        while hub.poll_message(moment.now).is_some() {}
        let mut watched = Self { hub, moment, seats };
        for (watch_id, (_, instances)) in (1..).zip(services) {
            let up = instances.iter().map(|instance| Event::Up(instance.clone()));
            let told = [Event::Reset(v1::Reset {})].into_iter().chain(up).chain([Event::Loaded(v1::Loaded {})]);
            let events = told.map(|event| v1::Event { event: Some(event) }).collect();
            let group = Some(v1::EventGroup { position: 1, events });
            let deliveries = vec![v1::Delivery { watch_ids: vec![watch_id], group }];
            watched.deliver(v1::WatchResponse { deliveries, epoch: 1 });
        }
        for nth in 0..watched.seats.len() {
            assert!(watched.seats[nth].view.load().is_loaded(), "the state is whole");
            while let Some(event) = watched.next(nth) {
                assert!(matches!(event, WatchEvent::Change(_) | WatchEvent::Connected { .. }), "{event:?}");
            }
        }
        watched
    }

    /// Takes a message in, and makes known what it says.
    pub fn deliver(&mut self, response: v1::WatchResponse) {
        self.hub.handle_received(self.moment, response);
        self.hub.publish();
        while self.hub.poll_message(self.moment.now).is_some() {}
    }

    /// What the reader of that watch finds.
    pub fn next(&mut self, watch: usize) -> Option<WatchEvent> {
        at_once(self.seats[watch].queue.pop()).flatten()
    }
}
