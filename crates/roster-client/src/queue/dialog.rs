//! Opening a stream to a queue, and opening it again: what producers and consumers have in common.
//!
//! A pure machine inside theirs: time and chance come with each input, what it wants done is polled.
//!
//! # Always true
//! * **P5, made before it is used**: a queue that is to be created is asked for before the first stream,
//!   and again when the node does not know it any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roster_core::queue::{QueueName, Settings};
use roster_proto::convert::{Advice, encode_queue_settings};
use roster_proto::v1;
use roster_proto::v1::refusal::Code;

use super::failure::Failure;
use super::link::Link;
use crate::client::Client;
use crate::moment::Moment;
use crate::reconnect::{Attempt, BackOff, Reconnect};
use crate::stream::{Loss, Step};

/// Where a stream is opened, and how.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) queue: QueueName,
    /// Created when it is not there.
    pub(super) create: Option<Settings>,
    pub(super) endpoints: Vec<Arc<str>>,
    pub(super) back_off: BackOff,
    /// How long an attempt may take until the node has opened the stream.
    pub(super) patience: Duration,
}

impl Target {
    pub(super) fn new(client: &Client, queue: QueueName, create: Option<Settings>) -> Self {
        Self {
            queue,
            create,
            endpoints: client.endpoints().iter().map(|endpoint| endpoint.url().clone()).collect(),
            back_off: client.back_off(),
            patience: client.deadline(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resting { until: Instant },
    Opening { until: Instant },
    Standing,
    Ended,
}

#[derive(Debug)]
pub(super) struct Dialog {
    call: &'static str,
    target: Target,
    reconnect: Reconnect,
    phase: Phase,
    create_due: bool,
    away_since: Option<Instant>,
    steps: VecDeque<Step>,
    link: Option<Link>,
}

impl Dialog {
    pub(super) fn new(call: &'static str, target: Target, now: Instant) -> Self {
        Self {
            call,
            reconnect: Reconnect::new(target.back_off, target.endpoints.len()),
            create_due: target.create.is_some(),
            target,
            phase: Phase::Resting { until: now },
            away_since: None,
            steps: VecDeque::new(),
            link: None,
        }
    }

    pub(super) fn queue(&self) -> &QueueName {
        &self.target.queue
    }

    /// Whom the stream goes to, or went or will go to.
    pub(super) fn endpoint(&self) -> &Arc<str> {
        &self.target.endpoints[self.reconnect.endpoint()]
    }

    pub(super) fn is_standing(&self) -> bool {
        self.phase == Phase::Standing
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. })
    }

    /// What to ask for before the stream.
    pub(super) fn creation(&self) -> Option<v1::CreateQueueRequest> {
        let settings = self.target.create.filter(|_| self.create_due)?;
        Some(v1::CreateQueueRequest {
            queue: self.target.queue.as_str().to_owned(),
            r#type: v1::QueueType::Work.into(),
            settings: Some(encode_queue_settings(&settings)),
        })
    }

    /// The node has opened the stream.
    pub(super) fn stands(&mut self, now: Instant) {
        self.phase = Phase::Standing;
        self.create_due = false;
        self.away_since = None;
        self.reconnect.stands(now);
        self.link = Some(Link::Connected { endpoint: self.endpoint().clone() });
    }

    /// The stream is no more. It is opened again, unless the refusal says that this is of no use.
    pub(super) fn lost(&mut self, moment: Moment, loss: Loss) -> Result<(), Failure> {
        if self.phase == Phase::Ended {
            return Ok(());
        }
        let attempt = match loss.refusal {
            Some(refusal) if self.target.create.is_some() && refusal.code() == Code::UnknownQueue => {
                // Once at once; a queue that vanishes again and again gets its pauses.
                let was_due = std::mem::replace(&mut self.create_due, true);
                if was_due { self.reconnect.lost(moment) } else { self.reconnect.again(moment.now) }
            }
            Some(refusal) if matches!(refusal.advice(), Advice::FixRequest | Advice::GiveUp) => {
                return Err(self.refused(refusal));
            }
            Some(_) | None => self.reconnect.lost(moment),
        };
        self.fall(moment, attempt, loss.why);
        Ok(())
    }

    /// A refusal of this call by this node.
    pub(super) fn refused(&self, refusal: v1::Refusal) -> Failure {
        Failure::Refused { call: self.call, endpoint: self.endpoint().clone(), refusal: Arc::new(refusal) }
    }

    /// This stream is of no use any more; another is opened after a pause, if one is due.
    pub(super) fn hang_up(&mut self, moment: Moment, why: &str) {
        self.steps.push_back(Step::HangUp);
        let attempt = self.reconnect.lost(moment);
        self.fall(moment, attempt, why.to_owned());
    }

    /// The node is well, only this stream is not what is wanted: another, at once.
    pub(super) fn reopen(&mut self, moment: Moment, why: &str) {
        self.steps.push_back(Step::HangUp);
        let attempt = self.reconnect.again(moment.now);
        self.fall(moment, attempt, why.to_owned());
    }

    /// The queue is not there (any more) and shall be made.
    pub(super) fn recreate(&mut self, moment: Moment) {
        self.create_due = true;
        self.reopen(moment, "the queue is not known; it is created");
    }

    pub(super) fn creates(&self) -> bool {
        self.target.create.is_some()
    }

    /// Returns whether a stream is being opened: then the first request is due.
    pub(super) fn handle_timeout(&mut self, moment: Moment) -> Timeout {
        match self.phase {
            Phase::Resting { until } if until <= moment.now => {
                self.steps.push_back(Step::Open { endpoint: self.reconnect.endpoint() });
                self.phase = Phase::Opening { until: moment.now + self.target.patience };
                Timeout::Opening
            }
            Phase::Opening { until } if until <= moment.now => {
                self.steps.push_back(Step::Discard);
                let attempt = self.reconnect.lost(moment);
                let why = format!("the stream was not opened within {:?}", self.target.patience);
                self.fall(moment, attempt, why);
                Timeout::Lost
            }
            Phase::Resting { .. } | Phase::Opening { .. } | Phase::Standing | Phase::Ended => Timeout::Nothing,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resting { until } | Phase::Opening { until } => Some(until),
            Phase::Standing | Phase::Ended => None,
        }
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn poll_link(&mut self) -> Option<Link> {
        self.link.take()
    }

    pub(super) fn end(&mut self, why: String) {
        self.phase = Phase::Ended;
        self.link = Some(Link::Ended { why });
        self.steps.push_back(Step::HangUp);
        self.steps.push_back(Step::Finish);
    }

    fn fall(&mut self, moment: Moment, attempt: Attempt, why: String) {
        self.phase = Phase::Resting { until: attempt.at };
        let since = *self.away_since.get_or_insert(moment.now);
        self.link = Some(Link::Away { since, why });
    }
}

/// What the time that has come was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    Nothing,
    /// A stream is being opened.
    Opening,
    /// It was not opened in time.
    Lost,
}
