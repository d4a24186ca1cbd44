//! The consumer between its workers and its driver: the machine, and the board that both look at.

use std::sync::Arc;
use std::time::Instant;

use roster_proto::v1;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use super::board::Board;
use super::machine::{ConsumerCounts, Machine, Verdict};
use crate::endpoint::Lease;
use crate::moment::Moment;
use crate::queue::failure::Failure;
use crate::queue::link::Link;
use crate::stream::{Loss, Opening, Protocol, Step};

/// The [`Protocol`] of a consumer.
pub(super) struct Consuming {
    machine: Machine,
    board: Arc<Board>,
    link: watch::Sender<Link>,
}

impl Consuming {
    pub(super) fn new(machine: Machine, board: Arc<Board>) -> Self {
        Self { machine, board, link: watch::Sender::new(Link::Connecting) }
    }

    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(super) fn counts(&self) -> ConsumerCounts {
        self.machine.counts()
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.machine.failure().cloned()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.machine.is_complete()
    }

    /// Gets nothing more, gives back what nobody began, and ends when the rest is settled or the moment
    /// has come.
    pub(super) fn leave(&mut self, until: Instant) {
        self.board.close();
        self.machine.leave(until);
        self.release_unused();
    }

    /// The same, except that what is not settled is given back at once.
    pub(super) fn drop_off(&mut self, until: Instant) {
        self.take_verdicts();
        self.leave(until);
        self.machine.give_back();
    }

    fn release_unused(&mut self) {
        for id in self.board.take_unused() {
            self.machine.settle(id, Verdict::Unused);
        }
    }

    fn take_verdicts(&mut self) {
        for (id, verdict) in self.board.take_verdicts() {
            self.machine.settle(id, verdict);
        }
    }
}

impl Protocol for Consuming {
    type Request = v1::ConsumeRequest;
    type Response = v1::ConsumeResponse;

    fn open(&self, lease: &Lease, requests: ReceiverStream<Self::Request>) -> Opening<Self::Response> {
        let (mut queues, creation) = (lease.queues(), self.machine.dialog().creation());
        Box::pin(async move {
            if let Some(creation) = creation {
                queues.create_queue(creation).await?;
            }
            Ok(queues.consume(requests).await?.into_inner())
        })
    }

    fn handle_opened(&mut self, _: Moment) {} // only the node's own word counts

    fn handle_received(&mut self, moment: Moment, response: Self::Response) {
        self.take_verdicts();
        self.machine.handle_received(moment, response);
    }

    fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        self.take_verdicts();
        self.release_unused();
        self.machine.handle_lost(moment, loss);
    }

    fn handle_timeout(&mut self, moment: Moment) {
        self.take_verdicts();
        self.machine.handle_timeout(moment);
    }

    fn poll_step(&mut self) -> Option<Step> {
        self.machine.poll_step()
    }

    fn has_message(&self) -> bool {
        self.machine.has_message() || self.machine.may_speak() && self.board.has_verdicts()
    }

    fn poll_message(&mut self, _: Instant) -> Option<Self::Request> {
        self.take_verdicts();
        self.machine.poll_message()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn publish(&mut self) {
        if self.machine.is_leaving() {
            self.take_verdicts();
            self.machine.end_if_complete();
        }
        let deliveries = self.machine.take_deliveries();
        if !deliveries.is_empty() {
            self.board.push(deliveries);
        }
        if self.machine.failure().is_some() {
            self.board.close();
        }
        if let Some(link) = self.machine.poll_link() {
            tracing::debug!(?link, queue = %self.machine.dialog().queue(), "the stream of the consumer");
            self.link.send_replace(link);
        }
    }
}
