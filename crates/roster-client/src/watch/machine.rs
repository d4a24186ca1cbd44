//! The conversation of a watch stream: subscribe, take in, acknowledge, resume.
//!
//! A pure machine: time and chance come with each input, what it wants done is polled.
//!
//! # Always true
//! * **W1, no gap**: a watch resumes only from a position of the epoch it was taken in from, and only
//!   when its state was whole; else it asks for everything, and the view finds the difference.
//! * **W2, taken in before acknowledged**: a position is acknowledged when every group up to it is in
//!   the views, and not while a state is on its way that is not whole.
//! * **W3, silence is loss**: no word for the set time, and the stream is opened anew.
//! * **W4, no watch, no stream**.
//! * **W5, what drains is acknowledged soon**: that an instance drains, and that a state is whole, is acknowledged
//!   within [`ACKNOWLEDGE_SOON`]; nobody waits for the rest, which is acknowledged within [`ACKNOWLEDGE_EVENTUALLY`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roster_core::directory::Event;
use roster_core::view::{Change, Group, Told, View};
use roster_core::{Position, Selector};
use roster_proto::convert::{Advice, parse_event};
use roster_proto::v1;
use roster_proto::v1::Refusal;
use roster_proto::v1::event::Event as Wire;

use super::subscription::{Subscription, WatchId};
use crate::moment::Moment;
use crate::reconnect::{Attempt, BackOff, Reconnect};
use crate::stream::{Loss, Step};

/// Acknowledgements that a drain may wait for go at most this often.
const ACKNOWLEDGE_SOON: Duration = Duration::from_millis(10);
/// The others. Each acknowledgement is a request of its own, which wakes two more tasks and the node.
const ACKNOWLEDGE_EVENTUALLY: Duration = Duration::from_secs(1);
/// Subscriptions of one message.
const SUBSCRIPTIONS_PER_MESSAGE_MAX: usize = 1024;
/// Pauses between attempts after a refusal that may pass.
const REFUSED: BackOff = BackOff { min: Duration::from_secs(1), max: Duration::from_secs(30) };

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) endpoints: Vec<Arc<str>>,
    pub(super) back_off: BackOff,
    /// How long an attempt may take until the node takes the call.
    pub(super) patience: Duration,
    pub(super) silence: Duration,
}

/// News for the readers.
#[derive(Debug, Clone)]
pub(super) enum Report {
    Taken { watch: WatchId, view: View, changes: Vec<Change> },
    Connected { endpoint: Arc<str> },
    Disconnected { why: String },
    Refused { watch: WatchId, refusal: Refusal },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing to watch.
    Idle,
    Resting {
        until: Instant,
    },
    Opening {
        until: Instant,
    },
    Standing {
        since_word: Instant,
    },
    Ended,
}

