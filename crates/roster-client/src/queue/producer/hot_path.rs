//! The way of a message from its publisher to the wire, and of its receipt back, for `benches/sdk.rs`.

use std::sync::Arc;

use roster_core::queue::{Message, QueueName};
use roster_proto::v1;
use roster_proto::v1::publish_stream_response::Response;

use super::intake::{Capacity, Intake};
use super::machine::{Machine, Settings};
use super::pending::Pending;
use super::seat::Publishing;
use crate::hot_paths::at_once;
use crate::moment::Moment;
use crate::queue::dialog::Target;
use crate::reconnect::BackOff;
use crate::stream::Protocol;

/// A producer whose stream stands.
#[allow(missing_debug_implementations, reason = "for benchmarks")]
pub struct Published {
    publishing: Publishing,
    intake: Arc<Intake>,
    moment: Moment,
}

impl Published {
    #[must_use]
    pub fn open() -> Self {
        let moment = Moment::take();
        let queue = QueueName::parse("orders").expect("a name of a queue");
        let patience = std::time::Duration::from_secs(30);
        let endpoints = vec!["a".into()];
        let target = Target { queue, create: None, endpoints, back_off: BackOff::default(), patience };
        let intake = Arc::new(Intake::new(Capacity { messages: 1 << 15, bytes: 1 << 26 }, None));
        let settings = Settings { target, producer: "a".to_owned(), deadline: None };
        let mut publishing = Publishing::new(Machine::new(settings, moment.now), intake.clone());
        publishing.handle_timeout(moment);
        while publishing.poll_step().is_some() {}
        while publishing.poll_message(moment.now).is_some() {}
        let mut published = Self { publishing, intake, moment };
        published.answer(Response::Opened(v1::PublishOpened { last_sequence: 0, message_bytes_max: 1 << 20 }));
        published
    }

    /// Hands a message over.
    ///
    /// # Panics
    /// When there is no room.
    pub fn publish(&self, message: Message) -> Pending {
        let taken = at_once(self.intake.push(message)).and_then(Result::ok);
        taken.expect("there is room").0
    }

    /// What goes to the node.
    pub fn request(&mut self) -> Option<v1::PublishStreamRequest> {
        self.publishing.has_message().then(|| self.publishing.poll_message(self.moment.now))?
    }

    /// What the node says.
    pub fn answer(&mut self, response: Response) {
        self.publishing.handle_received(self.moment, v1::PublishStreamResponse { response: Some(response) });
        self.publishing.publish();
    }

    /// Whether the receipt has come.
    pub fn is_stored(pending: Pending) -> bool {
        at_once(pending).is_some_and(|receipt| receipt.is_ok())
    }
}
