//! The conversation of a producer: open, batches, results, and everything once more after a loss.
//!
//! A pure machine: time and chance come with each input, what it wants done is polled. `K` is whoever
//! waits for a message.
//!
//! # Always true
//! * **P1, in order and without gaps**: the sequences of the batches follow each other, and the first is
//!   the one after the last that is known to be stored.
//! * **P2, a sequence is one message**: a number gets another message only when every copy of it that was
//!   ever sent is answered; where that is not known the producer goes on under another id.
//! * **P3, nothing is forgotten**: what was taken in is reported exactly once, as stored or as failed.
//! * **P4, bounded**: so many batches are under way at a time, each so long; the rest waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use roster_core::queue::{self, Message, MessageId};
use roster_proto::convert::{Advice, encode_message};
use roster_proto::v1;
use roster_proto::v1::publish_result::Outcome;
use roster_proto::v1::publish_stream_request::Request;
use roster_proto::v1::publish_stream_response::Response;
use roster_proto::v1::refusal::Code;

use super::batch::{Batch, Entry};
use crate::moment::Moment;
use crate::queue::dialog::{Dialog, Target, Timeout};
use crate::queue::failure::Failure;
use crate::queue::link::Link;
use crate::reconnect::BackOff;
use crate::stream::{Loss, Step};

/// Batches that are under way at a time: one is on its way, one in the log, one on its way back, and a
/// lone message that comes meanwhile waits for none of them.
pub(super) const BATCHES_MAX: usize = 8;
/// Messages of one batch.
pub(super) const BATCH_MESSAGES_MAX: usize = 1024;
/// Bytes of one batch; a message that is larger goes alone.
pub(super) const BATCH_BYTES_MAX: u64 = 1024 * 1024;
/// Pauses after refusals that may pass.
const REFUSED: BackOff = BackOff { min: Duration::from_millis(100), max: Duration::from_secs(10) };

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) target: Target,
    /// The id; another one is made of it when the node has forgotten it.
    pub(super) producer: String,
    /// How long a message may wait for its receipt.
    pub(super) deadline: Option<Duration>,
}

/// News for those who wait.
#[derive(Debug)]
pub(super) enum Report<K> {
    /// All of these are stored, with sequences from `first` on. The first `unnamed` of them have no known
    /// id: they were stored and the answer was lost. The others have ids from `id` on.
    Stored { entries: Vec<Entry<K>>, first: u64, unnamed: u64, id: MessageId },
    /// It is not stored, or nobody knows.
    Failed { key: K, message: Message, failure: Failure, fate: Fate },
}

/// What is known of a message whose publishing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is not stored and will not be.
    NotStored,
    /// It was sent; it may be stored, or be stored yet.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Machine<K> {
    dialog: Dialog,
    /// What the id was made of.
    name: String,
    producer: String,
    renewals: u32,
    deadline: Option<Duration>,
    /// Whether the node has told what it knows of the present id.
    known: bool,
    /// The last sequence of the present id that is known to be stored.
    stored: u64,
    waiting: VecDeque<Entry<K>>,
    batches: VecDeque<Batch<K>>,
    /// So many batches from the front were sent on this stream.
    sent: usize,
    /// So many of these were refused; the next answer is for the one behind them.
    refused: usize,
    /// The refusal of the first of them.
    refusal: Option<v1::Refusal>,
    /// Refusals in a row that may pass.
    refusals: u32,
    resume_at: Option<Instant>,
    message_bytes_max: Option<u64>,
    messages: usize,
    bytes: u64,
    leaving: Option<Instant>,
    opening: Option<Request>,
    reports: VecDeque<Report<K>>,
    failure: Option<Failure>,
    /// It has left, and everything was answered.
    done: bool,
}

