//! The book: what is desired, and how far the node has followed.
//!
//! Knows nothing of streams: it makes operations, takes results, and is told when a stream was lost
//! and what a session owns when it is back.
//!
//! # Always true
//! * **R1, one batch under way**: operations gather until every result of the last message is there.
//! * **R2, the node follows**: after a welcome all that is wanted and that the node does not have as
//!   it was last answered is asked for again, and what the session owns and nobody wants is deregistered.
//! * **R3, told to leave is not asked again**: after `Offline` only an update registers it anew.
//! * **R4, one entry a place**: who announces a place again takes it over from the older handle.
//! * **R5, taken is not taken back**: a singleton that a resumed session had and has no more counts as
//!   told to leave. The notice was lost with the stream, and to ask again would depose its successor.
//!   One that it still has is not asked for again either: a successor may be there before the question.

mod answers;
mod drains;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use prost::Message;
use roster_core::directory::OfflineReason;
use roster_core::{InstanceId, Kind};
use roster_proto::convert::{invalid, parse_instance};
use roster_proto::v1;
use roster_proto::v1::operation::Operation as Ask;

use self::drains::DrainOrder;
use super::entry::{Desire, Entry, Key, Place};
use super::state::{DrainStanding, Standing, State};
use crate::announcement::Announcement;
use crate::moment::Moment;
use crate::reconnect::BackOff;

/// Operations of one message.
const OPERATIONS_PER_MESSAGE_MAX: usize = 1024;
/// A message is closed when it is this long; one operation has at most some 20 KiB.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Pauses between attempts after a refusal that may pass: slow, for it is the same for everybody.
const REFUSED: BackOff = BackOff { min: Duration::from_secs(1), max: Duration::from_secs(30) };

/// News for the handles.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Report {
    Standing(Key, Standing),
    Drain(Key, DrainStanding),
}

/// What a welcome is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenure {
    /// A session that owned nothing before.
    New,
    /// The session that was there before the stream was lost.
    Resumed,
}

/// Whether the session can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// The node has given this stream up; the session may be resumed by another.
    StreamGivenUp,
    /// The node does not know the session any more.
    SessionLost,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    /// Bring the node to what this entry wants.
    Settle(Key),
    Drain(Key),
    /// Owned by the session and wanted by nobody.
    Stray(InstanceId),
}

/// What a result belongs to.
#[derive(Debug, Clone)]
enum Asked {
    Register { key: Key, generation: u64, place: Place },
    Deregister { key: Key },
    Drain { key: Key },
    Stray,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    /// In boxes: an ordered map leaves up to half of its room unused.
    entries: BTreeMap<Key, Box<Entry>>,
    places: HashMap<Place, Key>,
    owned: HashMap<InstanceId, Key>,
    queue: VecDeque<Task>,
    asked: BTreeMap<u64, Asked>,
    asked_at: Option<Instant>,
    retries: BTreeSet<(Instant, Key)>,
    drains: BTreeMap<Key, DrainOrder>,
    last_key: Key,
    last_request: u64,
    reports: VecDeque<Report>,
}

impl Book {
    /// A new entry. Ends an older one of the same place (R4).
    pub(super) fn announce(&mut self, announcement: Announcement) -> Key {
        self.last_key += 1;
        let key = self.last_key;
        self.entries.insert(key, Box::new(Entry::new(announcement)));
        self.claim(key);
        self.submit(key);
        key
    }

    /// Other facts, or the same again; also what brings back an entry that was told to leave.
    pub(super) fn update(&mut self, key: Key, announcement: Announcement) -> Option<u64> {
        let entry = self.entries.get_mut(&key)?;
        if entry.desire == Desire::Gone {
            return None;
        }
        let left = entry.place();
        entry.announcement = announcement;
        entry.generation += 1;
        entry.offline = None;
        entry.refusals = 0;
        if let Some(at) = entry.retry.take() {
            self.retries.remove(&(at, key));
        }
        let generation = entry.generation;
        if self.places.get(&left) == Some(&key) {
            self.places.remove(&left);
        }
        self.claim(key);
        self.submit(key);
        Some(generation)
    }

    /// Nobody wants it any more.
    pub(super) fn withdraw(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.desire = Desire::Gone;
        if let Some(at) = entry.retry.take() {
            self.retries.remove(&(at, key));
        }
        if entry.instance.is_none() && !entry.under_way {
            self.end(key);
        } else {
            self.enqueue(key);
        }
    }

