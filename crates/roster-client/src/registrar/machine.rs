//! The conversation of a session: hello, welcome, operations, ping, notice, farewell.
//!
//! A pure machine: time and chance come with each input, what it wants done is polled.
//!
//! # Always true
//! * **S1, a session is kept**: after any loss it is resumed, and only when the node does not know it
//!   any more, or says it has expired, a new one is opened.
//! * **S2, silence is loss**: no word for three ping intervals, no welcome in time, no result in time.
//! * **S3, two do not fight**: who is told that its session was resumed elsewhere stops.
//! * **S4, it ends**: after goodbye there is a last moment, whatever the node does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use roster_core::{Grace, SessionId};
use roster_proto::v1;
use roster_proto::v1::farewell::Reason;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;

use super::book::{Book, Tenure, Verdict};
use super::state::Connection;
use crate::moment::Moment;
use crate::reconnect::{Attempt, BackOff, Reconnect};
use crate::stream::{Loss, Step};

/// How long results may take: longer than a disk may stall without anything being wrong.
const RESULTS_DEADLINE: Duration = Duration::from_secs(30);
/// How long a farewell may take.
pub(super) const FAREWELL_DEADLINE: Duration = Duration::from_secs(3);
/// When a welcome names no ping interval.
const PING_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// What a session is opened with.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) grace: Grace,
    pub(super) endpoints: Vec<Arc<str>>,
    pub(super) back_off: BackOff,
    /// How long an attempt may take until its welcome.
    pub(super) patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resting { until: Instant },
    Opening { until: Instant },
    Standing { since_word: Instant },
    Ended,
}

#[derive(Debug, Clone)]
struct Credentials {
    session: SessionId,
    secret: Bytes,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) book: Book,
    settings: Settings,
    reconnect: Reconnect,
    phase: Phase,
    credentials: Option<Credentials>,
    ping_interval: Duration,
    /// Since when the node is away, to tell the handles.
    away_since: Option<Instant>,
    /// Goodbye was said or is due; at this moment it is over.
    leaving: Option<Instant>,
    farewell: Option<Result<(), String>>,
    messages: VecDeque<Request>,
    steps: VecDeque<Step>,
    connection: Option<Connection>,
}

impl Machine {
    pub(super) fn new(settings: Settings, moment: Moment) -> Self {
        Self {
            book: Book::default(),
            reconnect: Reconnect::new(settings.back_off, settings.endpoints.len()),
            settings,
            phase: Phase::Resting { until: moment.now },
            credentials: None,
            ping_interval: PING_INTERVAL_DEFAULT,
            away_since: None,
            leaving: None,
            farewell: None,
            messages: VecDeque::new(),
            steps: VecDeque::new(),
            connection: None,
        }
    }

    /// Ends the session: by goodbye if the node can be reached in time, else by leaving it to its grace.
    pub(super) fn leave(&mut self, moment: Moment) {
        if self.leaving.is_some() || self.phase == Phase::Ended {
            return;
        }
        self.leaving = Some(moment.now + FAREWELL_DEADLINE);
        match self.phase {
            Phase::Standing { .. } => self.messages.push_back(Request::Goodbye(v1::Goodbye {})),
            Phase::Opening { .. } => {} // goodbye follows the welcome
            Phase::Resting { .. } if self.credentials.is_some() => {}
            Phase::Resting { .. } => self.end(Ok(())),
            Phase::Ended => {}
        }
    }