impl<K> Machine<K> {
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            dialog: Dialog::new("publish", settings.target, now),
            producer: settings.producer.clone(),
            name: settings.producer,
            renewals: 0,
            deadline: settings.deadline,
            known: false,
            stored: 0,
            waiting: VecDeque::new(),
            batches: VecDeque::new(),
            sent: 0,
            refused: 0,
            refusal: None,
            refusals: 0,
            resume_at: None,
            message_bytes_max: None,
            messages: 0,
            bytes: 0,
            leaving: None,
            opening: None,
            reports: VecDeque::new(),
            failure: None,
            done: false,
        }
    }

    pub(super) fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// The last sequence that was stored of a producer of this id, once a node has told.
    pub(super) fn stored(&self) -> Option<u64> {
        self.known.then_some(self.stored)
    }

    /// Messages and bytes that are kept here.
    pub(super) fn kept(&self) -> (usize, u64) {
        (self.messages, self.bytes)
    }

    /// Why it has ended, once it has.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether it has left after everything was answered.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Takes a message in.
    pub(super) fn take_in(&mut self, entry: Entry<K>) {
        self.messages += 1;
        self.bytes += entry.message.bytes();
        match &self.failure {
            None => self.waiting.push_back(entry),
            Some(failure) => {
                let failure = failure.clone();
                self.fail(entry, &failure, Fate::NotStored);
            }
        }
    }

    /// Ends when everything is answered, and at this moment in any case.
    pub(super) fn leave(&mut self, until: Instant) {
        self.leaving = Some(self.leaving.map_or(until, |earlier| earlier.min(until)));
        self.end_if_done();
    }

    /// Ends at once; what is not known to be stored fails.
    pub(super) fn end(&mut self, failure: Failure) {
        if self.failure.is_some() {
            return;
        }
        self.dialog.end(failure.why());
        self.failure = Some(failure.clone());
        self.opening = None;
        for batch in std::mem::take(&mut self.batches) {
            let fate = if batch.ever_sent { Fate::Unknown } else { Fate::NotStored };
            batch.entries.into_iter().for_each(|entry| self.fail(entry, &failure, fate));
        }
        for entry in std::mem::take(&mut self.waiting) {
            self.fail(entry, &failure, Fate::NotStored);
        }
        debug_assert_eq!((self.messages, self.bytes), (0, 0), "P3: something is left behind");
    }

    pub(super) fn handle_received(&mut self, moment: Moment, response: v1::PublishStreamResponse) {
        match response.response {
            Some(Response::Opened(opened)) => self.opened(moment, opened),
            Some(Response::Results(results)) => {
                for result in results.results {
                    if let Err(why) = self.answered(moment, result) {
                        tracing::warn!(queue = %self.dialog.queue(), why, "the node answers what makes no sense");
                        self.stream_is_gone();
                        return self.dialog.hang_up(moment, why);
                    }
                    if !self.dialog.is_standing() {
                        return; // the rest is of a stream that is given up
                    }
                }
            }
            None => tracing::debug!("the node says what this client does not know"),
        }
        self.end_if_done();
    }

    pub(super) fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        self.stream_is_gone();
        if let Err(failure) = self.dialog.lost(moment, loss) {
            self.end(failure);
        }
    }

    pub(super) fn handle_timeout(&mut self, moment: Moment) {
        match self.dialog.handle_timeout(moment) {
            Timeout::Opening => {
                self.opening = Some(Request::Open(v1::OpenPublish {
                    queue: self.dialog.queue().as_str().to_owned(),
                    producer: self.producer.clone(),
                }));
            }
            Timeout::Lost => self.stream_is_gone(),
            Timeout::Nothing => {}
        }
        if self.resume_at.is_some_and(|at| at <= moment.now) {
            self.resume_at = None;
        }
        self.expire(moment.now);
        if self.leaving.is_some_and(|until| until <= moment.now) {
            self.end(self.ended("not everything was answered in time"));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.failure.is_some() {
            return None;
        }
        let due = self.batches.iter().find_map(|batch| batch.due).or_else(|| self.waiting.front()?.due);
        [self.dialog.poll_timeout(), self.resume_at, self.leaving, due].into_iter().flatten().min()
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.dialog.poll_step()
    }

    pub(super) fn poll_link(&mut self) -> Option<Link> {
        self.dialog.poll_link()
    }

    pub(super) fn poll_report(&mut self) -> Option<Report<K>> {
        self.reports.pop_front()
    }

    /// Whether a message that comes now could be sent at once.
    pub(super) fn has_room(&self) -> bool {
        self.may_send() && self.batches.len() < BATCHES_MAX
    }

    pub(super) fn has_message(&self) -> bool {
        self.opening.is_some()
            || self.may_send() && self.sent < self.batches.len().min(BATCHES_MAX)
            || self.has_room() && !self.waiting.is_empty()
    }

    pub(super) fn poll_message(&mut self) -> Option<v1::PublishStreamRequest> {
        if let Some(request) = self.opening.take() {
            return Some(v1::PublishStreamRequest { request: Some(request) });
        }
        if !self.may_send() || self.sent >= BATCHES_MAX {
            return None;
        }
        if self.sent == self.batches.len() {
            let batch = self.form()?;
            self.batches.push_back(batch);
        }
        let batch = self.batches.get_mut(self.sent)?;
        self.sent += 1;
        batch.ever_sent = true;
        let messages = batch.entries.iter().map(|entry| encode_message(&entry.message)).collect();
        let request = Request::Batch(v1::PublishBatch { first_sequence: batch.first, messages });
        Some(v1::PublishStreamRequest { request: Some(request) })
    }

    /// After a refusal nothing is sent until all that was sent is answered (P2).
    fn may_send(&self) -> bool {
        self.dialog.is_standing() && self.refused == 0 && self.resume_at.is_none()
    }

    /// The sequence of the next message that is put into a batch.
    fn next_sequence(&self) -> u64 {
        self.batches.back().map_or(self.stored, Batch::last) + 1
    }

    fn form(&mut self) -> Option<Batch<K>> {
        let mut batch = Batch::new(self.next_sequence());
        while let Some(entry) = self.waiting.front() {
            let bytes = entry.message.bytes();
            if let Some(max) = self.message_bytes_max.filter(|max| bytes > *max) {
                let refusal = queue::Refusal::MessageTooLarge { index: 0, bytes, max };
                let failure = self.dialog.refused(refusal.into());
                let entry = self.waiting.pop_front()?;
                self.fail(entry, &failure, Fate::NotStored);
                continue;
            }
            let is_full = batch.entries.len() >= BATCH_MESSAGES_MAX || batch.bytes + bytes > BATCH_BYTES_MAX;
            if is_full && !batch.entries.is_empty() {
                break;
            }
            batch.push(self.waiting.pop_front()?);
        }
        debug_assert!(batch.entries.len() <= BATCH_MESSAGES_MAX, "P4: {} messages", batch.entries.len());
        (!batch.entries.is_empty()).then_some(batch)
    }

    fn opened(&mut self, moment: Moment, opened: v1::PublishOpened) {
        if !self.dialog.is_opening() {
            tracing::warn!("a second opening on one stream");
            return;
        }
        self.dialog.stands(moment.now);
        self.message_bytes_max = Some(opened.message_bytes_max.into()).filter(|max| *max > 0);
        let last = opened.last_sequence;
        if !std::mem::replace(&mut self.known, true) {
            self.stored = last;
        } else if last < self.stored {
            return self.renew(moment, "the node has forgotten the producer");
        }
        // What was sent and not answered, and is stored all the same.
        while self.stored < last {
            let Some(mut batch) = self.batches.pop_front().filter(|batch| batch.doubtful) else {
                return self.end(self.is_taken());
            };
            let covered = usize::try_from(last - self.stored).unwrap_or(usize::MAX);
            if let Some(rest) = batch.split_off(covered) {
                self.batches.push_front(rest);
            }
            self.report_stored(batch, u64::MAX, MessageId::new(0));
        }
        self.check();
    }

    fn answered(&mut self, moment: Moment, result: v1::PublishResult) -> Result<(), &'static str> {
        if self.refused >= self.sent {
            return Err("a result of what was not sent");
        }
        let Some(batch) = self.batches.get(self.refused).filter(|batch| batch.first == result.first_sequence) else {
            return Err("a result of another batch than the next");
        };
        match result.outcome.ok_or("a result without an outcome")? {
            Outcome::Published(published) => {
                if self.refused > 0 {
                    return Err("a batch was stored behind one that was refused");
                }
                if published.stored.checked_add(published.duplicates) != Some(batch.entries.len() as u64) {
                    return Err("a batch was stored in part");
                }
                if published.duplicates > 0 && !batch.doubtful {
                    self.end(self.is_taken());
                    return Ok(());
                }
                let Some(batch) = self.batches.pop_front() else { return Ok(()) };
                self.sent -= 1;
                self.refusals = 0;
                self.report_stored(batch, published.duplicates, MessageId::new(published.first_message_id));
            }
            Outcome::Refusal(refusal) => {
                self.refused += 1;
                self.refusal.get_or_insert(refusal);
            }
        }
        if self.refused > 0 && self.refused == self.sent {
            self.repair(moment);
        }
        self.check();
        Ok(())
    }

    /// Everything that was sent is answered, and the first batch was refused.
    fn repair(&mut self, moment: Moment) {
        (self.sent, self.refused) = (0, 0);
        let Some(refusal) = self.refusal.take() else { return };
        match (refusal.code(), refusal.advice()) {
            (Code::SequenceGap, _) => self.renew(moment, "the node has forgotten the producer"),
            (Code::UnknownQueue, _) if self.dialog.creates() => {
                self.stream_is_gone();
                self.dialog.recreate(moment);
            }
            (Code::UnknownQueue, _) => self.end(self.dialog.refused(refusal)),
            (_, Advice::RetryNow | Advice::RetryLater) => {
                self.refusals += 1;
                self.resume_at = Some(moment.jittered(REFUSED.pause(self.refusals)));
            }
            (_, Advice::FixRequest | Advice::GiveUp) => self.narrow_down(moment, refusal),
        }
    }

    /// One message of the first batch is to blame. Halved until it stands alone, and fails alone.
    fn narrow_down(&mut self, moment: Moment, refusal: v1::Refusal) {
        let Some(mut batch) = self.batches.pop_front() else { return };
        if let Some(rest) = batch.split_off(batch.entries.len() / 2) {
            self.batches.push_front(rest);
            self.batches.push_front(batch);
            return;
        }
        let failure = self.dialog.refused(refusal);
        let is_doubtful = batch.doubtful || self.batches.iter().any(|batch| batch.doubtful);
        batch.entries.into_iter().for_each(|entry| self.fail(entry, &failure, Fate::NotStored));
        if is_doubtful {
            self.renew(moment, "a message was refused after a reconnect");
        } else {
            self.number_from(self.stored + 1);
        }
    }

    /// Goes on under another id. What was sent under the old one and not answered may be stored twice.
    fn renew(&mut self, moment: Moment, why: &str) {
        self.renewals += 1;
        let luck = (moment.chance * (1u64 << 52) as f64) as u64;
        self.producer = format!("{}~{}-{luck:013x}", self.name, self.renewals);
        tracing::debug!(queue = %self.dialog.queue(), producer = self.producer, why, "the producer takes another id");
        self.stream_is_gone();
        self.stored = 0;
        self.number_from(1);
        self.batches.iter_mut().for_each(|batch| batch.doubtful = false);
        if self.renewals == 1 {
            self.dialog.reopen(moment, why);
        } else {
            self.dialog.hang_up(moment, why); // a node that forgets all the time is given its pauses
        }
    }

    fn number_from(&mut self, mut first: u64) {
        for batch in &mut self.batches {
            batch.first = first;
            first = batch.last() + 1;
        }
    }

    fn stream_is_gone(&mut self) {
        self.opening = None;
        self.batches.iter_mut().take(self.sent).for_each(|batch| batch.doubtful = true);
        (self.sent, self.refused) = (0, 0);
        (self.refusal, self.resume_at) = (None, None);
    }

    fn report_stored(&mut self, batch: Batch<K>, unnamed: u64, id: MessageId) {
        self.stored = batch.last();
        self.messages -= batch.entries.len();
        self.bytes -= batch.bytes;
        self.reports.push_back(Report::Stored { entries: batch.entries, first: batch.first, unnamed, id });
    }

    fn fail(&mut self, entry: Entry<K>, failure: &Failure, fate: Fate) {
        self.messages -= 1;
        self.bytes -= entry.message.bytes();
        let Entry { message, key, due: _ } = entry;
        if let Some(key) = key {
            self.reports.push_back(Report::Failed { key, message, failure: failure.clone(), fate });
        }
    }

    /// Tells those who have waited for too long. What was sent stays, so that no sequence is missing.
    fn expire(&mut self, now: Instant) {
        let Some(deadline) = self.deadline else { return };
        let endpoint = self.dialog.endpoint().clone();
        let failure = Failure::TimedOut { call: "publish", endpoint, deadline };
        for batch in &mut self.batches {
            let fate = if batch.ever_sent { Fate::Unknown } else { Fate::NotStored };
            for (key, message) in batch.expire(now) {
                self.reports.push_back(Report::Failed { key, message, failure: failure.clone(), fate });
            }
        }
        while self.waiting.front().is_some_and(|entry| entry.due.is_some_and(|due| due <= now)) {
            let Some(entry) = self.waiting.pop_front() else { break };
            self.fail(entry, &failure, Fate::NotStored);
        }
        self.end_if_done();
    }

    fn end_if_done(&mut self) {
        if self.leaving.is_some() && self.messages == 0 && self.failure.is_none() {
            self.done = true;
            self.end(self.ended("closed"));
        }
    }

    fn ended(&self, why: &str) -> Failure {
        Failure::Ended { what: format!("producer of {}", self.dialog.queue()).into(), why: why.into() }
    }

    fn is_taken(&self) -> Failure {
        self.ended(&format!("somebody else publishes as {:?}; a producer id is of one process", self.producer))
    }

    fn check(&self) {
        debug_assert!(
            self.batches.iter().try_fold(self.stored, |last, b| (b.first == last + 1).then(|| b.last())).is_some(),
            "P1: the batches do not follow {}",
            self.stored
        );
    }
}