    /// Nothing more will be answered.
    pub(super) fn end_all(&mut self) {
        let keys: Vec<_> = self.entries.keys().copied().collect();
        keys.into_iter().for_each(|key| self.end(key));
        self.queue.clear();
    }

    /// Since when results are awaited.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }

    /// Whether there is something to ask, and nothing under way (R1).
    pub(super) fn has_operations(&self) -> bool {
        self.asked.is_empty() && !self.queue.is_empty()
    }

    /// All that gathered, up to the limits of a message.
    pub(super) fn next_operations(&mut self, now: Instant) -> Option<v1::Operations> {
        debug_assert!(self.asked.is_empty(), "R1: one batch under way");
        let mut operations = Vec::new();
        let mut bytes = 0;
        while operations.len() < OPERATIONS_PER_MESSAGE_MAX && bytes < MESSAGE_BYTES_MAX {
            let Some(task) = self.queue.pop_front() else { break };
            let Some((asked, operation)) = self.ask(task, now) else { continue };
            self.last_request += 1;
            self.asked.insert(self.last_request, asked);
            let operation = v1::Operation { request_id: self.last_request, operation: Some(operation) };
            bytes += operation.encoded_len();
            operations.push(operation);
        }
        self.asked_at = (!operations.is_empty()).then_some(now);
        (!operations.is_empty()).then_some(v1::Operations { operations })
    }

    /// The stream is lost, and with it whatever is under way.
    pub(super) fn handle_lost(&mut self) {
        self.asked.clear();
        self.asked_at = None;
        self.queue.clear();
        self.retries.clear();
        let keys: Vec<_> = self.entries.keys().copied().collect();
        for key in keys {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.queued = false;
            entry.under_way = false;
            entry.retry = None;
            if matches!(entry.state, State::Active { .. } | State::Pending { .. }) {
                self.set_state(key, State::Waiting);
            }
        }
    }

    /// The session stands and owns these (R2).
    pub(super) fn handle_welcome(&mut self, now: Instant, tenure: Tenure, instances: &[v1::Instance]) {
        self.owned.clear();
        self.queue.clear();
        let mut taken = Vec::new();
        let owned: BTreeSet<u64> = instances.iter().map(|wire| wire.id).collect();
        for (key, entry) in &mut self.entries {
            let had = entry.instance.take();
            entry.queued = false;
            // What is no singleton may be asked for again: where it was superseded, a rule refuses it.
            if tenure == Tenure::Resumed
                && entry.announcement.registration().kind == Kind::Singleton
                && entry.offline.is_none()
                && had.is_some_and(|had| !owned.contains(&had.get()))
            {
                entry.answered = entry.generation;
                entry.offline = Some((OfflineReason::Superseded, now)); // R5
                taken.push(*key);
            }
        }
        for key in taken {
            self.set_state(key, State::Offline { reason: OfflineReason::Superseded, deadline: now });
        }
        let mut confirmed = BTreeMap::new();
        for wire in instances {
            let instance = match parse_instance(wire) {
                Ok(instance) => instance,
                Err(wrong) => {
                    tracing::warn!(instance = wire.id, why = %wrong.message, "the session owns what makes no sense");
                    continue;
                }
            };
            let owner = self.places.get(&Place::from(&*instance.registration)).copied();
            match owner.and_then(|key| self.entries.get_mut(&key).map(|entry| (key, entry))) {
                Some((key, entry)) => {
                    entry.instance = Some(instance.id);
                    self.owned.insert(instance.id, key);
                    if entry.is_confirmed_by(&instance) {
                        entry.answered = entry.generation;
                        let (instance, position, token) = (instance.id, instance.changed, instance.token);
                        confirmed.insert(key, State::Active { instance, position, token });
                    }
                }
                None => self.queue.push_back(Task::Stray(instance.id)),
            }
        }
        let keys: Vec<_> = self.entries.keys().copied().collect();
        for key in keys {
            if let Some(active) = confirmed.remove(&key) {
                self.set_state(key, active);
                continue;
            }
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            match (entry.desire, entry.instance, &mut entry.offline) {
                (Desire::Gone, None, _) => self.end(key),
                (Desire::Registered, None, Some((reason, deadline))) if *deadline > now => {
                    *deadline = now;
                    let gone = State::Offline { reason: *reason, deadline: now };
                    self.set_state(key, gone);
                }
                (Desire::Registered, _, Some(_)) => {} // R3
                (Desire::Registered, _, None) | (Desire::Gone, Some(_), _) => self.submit(key),
            }
        }
        self.resume_drains();
    }