#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    reconnect: Reconnect,
    phase: Phase,
    watches: BTreeMap<WatchId, Subscription>,
    last_watch: WatchId,
    /// To be asked for on this stream.
    subscribe: BTreeSet<WatchId>,
    unsubscribe: Vec<WatchId>,
    /// Of what was asked for on this stream: the state is on its way and not whole.
    resetting: BTreeSet<WatchId>,
    retries: BTreeSet<(Instant, WatchId)>,
    taken: Position,
    acknowledged: Position,
    /// When the last acknowledgement went, and when the next may.
    acknowledged_at: Option<Instant>,
    acknowledge_at: Option<Instant>,
    acknowledge_due: bool,
    /// The readers know that the node is lost: one word is enough, however many attempts fail.
    told_lost: bool,
    steps: VecDeque<Step>,
    reports: VecDeque<Report>,
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            reconnect: Reconnect::new(settings.back_off, settings.endpoints.len()),
            settings,
            phase: Phase::Idle,
            watches: BTreeMap::new(),
            last_watch: 0,
            subscribe: BTreeSet::new(),
            unsubscribe: Vec::new(),
            resetting: BTreeSet::new(),
            retries: BTreeSet::new(),
            taken: Position::default(),
            acknowledged: Position::default(),
            acknowledged_at: None,
            acknowledge_at: None,
            acknowledge_due: false,
            told_lost: false,
            steps: VecDeque::new(),
            reports: VecDeque::new(),
        }
    }

    pub(super) fn subscribe(&mut self, moment: Moment, selector: Selector) -> WatchId {
        self.last_watch += 1;
        self.watches.insert(self.last_watch, Subscription::new(selector));
        self.subscribe.insert(self.last_watch);
        if self.phase == Phase::Idle {
            self.phase = Phase::Resting { until: moment.now };
        }
        self.last_watch
    }

    pub(super) fn unsubscribe(&mut self, watch: WatchId) {
        let Some(subscription) = self.watches.remove(&watch) else { return };
        self.subscribe.remove(&watch);
        self.resetting.remove(&watch);
        self.retries.retain(|(_, retried)| *retried != watch);
        if self.watches.is_empty() {
            self.rest(); // W4
        } else if subscription.asked {
            self.unsubscribe.push(watch);
        }
    }

    /// Nothing is watched any more, nor will be.
    pub(super) fn finish(&mut self) {
        self.rest();
        self.phase = Phase::Ended;
        self.steps.push_back(Step::Finish);
    }

    /// The node has taken the call.
    pub(super) fn handle_opened(&mut self, moment: Moment) {
        if matches!(self.phase, Phase::Opening { .. }) {
            self.reconnect.stands(moment.now);
            self.phase = Phase::Standing { since_word: moment.now };
            let endpoint = self.settings.endpoints[self.reconnect.endpoint()].clone();
            self.told_lost = false;
            self.reports.push_back(Report::Connected { endpoint });
        }
    }

    pub(super) fn handle_received(&mut self, moment: Moment, response: v1::WatchResponse) {
        let Phase::Standing { since_word } = &mut self.phase else { return };
        *since_word = moment.now;
        let mut touched = BTreeSet::new();
        let mut acknowledge_within = ACKNOWLEDGE_EVENTUALLY;
        for delivery in response.deliveries {
            let Some(group) = delivery.group else { continue };
            let watches = match delivery.watch_ids {
                ids if ids.is_empty() => self.asked(),
                ids => ids,
            };
            match parse(&group) {
                Ok(Some(group)) => {
                    self.taken = self.taken.max(group.position);
                    if group.told.iter().any(may_be_waited_for) {
                        acknowledge_within = ACKNOWLEDGE_SOON; // W5
                    }
                    self.take_in(response.epoch, &watches, group);
                    touched.extend(watches);
                }
                Ok(None) => {}
                Err(Unreadable::Refused(refusal)) => {
                    watches.into_iter().for_each(|watch| self.refuse(moment, watch, &refusal));
                }
                Err(Unreadable::Nonsense(wrong)) => {
                    // What it says is not known, so the state is not either: everything anew.
                    self.watches.values_mut().for_each(|watch| watch.epoch = None);
                    self.steps.push_back(Step::HangUp);
                    let attempt = self.reconnect.lost(moment);
                    return self.fall(attempt, format!("the node tells what makes no sense: {}", wrong.message));
                }
            }
        }
        for watch in touched {
            if let Some(subscription) = self.watches.get_mut(&watch).filter(|watch| watch.asked) {
                let changes = std::mem::take(&mut subscription.untold);
                self.reports.push_back(Report::Taken { watch, view: subscription.view.visible(), changes });
            }
        }
        if self.owes_acknowledgement() && !self.acknowledge_due {
            let next = self.acknowledged_at.map(|at| at + acknowledge_within).filter(|at| *at > moment.now);
            self.acknowledge_due = next.is_none();
            self.acknowledge_at = next.map(|next| self.acknowledge_at.map_or(next, |at| at.min(next)));
        }
    }

    /// The last watch gets the group itself: most groups are for one.
    fn take_in(&mut self, epoch: u64, watches: &[WatchId], group: Group) {
        let mut group = Some(group);
        for (nth, watch) in watches.iter().enumerate() {
            // What is told of a watch that the node was not asked for would hold back acknowledgements (W2) until the next
            // message: when such a watch ends, nothing is sent that could carry them.
            let Some(subscription) = self.watches.get_mut(watch).filter(|watch| watch.asked) else { continue };
            let group = if nth + 1 == watches.len() { group.take() } else { group.clone() };
            let Some(group) = group else { continue };
            subscription.take_in(epoch, group);
            if subscription.view.is_resetting() {
                self.resetting.insert(*watch);
            } else {
                self.resetting.remove(watch);
            }
        }
    }

    pub(super) fn handle_lost(&mut self, moment: Moment, loss: Loss) {
        if matches!(self.phase, Phase::Opening { .. } | Phase::Standing { .. }) {
            let attempt = self.reconnect.lost(moment);
            self.fall(attempt, loss.why);
        }
    }

    pub(super) fn handle_timeout(&mut self, moment: Moment) {
        match self.phase {
            Phase::Resting { until } if until <= moment.now => self.open(moment),
            Phase::Opening { until } if until <= moment.now => {
                let why = format!("not taken within {:?}", self.settings.patience);
                self.discard(moment, why);
            }
            Phase::Standing { since_word } if since_word + self.settings.silence <= moment.now => {
                let why = format!("not a word within {:?}", self.settings.silence);
                self.discard(moment, why); // W3
            }
            Phase::Standing { .. } => {
                while let Some(&(at, watch)) = self.retries.first().filter(|(at, _)| *at <= moment.now) {
                    self.retries.remove(&(at, watch));
                    self.subscribe.insert(watch);
                }
                if self.acknowledge_at.is_some_and(|at| at <= moment.now) {
                    self.acknowledge_at = None;
                    self.acknowledge_due = true;
                }
            }
            Phase::Idle | Phase::Resting { .. } | Phase::Opening { .. } | Phase::Ended => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle | Phase::Ended => None,
            Phase::Resting { until } | Phase::Opening { until } => Some(until),
            Phase::Standing { since_word } => {
                let silence = since_word + self.settings.silence;
                let retry = self.retries.first().map(|(at, _)| *at);
                [Some(silence), retry, self.acknowledge_at].into_iter().flatten().min()
            }
        }
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(super) fn has_message(&self) -> bool {
        match self.phase {
            Phase::Opening { .. } | Phase::Standing { .. } => {
                !self.subscribe.is_empty()
                    || !self.unsubscribe.is_empty()
                    || self.acknowledge_due && self.owes_acknowledgement()
            }
            Phase::Idle | Phase::Resting { .. } | Phase::Ended => false,
        }
    }

    pub(super) fn poll_message(&mut self, now: Instant) -> Option<v1::WatchRequest> {
        if !self.has_message() {
            return None;
        }
        let mut subscribe = Vec::new();
        while subscribe.len() < SUBSCRIPTIONS_PER_MESSAGE_MAX {
            let Some(watch) = self.subscribe.pop_first() else { break };
            let Some(subscription) = self.watches.get_mut(&watch) else { continue };
            subscription.asked = true;
            subscribe.push(v1::Subscribe {
                watch_id: watch,
                selector: subscription.selector.as_str().to_owned(),
                resume_position: subscription.resume().map_or(0, |(_, position)| position.get()),
                resume_epoch: subscription.resume().map_or(0, |(epoch, _)| epoch),
            });
        }
        if self.owes_acknowledgement() {
            self.acknowledged = self.taken;
            self.acknowledged_at = Some(now);
        }
        self.acknowledge_due = false;
        self.acknowledge_at = None;
        let unsubscribe = std::mem::take(&mut self.unsubscribe);
        Some(v1::WatchRequest { subscribe, unsubscribe, acknowledged: self.acknowledged.get() })
    }

    /// W2
    fn owes_acknowledgement(&self) -> bool {
        debug_assert!(
            self.watches.iter().all(|(id, watch)| watch.view.is_resetting() == self.resetting.contains(id)),
            "W2: {:?} are not all that is not whole",
            self.resetting
        );
        self.taken > self.acknowledged && self.resetting.is_empty()
    }

    fn asked(&self) -> Vec<WatchId> {
        self.watches.iter().filter(|(_, watch)| watch.asked).map(|(id, _)| *id).collect()
    }

    fn refuse(&mut self, moment: Moment, watch: WatchId, refusal: &Refusal) {
        let Some(subscription) = self.watches.get_mut(&watch) else { return };
        subscription.asked = false;
        subscription.view.break_off();
        self.resetting.remove(&watch);
        subscription.refusals += 1;
        if matches!(refusal.advice(), Advice::RetryNow | Advice::RetryLater) {
            self.retries.insert((moment.jittered(REFUSED.pause(subscription.refusals)), watch));
        }
        self.reports.push_back(Report::Refused { watch, refusal: refusal.clone() });
    }

    fn open(&mut self, moment: Moment) {
        self.subscribe = self.watches.keys().copied().collect();
        self.steps.push_back(Step::Open { endpoint: self.reconnect.endpoint() });
        self.phase = Phase::Opening { until: moment.now + self.settings.patience };
    }

    fn discard(&mut self, moment: Moment, why: String) {
        self.steps.push_back(Step::Discard);
        let attempt = self.reconnect.lost(moment);
        self.fall(attempt, why);
    }

    fn fall(&mut self, attempt: Attempt, why: String) {
        self.forget_stream();
        self.phase = Phase::Resting { until: attempt.at };
        if !std::mem::replace(&mut self.told_lost, true) {
            self.reports.push_back(Report::Disconnected { why });
        }
    }

    fn rest(&mut self) {
        self.forget_stream();
        self.phase = Phase::Idle;
        self.steps.push_back(Step::HangUp);
    }

    fn forget_stream(&mut self) {
        self.subscribe.clear();
        self.unsubscribe.clear();
        self.resetting.clear();
        self.retries.clear();
        self.taken = Position::default();
        self.acknowledged = Position::default();
        self.acknowledge_at = None;
        self.acknowledge_due = false;
        for watch in self.watches.values_mut() {
            watch.asked = false;
            watch.view.break_off();
        }
    }
}

