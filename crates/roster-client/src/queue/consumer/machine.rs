//! The conversation of a consumer: open, deliveries, verdicts, more time, and what survives a loss.
//!
//! A pure machine: time and chance come with each input, what it wants done is polled.
//!
//! # Always true
//! * **J1, once at a time**: a message whose handler still runs here is not handed out again, however
//!   often it is delivered.
//! * **J2, no acknowledgement is lost**: it is said again on each new stream until the node has confirmed
//!   it, and what a new stream brings again meanwhile is not handed out.
//! * **J3, the window**: what is asked for and what is still held from lost streams is together no more
//!   than the window.
//! * **J4, other verdicts are about this stream**: a message of a lost stream is the node's again; only
//!   that it is done still counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use roster_core::limits::DELAY_MILLIS_MAX;
use roster_core::queue::Reason;
use roster_proto::v1;

use crate::moment::Moment;
use crate::queue::dialog::{Dialog, Target, Timeout};
use crate::queue::failure::Failure;
use crate::queue::link::Link;
use crate::stream::{Loss, Step};

/// Words of one request.
const WORDS_MAX: usize = 8192;
/// Acknowledgements that are remembered until they are confirmed. Beyond that the oldest are forgotten: at
/// worst such a message is handed out again.
const UNCONFIRMED_MAX: usize = 256 * 1024;
/// Handlers are looked at this often within the time that the node gives for a message.
const LOOKS_PER_ACK_TIMEOUT: u32 = 6;
const LOOK_MIN: Duration = Duration::from_millis(1);

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) target: Target,
    /// For status pages.
    pub(super) consumer: String,
    pub(super) window: u32,
    /// For how long deadlines are extended; without one as long as it takes.
    pub(super) extend_max: Option<Duration>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Acknowledged,
    Failed {
        reason: String,
        delay: Option<Duration>,
    },
    /// Nobody began it, and nobody will.
    Unused,
}

/// What a consumer has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerCounts {
    /// Messages that were handed out, redelivered ones included.
    pub delivered: u64,
    pub acknowledged: u64,
    pub nacked: u64,
    /// Of those handed out: not the first attempt.
    pub redelivered: u64,
    /// Deliveries that were not handed out, because the message is being done, or is done, here.
    pub duplicates: u64,
}

#[derive(Debug)]
struct Held {
    /// The stream that delivered it last.
    stream: u64,
    /// When it was handed out.
    since: Instant,
    /// When its deadline was set last.
    renewed: Instant,
}

#[derive(Debug)]
pub(super) struct Machine {
    dialog: Dialog,
    consumer: String,
    window: u32,
    extend_max: Option<Duration>,
    ack_timeout: Duration,
    /// Counts the streams that were lost.
    stream: u64,
    held: BTreeMap<u64, Held>,
    /// Of these, so many were delivered by streams that are lost.
    foreign: usize,
    acknowledged: Vec<u64>,
    nacks: Vec<v1::Nack>,
    handed_back: Vec<u64>,
    extends: Vec<v1::Extend>,
    /// What was acknowledged in which request.
    unconfirmed: VecDeque<(u64, Vec<u64>)>,
    unconfirmed_words: usize,
    confirm: u64,
    /// Of lost streams, acknowledged and not confirmed: the node may deliver them once more.
    done: BTreeSet<u64>,
    told_window: u32,
    open_due: bool,
    look_at: Option<Instant>,
    leaving: Option<Instant>,
    deliveries: Vec<v1::QueueDelivery>,
    counts: ConsumerCounts,
    failure: Option<Failure>,
    complete: bool,
}

