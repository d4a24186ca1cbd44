//! The producer between its handles and its driver: the machine, and the intake that it is fed from.

use std::sync::Arc;
use std::time::Instant;

use roster_core::queue::Message;
use roster_proto::v1;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use super::intake::Intake;
use super::machine::Machine;
use super::pending::{Ticket, settle};
use crate::endpoint::Lease;
use crate::moment::Moment;
use crate::queue::failure::Failure;
use crate::queue::link::Link;
use crate::stream::{Loss, Opening, Protocol, Step};

/// The [`Protocol`] of a producer.
pub(super) struct Publishing {
    machine: Machine<Ticket>,
    intake: Arc<Intake>,
    link: watch::Sender<Link>,
    stored: watch::Sender<Option<u64>>,
    /// What failed because of the end, and nobody waited for it. No more than the intake has room for.
    orphans: Vec<Message>,
}

impl Publishing {
    pub(super) fn new(machine: Machine<Ticket>, intake: Arc<Intake>) -> Self {
        let (link, stored) = (watch::Sender::new(Link::Connecting), watch::Sender::new(None));
        Self { machine, intake, link, stored, orphans: Vec::new() }
    }

    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(super) fn stored(&self) -> watch::Receiver<Option<u64>> {
        self.stored.subscribe()
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.machine.failure().cloned()
    }

    pub(super) fn is_done(&self) -> bool {
        self.machine.is_done()
    }

    /// Takes nothing more in, and ends when everything is answered or the moment has come.
    pub(super) fn leave(&mut self, until: Instant) {
        self.intake.close(self.ended("closed"));
        self.fetch();
        self.machine.leave(until);
    }

    /// Ends at once. What is not known to be stored fails; what nobody waits for is returned.
    pub(super) fn abandon(&mut self) -> Vec<Message> {
        let failure = self.ended("abandoned");
        self.intake.close(failure.clone());
        self.fetch();
        self.machine.end(failure);
        self.tell();
        std::mem::take(&mut self.orphans)
    }

    fn ended(&self, why: &str) -> Failure {
        Failure::Ended { what: format!("producer of {}", self.machine.dialog().queue()).into(), why: why.into() }
    }

    fn fetch(&mut self) {
        self.intake.fetch().into_iter().for_each(|entry| self.machine.take_in(entry));
    }

    fn tell(&mut self) {
        while let Some(report) = self.machine.poll_report() {
            let orphan = settle(report);
            if self.machine.failure().is_some() {
                self.orphans.extend(orphan);
            }
        }
        self.intake.keeps(self.machine.kept());
        if let Some(link) = self.machine.poll_link() {
            tracing::debug!(?link, queue = %self.machine.dialog().queue(), "the stream of the producer");
            self.link.send_replace(link);
        }
    }
}

impl Protocol for Publishing {
    type Request = v1::PublishStreamRequest;
    type Response = v1::PublishStreamResponse;

    fn open(&self, lease: &Lease, requests: ReceiverStream<Self::Request>) -> Opening<Self::Response> {
        let (mut queues, creation) = (lease.queues(), self.machine.dialog().creation());
        Box::pin(async move {
            if let Some(creation) = creation {
                queues.create_queue(creation).await?;
            }
            Ok(queues.publish_stream(requests).await?.into_inner())
        })
    }

    fn handle_opened(&mut self, _: Moment) {} // only the node's own word counts

    fn handle_received(&mut self, moment: Moment, response: Self::Response) {
        self.machine.handle_received(moment, response);
    }

    fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        self.machine.handle_lost(moment, loss);
    }

    fn handle_timeout(&mut self, moment: Moment) {
        if self.intake.due().is_some_and(|due| due <= moment.now) {
            self.fetch();
        }
        self.machine.handle_timeout(moment);
    }

    fn poll_step(&mut self) -> Option<Step> {
        self.machine.poll_step()
    }

    fn has_message(&self) -> bool {
        self.machine.has_message() || self.machine.has_room() && !self.intake.is_empty()
    }

    fn poll_message(&mut self, _: Instant) -> Option<Self::Request> {
        // What cannot be sent yet stays in the intake, where more of it wakes nobody.
        if self.machine.has_room() {
            self.fetch();
        }
        self.machine.poll_message()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.machine.poll_timeout(), self.intake.due()].into_iter().flatten().min()
    }

    fn publish(&mut self) {
        if let Some(failure) = self.machine.failure() {
            self.intake.close(failure.clone());
            self.fetch();
        }
        self.tell();
        if self.stored.borrow().is_none() && self.machine.stored().is_some() {
            self.stored.send_replace(self.machine.stored());
        }
    }
}