/// Whether a drain may wait until it is acknowledged.
fn may_be_waited_for(told: &Told) -> bool {
    match told {
        Told::Reset => false,
        Told::Loaded | Told::Bookmark => true,
        Told::Event(event) => match event {
            Event::Up(instance) | Event::Changed(instance) | Event::Replaced { new: instance, .. } => instance.draining,
            Event::Draining { .. } => true,
            Event::Suspect { .. } | Event::MainChanged { .. } | Event::Removed { .. } => false,
        },
    }
}

enum Unreadable {
    /// The watch cannot be.
    Refused(Refusal),
    /// A field does not parse.
    Nonsense(Refusal),
}

/// The words of a group. Events of a kind that only newer nodes know are left out; a group of nothing
/// else is `None`, because not even its position may be acknowledged.
fn parse(wire: &v1::EventGroup) -> Result<Option<Group>, Unreadable> {
    let mut told = Vec::with_capacity(wire.events.len());
    for event in &wire.events {
        match &event.event {
            Some(Wire::Refused(refusal)) => return Err(Unreadable::Refused(refusal.clone())),
            Some(_) => told.push(parse_event(event).map_err(Unreadable::Nonsense)?),
            None => tracing::debug!(position = wire.position, "an event that this client does not know"),
        }
    }
    Ok((!told.is_empty()).then_some(Group { position: Position::new(wire.position), told }))
}