impl Machine {
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            dialog: Dialog::new("consume", settings.target, now),
            consumer: settings.consumer,
            window: settings.window,
            extend_max: settings.extend_max,
            ack_timeout: Duration::ZERO,
            stream: 0,
            held: BTreeMap::new(),
            foreign: 0,
            acknowledged: Vec::new(),
            nacks: Vec::new(),
            handed_back: Vec::new(),
            extends: Vec::new(),
            unconfirmed: VecDeque::new(),
            unconfirmed_words: 0,
            confirm: 0,
            done: BTreeSet::new(),
            told_window: 0,
            open_due: false,
            look_at: None,
            leaving: None,
            deliveries: Vec::new(),
            counts: ConsumerCounts::default(),
            failure: None,
            complete: false,
        }
    }

    pub(super) fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    pub(super) fn counts(&self) -> ConsumerCounts {
        self.counts
    }

    /// Why it has ended, once it has.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether it has left with everything said and confirmed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// What became of a message that was handed out.
    pub(super) fn settle(&mut self, id: u64, verdict: Verdict) {
        let Some(held) = self.held.remove(&id) else { return };
        let is_present = held.stream == self.stream && self.dialog.is_standing();
        let is_foreign = held.stream != self.stream;
        if is_foreign {
            self.foreign -= 1;
        }
        match verdict {
            Verdict::Acknowledged => {
                if is_foreign {
                    self.done.insert(id); // the node may be delivering it again just now
                }
                self.counts.acknowledged += 1;
                self.acknowledged.push(id);
            }
            Verdict::Failed { reason, delay } => {
                self.counts.nacked += 1;
                if is_present {
                    let millis = |delay: Duration| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
                    let delay_ms = delay.map(|delay| millis(delay).min(DELAY_MILLIS_MAX));
                    let reason = Reason::new(&reason).as_str().to_owned();
                    self.nacks.push(v1::Nack { message_id: id, reason, delay_ms }); // J4
                }
            }
            Verdict::Unused if is_present => self.handed_back.push(id),
            Verdict::Unused => {} // the end of its stream has given it back
        }
    }

    /// What is not settled is the node's again when the stream ends.
    pub(super) fn give_back(&mut self) {
        self.held.clear();
        self.foreign = 0;
    }

    /// Gets nothing more, and ends when what it holds is settled and confirmed, or at this moment.
    pub(super) fn leave(&mut self, until: Instant) {
        self.leaving = Some(self.leaving.map_or(until, |earlier| earlier.min(until)));
    }

    pub(super) fn handle_received(&mut self, moment: Moment, response: v1::ConsumeResponse) {
        if let Some(opened) = response.opened {
            self.opened(moment, &opened);
        }
        for delivery in response.deliveries {
            self.delivered(moment.now, delivery);
        }
        self.confirmed(response.confirmed);
        self.look_at_held(moment.now);
        self.end_if_complete();
    }

    pub(super) fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        self.stream_is_gone();
        if let Err(failure) = self.dialog.lost(moment, loss) {
            self.end(failure);
        }
        self.end_if_complete();
    }

    pub(super) fn handle_timeout(&mut self, moment: Moment) {
        match self.dialog.handle_timeout(moment) {
            Timeout::Opening => self.open_due = true,
            Timeout::Lost => self.stream_is_gone(),
            Timeout::Nothing => {}
        }
        if self.leaving.is_some_and(|until| until <= moment.now) {
            let why = match self.held.len() {
                0 => "it has left before everything was confirmed".to_owned(),
                held => format!("it has left with {held} messages still being done"),
            };
            self.end(self.ended(&why));
        }
        self.look_at_held(moment.now);
        self.end_if_complete();
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.failure.is_some() {
            return None;
        }
        [self.dialog.poll_timeout(), self.leaving, self.look_at].into_iter().flatten().min()
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.dialog.poll_step()
    }

    pub(super) fn poll_link(&mut self) -> Option<Link> {
        self.dialog.poll_link()
    }

    /// What is to be handed out.
    pub(super) fn take_deliveries(&mut self) -> Vec<v1::QueueDelivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Whether verdicts could be said at once.
    pub(super) fn may_speak(&self) -> bool {
        self.dialog.is_standing()
    }

    pub(super) fn has_message(&self) -> bool {
        let words = self.acknowledged.len() + self.nacks.len() + self.handed_back.len() + self.extends.len();
        self.open_due || self.dialog.is_standing() && (words > 0 || self.due_window() != self.told_window)
    }

    pub(super) fn poll_message(&mut self) -> Option<v1::ConsumeRequest> {
        if self.open_due {
            return Some(self.open());
        }
        if !self.has_message() {
            return None;
        }
        let acknowledge = take_some(&mut self.acknowledged);
        let nack = take_some(&mut self.nacks);
        let hand_back = take_some(&mut self.handed_back);
        let extend = take_some(&mut self.extends);
        let window = Some(self.due_window()).filter(|window| *window != self.told_window);
        self.told_window = self.due_window();
        let is_verdict = !acknowledge.is_empty() || !nack.is_empty();
        let confirm = if is_verdict { self.remember(acknowledge.clone()) } else { 0 };
        Some(v1::ConsumeRequest { open: None, acknowledge, nack, hand_back, extend, window, confirm })
    }

    /// Everything that was acknowledged and is not confirmed is said again with the first word (J2).
    fn open(&mut self) -> v1::ConsumeRequest {
        self.open_due = false;
        self.told_window = self.due_window();
        debug_assert!(
            self.told_window as usize + self.held.len() <= (self.window as usize).max(self.held.len()),
            "J3: {} of {} while {} are held",
            self.told_window,
            self.window,
            self.held.len()
        );
        let mut acknowledge: Vec<u64> = self.unconfirmed.drain(..).flat_map(|(_, ids)| ids).collect();
        self.unconfirmed_words = 0;
        acknowledge.append(&mut self.acknowledged);
        acknowledge.sort_unstable();
        acknowledge.dedup();
        self.done = acknowledge.iter().copied().collect();
        let confirm = if acknowledge.is_empty() { 0 } else { self.remember(acknowledge.clone()) };
        let open = v1::OpenConsume {
            queue: self.dialog.queue().as_str().to_owned(),
            window: Some(self.told_window),
            consumer: self.consumer.clone(),
        };
        v1::ConsumeRequest { open: Some(open), acknowledge, confirm, ..Default::default() }
    }

    fn remember(&mut self, acknowledged: Vec<u64>) -> u64 {
        self.confirm += 1;
        self.unconfirmed_words += acknowledged.len();
        self.unconfirmed.push_back((self.confirm, acknowledged));
        while self.unconfirmed_words > UNCONFIRMED_MAX && self.unconfirmed.len() > 1 {
            self.forget_first();
        }
        self.confirm
    }

    fn confirmed(&mut self, confirmed: u64) {
        while self.unconfirmed.front().is_some_and(|(confirm, _)| *confirm <= confirmed) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, words)) = self.unconfirmed.pop_front() {
            self.unconfirmed_words -= words.len();
            if !self.done.is_empty() {
                let words: BTreeSet<u64> = words.into_iter().collect();
                self.done.retain(|id| !words.contains(id));
            }
        }
    }

    /// What the node may give on this stream.
    fn due_window(&self) -> u32 {
        if self.leaving.is_some() {
            return 0;
        }
        self.window.saturating_sub(u32::try_from(self.foreign).unwrap_or(u32::MAX)) // J3
    }

    fn opened(&mut self, moment: Moment, opened: &v1::ConsumeOpened) {
        if !self.dialog.is_opening() {
            tracing::warn!("a second opening on one stream");
            return;
        }
        self.dialog.stands(moment.now);
        self.ack_timeout = Duration::from_millis(opened.ack_timeout_ms.into());
    }

    fn delivered(&mut self, now: Instant, delivery: v1::QueueDelivery) {
        let id = delivery.message_id;
        if let Some(held) = self.held.get_mut(&id) {
            // J1: its verdict will be about this delivery.
            self.counts.duplicates += 1;
            if held.stream != self.stream {
                self.foreign -= 1;
            }
            (held.stream, held.renewed) = (self.stream, now);
            return;
        }
        if self.done.contains(&id) {
            self.counts.duplicates += 1;
            self.acknowledged.push(id); // J2
            return;
        }
        if self.leaving.is_some() {
            self.handed_back.push(id);
            return;
        }
        self.counts.delivered += 1;
        self.counts.redelivered += u64::from(delivery.attempt > 1);
        self.held.insert(id, Held { stream: self.stream, since: now, renewed: now });
        self.deliveries.push(delivery);
    }

    /// More time for what takes long, from time to time.
    fn look_at_held(&mut self, now: Instant) {
        if !self.dialog.is_standing() || self.held.is_empty() || self.ack_timeout.is_zero() {
            self.look_at = None;
            return;
        }
        let look_at = *self.look_at.get_or_insert(now + (self.ack_timeout / LOOKS_PER_ACK_TIMEOUT).max(LOOK_MIN));
        if look_at > now {
            return;
        }
        self.look_at = Some(now + (self.ack_timeout / LOOKS_PER_ACK_TIMEOUT).max(LOOK_MIN));
        let extra_ms = u32::try_from(self.ack_timeout.as_millis()).unwrap_or(u32::MAX);
        for (&message_id, held) in &mut self.held {
            let is_due = now.saturating_duration_since(held.renewed) >= self.ack_timeout / 3;
            let is_allowed = self.extend_max.is_none_or(|max| now.saturating_duration_since(held.since) < max);
            if held.stream == self.stream && is_due && is_allowed {
                held.renewed = now;
                self.extends.push(v1::Extend { message_id, extra_ms });
            }
        }
    }

    fn stream_is_gone(&mut self) {
        self.open_due = false;
        self.stream += 1;
        self.foreign = self.held.len();
        self.unconfirmed.retain(|(_, acknowledged)| !acknowledged.is_empty());
        self.nacks.clear(); // J4
        self.handed_back.clear();
        self.extends.clear();
        self.look_at = None;
    }

    /// After the last verdict, and the last confirmation.
    pub(super) fn end_if_complete(&mut self) {
        let is_complete = self.leaving.is_some()
            && self.held.is_empty()
            && self.acknowledged.is_empty()
            && self.nacks.is_empty()
            && self.handed_back.is_empty()
            && self.unconfirmed.is_empty();
        if is_complete && self.failure.is_none() {
            self.complete = true;
            self.end(self.ended("closed"));
        }
    }

    fn end(&mut self, failure: Failure) {
        if self.failure.is_some() {
            return;
        }
        self.dialog.end(failure.why());
        self.failure = Some(failure);
        self.open_due = false;
        self.look_at = None;
    }

    fn ended(&self, why: &str) -> Failure {
        Failure::Ended { what: format!("consumer of {}", self.dialog.queue()).into(), why: why.into() }
    }
}

/// As many as one request takes.
fn take_some<T>(words: &mut Vec<T>) -> Vec<T> {
    if words.len() <= WORDS_MAX { std::mem::take(words) } else { words.drain(..WORDS_MAX).collect() }
}
