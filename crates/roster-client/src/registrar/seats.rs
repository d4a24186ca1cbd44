//! The session between its handles and its driver: the machine, and a seat for each handle to read from.

use std::collections::HashMap;
use std::time::Instant;

use roster_proto::v1;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use super::book::Report;
use super::entry::Key;
use super::machine::{Machine, Settings};
use super::state::{Connection, DrainStanding, Standing, State};
use crate::announcement::Announcement;
use crate::endpoint::Lease;
use crate::moment::Moment;
use crate::stream::{Loss, Opening, Protocol, Step};

/// The [`Protocol`] of a registrar.
pub(super) struct Session {
    machine: Machine,
    seats: HashMap<Key, watch::Sender<Standing>>,
    drains: HashMap<Key, watch::Sender<DrainStanding>>,
    connection: watch::Sender<Connection>,
}

impl Session {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            machine: Machine::new(settings, Moment::take()),
            seats: HashMap::new(),
            drains: HashMap::new(),
            connection: watch::Sender::new(Connection::Connecting),
        }
    }

    pub(super) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    pub(super) fn announce(&mut self, announcement: Announcement) -> (Key, watch::Receiver<Standing>) {
        let seat = watch::Sender::new(Standing { state: State::Waiting, answered: 0 });
        let standing = seat.subscribe();
        let key = self.machine.book.announce(announcement);
        self.seats.insert(key, seat);
        if self.machine.farewell().is_some() {
            self.machine.book.end_all();
        }
        (key, standing)
    }

    pub(super) fn update(&mut self, key: Key, announcement: Announcement) -> Option<u64> {
        self.machine.book.update(key, announcement)
    }

    pub(super) fn withdraw(&mut self, key: Key) {
        self.machine.book.withdraw(key);
    }

    pub(super) fn drain(&mut self, key: Key, deadline: Instant) -> Option<watch::Receiver<DrainStanding>> {
        if !self.machine.book.drain(key, deadline) {
            return None;
        }
        let seat = watch::Sender::new(DrainStanding::Asked);
        let standing = seat.subscribe();
        self.drains.insert(key, seat);
        Some(standing)
    }

    pub(super) fn leave(&mut self, moment: Moment) {
        self.machine.leave(moment);
    }

    /// How it ended, once it has.
    pub(super) fn farewell(&self) -> Option<Result<(), String>> {
        self.machine.farewell().cloned()
    }
}

impl Protocol for Session {
    type Request = v1::SessionRequest;
    type Response = v1::SessionResponse;

    fn open(&self, lease: &Lease, requests: ReceiverStream<Self::Request>) -> Opening<Self::Response> {
        let mut registry = lease.registry();
        Box::pin(async move { Ok(registry.session(requests).await?.into_inner()) })
    }

    fn handle_opened(&mut self, _: Moment) {} // only a welcome counts

    fn handle_received(&mut self, moment: Moment, response: Self::Response) {
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
        while let Some(report) = self.machine.book.poll_report() {
            match report {
                Report::Standing(key, standing) => {
                    let ended = standing.state == State::Ended;
                    if let Some(seat) = self.seats.get(&key) {
                        seat.send_replace(standing);
                    }
                    if ended {
                        self.seats.remove(&key);
                        self.drains.remove(&key);
                    }
                }
                Report::Drain(key, standing) => {
                    let over = matches!(&standing, DrainStanding::Progress(progress) if progress.finished)
                        || matches!(standing, DrainStanding::Refused(_));
                    if let Some(seat) = self.drains.get(&key) {
                        seat.send_replace(standing);
                    }
                    if over {
                        self.drains.remove(&key);
                    }
                }
            }
        }
        if let Some(connection) = self.machine.poll_connection() {
            tracing::debug!(?connection, "the session of the registrar");
            self.connection.send_replace(connection);
        }
    }
}
