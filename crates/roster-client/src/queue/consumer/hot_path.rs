//! The way of a delivery from the wire to its handler, and of its acknowledgement back, for `benches/sdk.rs`.

use std::sync::Arc;

use bytes::Bytes;
use roster_core::queue::QueueName;
use roster_proto::v1;

use super::board::Board;
use super::delivery::{Claim, Debt, Delivery};
use super::machine::{Machine, Settings};
use super::seat::Consuming;
use crate::hot_paths::at_once;
use crate::moment::Moment;
use crate::queue::dialog::Target;
use crate::queue::format::Raw;
use crate::reconnect::BackOff;
use crate::stream::{Protocol, Shared};

/// A consumer whose stream stands.
#[allow(missing_debug_implementations, reason = "for benchmarks")]
pub struct Consumed {
    shared: Arc<Shared<Consuming>>,
    board: Arc<Board>,
}

impl Consumed {
    #[must_use]
    pub fn open() -> Self {
        let moment = Moment::take();
        let queue = QueueName::parse("orders").expect("a name of a queue");
        let patience = std::time::Duration::from_secs(30);
        let endpoints = vec!["a".into()];
        let target = Target { queue, create: None, endpoints, back_off: BackOff::default(), patience };
        let settings = Settings { target, consumer: String::new(), window: 1_024, extend_max: None };
        let board = Arc::new(Board::new(0, 1));
        let consuming = Consuming::new(Machine::new(settings, moment.now), board.clone());
        let consumed = Self { shared: Arc::new(Shared::new(consuming)), board };
        consumed.shared.act(|consuming, moment| {
            consuming.handle_timeout(moment);
            while consuming.poll_step().is_some() {}
        });
        while consumed.request().is_some() {}
        let opened = v1::ConsumeOpened { ack_timeout_ms: 30_000, ..Default::default() };
        consumed.deliver(v1::ConsumeResponse { opened: Some(opened), ..Default::default() });
        consumed
    }

    /// What the node says.
    pub fn deliver(&self, response: v1::ConsumeResponse) {
        self.shared.act(|consuming, moment| consuming.handle_received(moment, response));
    }

    /// The next message.
    #[must_use]
    pub fn next(&self) -> Option<Claim<Bytes>> {
        let wire = at_once(self.board.take())??;
        let (board, shared) = (self.board.clone(), self.shared.clone());
        let debt = Debt { id: wire.message_id, board, shared, paid: false };
        Some(Claim::new(Delivery::decode::<Raw>(wire).ok()?, debt))
    }

    /// What goes to the node.
    #[must_use]
    pub fn request(&self) -> Option<v1::ConsumeRequest> {
        self.shared.act(|consuming, moment| consuming.has_message().then(|| consuming.poll_message(moment.now))?)
    }
}