    pub(super) fn handle_received(&mut self, moment: Moment, response: v1::SessionResponse) {
        if let Phase::Standing { since_word } = &mut self.phase {
            *since_word = moment.now;
        }
        match response.response {
            Some(Response::Welcome(welcome)) => self.welcomed(moment, welcome),
            Some(Response::Results(results)) => match self.book.handle_results(moment, results) {
                Verdict::Fine => {}
                Verdict::StreamGivenUp => self.hang_up(moment, "the node has given this stream up".to_owned()),
                Verdict::SessionLost => self.forget(moment, "the node does not know the session any more"),
            },
            Some(Response::Ping(ping)) => self.messages.push_front(Request::Pong(v1::Pong { nonce: ping.nonce })),
            Some(Response::Notice(notice)) => self.book.handle_notice(moment.now, &notice),
            Some(Response::DrainProgress(progress)) => self.book.handle_drain_progress(&progress),
            Some(Response::Farewell(farewell)) => self.dismissed(moment, &farewell),
            None => tracing::debug!("the node says what this client does not know"),
        }
    }

    pub(super) fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        if self.phase == Phase::Ended {
            return;
        }
        let unknown = loss.refusal.as_ref().is_some_and(|refusal| {
            matches!(refusal.code(), Code::UnknownSession | Code::Unauthorized) && self.credentials.is_some()
        });
        let attempt = if unknown {
            self.credentials = None; // S1
            self.reconnect.again(moment.now)
        } else {
            self.reconnect.lost(moment)
        };
        self.fall(moment, attempt, loss.why);
    }

    pub(super) fn handle_timeout(&mut self, moment: Moment) {
        if self.leaving.is_some_and(|until| until <= moment.now) {
            return self.end(Err("no farewell came in time".to_owned())); // S4
        }
        match self.phase {
            Phase::Resting { until } if until <= moment.now => self.open(moment),
            Phase::Opening { until } if until <= moment.now => {
                let why = format!("no welcome within {:?}", self.settings.patience);
                self.discard(moment, why);
            }
            Phase::Standing { since_word } if since_word + 3 * self.ping_interval <= moment.now => {
                let why = format!("not a word within {:?}", 3 * self.ping_interval);
                self.discard(moment, why);
            }
            Phase::Standing { .. } if self.results_due().is_some_and(|at| at <= moment.now) => {
                self.discard(moment, format!("no results within {RESULTS_DEADLINE:?}"));
            }
            Phase::Standing { .. } => self.book.handle_timeout(moment),
            Phase::Resting { .. } | Phase::Opening { .. } | Phase::Ended => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Resting { until } | Phase::Opening { until } => Some(until),
            Phase::Standing { since_word } => {
                let silence = since_word + 3 * self.ping_interval;
                [Some(silence), self.results_due(), self.book.poll_timeout()].into_iter().flatten().min()
            }
            Phase::Ended => return None,
        };
        own.into_iter().chain(self.leaving).min()
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn has_message(&self) -> bool {
        !self.messages.is_empty() || self.may_ask() && self.book.has_operations()
    }

    pub(super) fn poll_message(&mut self, now: Instant) -> Option<v1::SessionRequest> {
        let request = match self.messages.pop_front() {
            Some(request) => request,
            None if self.may_ask() && self.book.has_operations() => {
                Request::Operations(self.book.next_operations(now)?)
            }
            None => return None,
        };
        Some(v1::SessionRequest { request: Some(request) })
    }

    /// What the handles shall see, when it changed.
    pub(super) fn poll_connection(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// How it ended, once it has.
    pub(super) fn farewell(&self) -> Option<&Result<(), String>> {
        self.farewell.as_ref()
    }

    fn may_ask(&self) -> bool {
        matches!(self.phase, Phase::Standing { .. }) && self.leaving.is_none()
    }

    fn results_due(&self) -> Option<Instant> {
        self.book.asked_at().map(|at| at + RESULTS_DEADLINE)
    }

    fn open(&mut self, moment: Moment) {
        let (session_id, secret) = match &self.credentials {
            Some(credentials) => (credentials.session.get(), credentials.secret.clone()),
            None => (0, Bytes::new()),
        };
        let hello = v1::Hello {
            session_id,
            secret,
            grace_ms: Some(self.settings.grace.millis()),
            client: self.settings.name.clone(),
        };
        self.messages.push_back(Request::Hello(hello));
        self.steps.push_back(Step::Open { endpoint: self.reconnect.endpoint() });
        self.phase = Phase::Opening { until: moment.now + self.settings.patience };
    }

    fn welcomed(&mut self, moment: Moment, welcome: v1::Welcome) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            tracing::warn!("a second welcome on one stream");
            return;
        }
        let session = SessionId::new(welcome.session_id);
        if !welcome.resumed {
            self.credentials = Some(Credentials { session, secret: welcome.secret });
        }
        if welcome.ping_interval_ms != 0 {
            self.ping_interval = Duration::from_millis(welcome.ping_interval_ms.into());
        }
        self.reconnect.stands(moment.now);
        self.phase = Phase::Standing { since_word: moment.now };
        self.away_since = None;
        let endpoint = self.settings.endpoints[self.reconnect.endpoint()].clone();
        self.connection = Some(Connection::Connected { session, endpoint });
        let tenure = if welcome.resumed { Tenure::Resumed } else { Tenure::New };
        self.book.handle_welcome(moment.now, tenure, &welcome.instances);
        if self.leaving.is_some() {
            self.messages.push_back(Request::Goodbye(v1::Goodbye {}));
        }
    }

    fn dismissed(&mut self, moment: Moment, farewell: &v1::Farewell) {
        let why = |otherwise: &str| match farewell.message.as_str() {
            "" => otherwise.to_owned(),
            message => message.to_owned(),
        };
        match farewell.reason() {
            Reason::Goodbye => {
                let unasked = "the node ended the session unasked".to_owned();
                self.end(if self.leaving.is_some() { Ok(()) } else { Err(unasked) });
            }
            Reason::ResumedElsewhere => self.end(Err(why("another process has resumed this session"))), // S3
            Reason::Expired => self.forget(moment, &why("the session has expired")),
            Reason::Shutdown => {
                self.steps.push_back(Step::HangUp);
                let attempt = self.reconnect.sent_away(moment);
                self.fall(moment, attempt, why("the node stops"));
            }
            Reason::Protocol | Reason::TooSlow | Reason::Unspecified => {
                let why = why("the node ended the stream");
                tracing::warn!(%why, "the registry ended the session stream");
                self.hang_up(moment, why);
            }
        }
    }

    /// The session is no more: a new one is opened at the same node (S1).
    fn forget(&mut self, moment: Moment, why: &str) {
        self.credentials = None;
        self.hang_up(moment, why.to_owned());
    }

    /// This stream is of no use any more.
    fn hang_up(&mut self, moment: Moment, why: String) {
        self.steps.push_back(Step::HangUp);
        let attempt = self.reconnect.lost(moment);
        self.fall(moment, attempt, why);
    }

    /// The connection is silent (S2).
    fn discard(&mut self, moment: Moment, why: String) {
        self.steps.push_back(Step::Discard);
        let attempt = self.reconnect.lost(moment);
        self.fall(moment, attempt, why);
    }

    fn fall(&mut self, moment: Moment, attempt: Attempt, why: String) {
        self.messages.clear();
        self.book.handle_lost();
        if self.leaving.is_some() && self.credentials.is_none() {
            return self.end(Ok(())); // no session is left to say goodbye to
        }
        self.phase = Phase::Resting { until: attempt.at };
        let since = *self.away_since.get_or_insert(moment.now);
        self.connection = Some(Connection::Away { since, why });
    }

    fn end(&mut self, farewell: Result<(), String>) {
        let why = farewell.clone().err().unwrap_or_else(|| "closed".to_owned());
        self.farewell = Some(farewell);
        self.phase = Phase::Ended;
        self.messages.clear();
        self.book.end_all();
        self.connection = Some(Connection::Ended { why });
        self.steps.push_back(Step::HangUp);
        self.steps.push_back(Step::Finish);
    }
}
