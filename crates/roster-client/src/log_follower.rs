//! A log of a node, followed as it grows: a stream of pieces, opened anew when it ends.
//!
//! What the pieces mean, and what the caller holds already, is the caller's: this knows neither files nor disks.

use std::time::Duration;

use roster_proto::v1;
use roster_proto::v1::follow_response::Piece;
use tokio::time::Instant;
use tonic::Streaming;

use crate::client::Client;
use crate::endpoint::Lease;
use crate::moment::Moment;
use crate::reconnect::{Attempt, Reconnect};
use crate::stream::Loss;

/// A node says something each second.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What following a log has come to.
#[derive(Debug)]
pub enum FollowEvent {
    /// A stream stands; its pieces follow.
    Connected {
        endpoint: String,
    },
    Piece(Piece),
    /// The stream ended, or could not be opened. The next [`connect`](LogFollower::connect) pauses where it should.
    Disconnected {
        why: String,
    },
    /// The node said no, in words that another try will not change.
    Refused(Box<v1::Refusal>),
}

/// Follows one log. Made by [`Client::follow_log`].
#[derive(Debug)]
pub struct LogFollower {
    client: Client,
    log: String,
    reconnect: Reconnect,
    attempt: Option<Attempt>,
    stream: Option<(Lease, Streaming<v1::FollowResponse>)>,
}

impl LogFollower {
    pub(crate) fn new(client: Client, log: String) -> Self {
        let reconnect = Reconnect::new(client.back_off(), client.endpoints().len());
        Self { client, log, reconnect, attempt: None, stream: None }
    }

    /// Whether a stream stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Opens a stream that goes on from what is held; pauses before, when others have failed.
    pub async fn connect(&mut self, held: Vec<v1::HeldFile>) -> FollowEvent {
        if let Some(attempt) = self.attempt.take() {
            tokio::time::sleep_until(Instant::from_std(attempt.at)).await;
        }
        let endpoints = self.client.endpoints();
        let endpoint = &endpoints[self.reconnect.endpoint()];
        let lease = endpoint.lease();
        let request = v1::FollowRequest { log: self.log.clone(), held };
        let opened = tokio::time::timeout(self.client.deadline(), lease.backup().follow(request)).await;
        match opened {
            Ok(Ok(stream)) => {
                self.reconnect.stands(Instant::now().into_std());
                self.stream = Some((lease, stream.into_inner()));
                FollowEvent::Connected { endpoint: endpoint.url().to_string() }
            }
            Ok(Err(status)) => self.lose(status.into()),
            Err(_) => {
                endpoint.discard(&lease);
                self.lose(Loss::new(format!("{} did not answer within {:?}", endpoint.url(), self.client.deadline())))
            }
        }
    }

    /// What comes next; without a stream that it is lost. Safe to drop before it is ready.
    pub async fn next(&mut self) -> FollowEvent {
        let Some((lease, stream)) = &mut self.stream else { return self.lose(Loss::new("no stream stands")) };
        match tokio::time::timeout(SILENCE_MAX, stream.message()).await {
            Ok(Ok(Some(response))) => match response.piece {
                Some(piece) => FollowEvent::Piece(piece),
                None => self.lose(Loss::new("the node sent a piece that this client does not know")),
            },
            Ok(Ok(None)) => self.lose(Loss::new("the node ended the stream")),
            Ok(Err(status)) => self.lose(status.into()),
            Err(_) => {
                self.client.endpoints()[self.reconnect.endpoint()].discard(lease);
                self.lose(Loss::new(format!("nothing was heard for {SILENCE_MAX:?}")))
            }
        }
    }

    /// Hangs up: what came made no sense. The next attempt is made as after a loss.
    pub fn hang_up(&mut self) {
        self.stream = None;
        self.attempt = Some(self.reconnect.lost(Moment::take()));
    }

    fn lose(&mut self, loss: Loss) -> FollowEvent {
        use roster_proto::convert::Advice;
        self.hang_up();
        match loss.refusal {
            Some(refusal) => match refusal.advice() {
                Advice::FixRequest | Advice::GiveUp => FollowEvent::Refused(Box::new(refusal)),
                Advice::RetryNow | Advice::RetryLater => FollowEvent::Disconnected { why: refusal.message },
            },
            None => FollowEvent::Disconnected { why: loss.why },
        }
    }
}