    /// The times of `poll_timeout`.
    pub(super) fn handle_timeout(&mut self, moment: Moment) {
        while let Some(&(at, key)) = self.retries.first().filter(|(at, _)| *at <= moment.now) {
            self.retries.remove(&(at, key));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.retry = None;
                self.enqueue(key);
            }
        }
        self.finish_drains(moment.now);
    }

    /// When to ask again, or to stop waiting for a drain.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        retry.into_iter().chain(self.drains.values().map(DrainOrder::overdue)).min()
    }

    /// News, oldest first.
    pub(super) fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Asks for it, unless what its owner wrote cannot be asked for.
    fn submit(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Err(wrong) = entry.announcement.check()
            && entry.desire == Desire::Registered
        {
            entry.answered = entry.generation;
            self.set_state(key, State::Refused(invalid(wrong)));
        } else {
            self.enqueue(key);
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if !entry.queued && !entry.under_way {
            entry.queued = true;
            self.queue.push_back(Task::Settle(key));
        }
    }

    fn ask(&mut self, task: Task, now: Instant) -> Option<(Asked, Ask)> {
        match task {
            // Another handle's by now: a batch can move one handle away and register another in its place.
            Task::Stray(id) if self.owned.contains_key(&id) => None,
            Task::Stray(id) => Some((Asked::Stray, Ask::Deregister(v1::Deregister { instance_id: id.get() }))),
            Task::Drain(key) => self.ask_drain(key, now),
            Task::Settle(key) => {
                let entry = self.entries.get_mut(&key)?;
                entry.queued = false;
                match (entry.desire, entry.instance) {
                    (Desire::Registered, _) => {
                        if !entry.is_wanted() {
                            return None; // R3
                        }
                        entry.under_way = true;
                        let asked = Asked::Register { key, generation: entry.generation, place: entry.place() };
                        Some((asked, Ask::Register(entry.announcement.encode())))
                    }
                    (Desire::Gone, Some(id)) => {
                        entry.under_way = true;
                        Some((Asked::Deregister { key }, Ask::Deregister(v1::Deregister { instance_id: id.get() })))
                    }
                    (Desire::Gone, None) => {
                        self.end(key);
                        None
                    }
                }
            }
        }
    }

    fn claim(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        let older = self.places.insert(entry.place(), key).filter(|older| *older != key);
        if let Some(older) = older {
            let instance = self.entries.get(&older).and_then(|entry| entry.instance);
            self.end(older);
            if let (Some(id), Some(entry)) = (instance, self.entries.get_mut(&key)) {
                let former = entry.instance.replace(id);
                self.owned.insert(id, key);
                if let Some(former) = former.filter(|former| *former != id) {
                    self.cast_off(key, former);
                }
            }
        }
    }

    /// It was this entry's, and unless it is another's by now, nobody wants it any more (R2). It goes
    /// before all that waits: asked for after a registration of the same place, which gets the same
    /// instance, it would end that one.
    fn cast_off(&mut self, key: Key, instance: InstanceId) {
        if self.owned.get(&instance).is_none_or(|owner| *owner == key) {
            self.owned.remove(&instance);
            self.queue.push_front(Task::Stray(instance));
        }
    }

    fn end(&mut self, key: Key) {
        let Some(mut entry) = self.entries.remove(&key) else { return };
        let place = entry.place();
        if self.places.get(&place) == Some(&key) {
            self.places.remove(&place);
        }
        if let Some(id) = entry.instance {
            self.owned.remove(&id);
        }
        if let Some(at) = entry.retry {
            self.retries.remove(&(at, key));
        }
        self.finish_drain(key);
        entry.state = State::Ended;
        self.report(key, &entry);
    }

    fn set_state(&mut self, key: Key, state: State) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.state = state;
        let standing = Standing { state: entry.state.clone(), answered: entry.answered };
        self.reports.push_back(Report::Standing(key, standing));
    }

    fn report(&mut self, key: Key, entry: &Entry) {
        let standing = Standing { state: entry.state.clone(), answered: entry.answered };
        self.reports.push_back(Report::Standing(key, standing));
    }
}
