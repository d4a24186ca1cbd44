//! The members of a cluster: who shall have a client, who has one, and what to do next. A pure machine:
//! time and chance come with each input, and what it wants done it says in [`Order`]s.
//!
//! # Always true
//! * **CL1, one client each**: of a member there is at most one attempt to connect or one client.
//! * **CL2, usable is connected**: nobody is usable before its connect has succeeded, nor after its
//!   client broke or was ended.
//! * **CL3, nothing is left behind**: each attempt and each client of a member that goes is ordered to end.
//! * **CL4, make before break**: who is replaced serves until its successor has connected, unless its
//!   own client breaks.
//! * **CL5, few checks**: at most one in [`CHECK_EVERY`] for each member.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use roster_core::directory::Instance;
use roster_core::{InstanceId, SessionId};

use super::member::{Link, Member, MemberId, Standing};
use crate::moment::Moment;
use crate::reconnect::BackOff;

/// Attempts to connect at a time, so that a great service does not cost all sockets at once.
pub(super) const CONNECTING_MAX: usize = 64;
/// Between two checks of one member.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A client that served this long was a good one: failures before it no longer count.
const STEADY: Duration = Duration::from_secs(1);

/// What the driver shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Make a client, and tell whether that went well.
    Connect { member: MemberId, instance: Instance },
    /// Give up the attempt, or end the client.
    Disconnect { member: MemberId },
    /// Ask the node to look after this session.
    Check { session: SessionId },
}

#[derive(Debug)]
struct Entry {
    instance: Instance,
    stage: Stage,
    /// Failures in a row.
    failures: u32,
    why: Option<Trouble>,
    checked: Option<Instant>,
    /// Not wanted any more but for the time until this one has connected (CL4).
    successor: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its turn comes at that time.
    Waiting {
        due: Instant,
    },
    Connecting,
    Connected {
        since: Instant,
    },
}

#[derive(Debug)]
enum Trouble {
    Unreachable(String),
    Closed(String),
}

#[derive(Debug)]
pub(super) struct Table {
    back_off: BackOff,
    entries: BTreeMap<MemberId, Entry>,
    /// Those that are wanted.
    wanted: HashMap<InstanceId, MemberId>,
    due: BTreeSet<(Instant, MemberId)>,
    connecting: usize,
    last: u64,
    orders: VecDeque<Order>,
    /// Grows when there is something new to see.
    version: u64,
    finished: bool,
}

impl Table {
    pub(super) fn new(back_off: BackOff) -> Self {
        Self {
            back_off,
            entries: BTreeMap::new(),
            wanted: HashMap::new(),
            due: BTreeSet::new(),
            connecting: 0,
            last: 0,
            orders: VecDeque::new(),
            version: 0,
            finished: false,
        }
    }

    /// These instances shall have a client. One that is not among them goes: at once, or, when it is
    /// still `listed` or another one has come in its place, after the one that follows it has connected.
    pub(super) fn take_in<'a>(
        &mut self,
        moment: Moment,
        wanted: &[Instance],
        listed: impl Fn(InstanceId) -> Option<&'a Instance>,
    ) {
        if self.finished {
            return;
        }
        let mut named = HashSet::with_capacity(wanted.len());
        for instance in wanted {
            named.insert(self.want(moment, instance));
        }
        let others: Vec<_> = self.entries.keys().filter(|member| !named.contains(member)).copied().collect();
        for member in others {
            let entry = &self.entries[&member];
            let still = listed(entry.instance.id).filter(|now| is_same(now, &entry.instance)).cloned();
            let follower = wanted.iter().find(|new| still.is_some() || same_place(new, &entry.instance));
            let successor = follower.and_then(|new| self.wanted.get(&new.id)).copied();
            let waits =
                |successor: &MemberId| matches!(entry.stage, Stage::Connected { .. }) && !self.is_connected(*successor);
            match successor.filter(waits) {
                Some(successor) => self.fade(member, successor, still),
                None => self.leave(member),
            }
        }
        self.advance(moment.now);
    }

    /// The attempt has succeeded. Whether the client is still wanted; if not it is for the caller to end.
    #[must_use]
    pub(super) fn connected(&mut self, now: Instant, member: MemberId) -> bool {
        let Some(entry) = self.entries.get_mut(&member) else { return false };
        assert!(entry.stage == Stage::Connecting, "CL1: {member} is {:?} and has got a client", entry.stage);
        entry.stage = Stage::Connected { since: now };
        entry.why = None;
        self.connecting -= 1;
        self.version += 1;
        let relieved: Vec<_> = self.followed_by(member).collect();
        relieved.into_iter().for_each(|member| self.leave(member)); // CL4
        self.advance(now);
        true
    }

    /// The attempt has failed; it is tried again.
    pub(super) fn failed(&mut self, moment: Moment, member: MemberId, why: String) {
        let Some(entry) = self.entries.get_mut(&member) else { return };
        assert!(entry.stage == Stage::Connecting, "CL1: {member} is {:?} and could not connect", entry.stage);
        entry.why = Some(Trouble::Unreachable(why));
        self.connecting -= 1;
        self.retry(moment, member);
    }

    /// The client is of no use any more.
    pub(super) fn broken(&mut self, moment: Moment, member: MemberId, why: String) {
        let Some(entry) = self.entries.get_mut(&member) else { return };
        let Stage::Connected { since } = entry.stage else { return };
        if entry.successor.is_some() {
            return self.leave(member);
        }
        if moment.now.saturating_duration_since(since) >= STEADY {
            entry.failures = 0;
        }
        entry.why = Some(Trouble::Closed(why));
        self.orders.push_back(Order::Disconnect { member }); // CL3
        self.retry(moment, member);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Everybody goes, and nobody comes any more.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        while let Some((&member, _)) = self.entries.first_key_value() {
            self.leave(member);
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// When to wake without an input.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at).filter(|_| self.connecting < CONNECTING_MAX)
    }

    /// Grows with everything that can be seen.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Those who can be called, by ascending number (CL2).
    pub(super) fn usable(&self) -> impl Iterator<Item = (MemberId, Standing, &Instance)> {
        let usable = self.entries.iter().filter(|(_, entry)| matches!(entry.stage, Stage::Connected { .. }));
        usable.map(|(member, entry)| (*member, Standing::of(&entry.instance), &entry.instance))
    }

    /// Everybody, by ascending number.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.entries.iter().map(|(&id, entry)| Member {
            id,
            instance: entry.instance.clone(),
            link: match (entry.stage, &entry.why) {
                (Stage::Connected { .. }, _) => Link::Connected,
                (Stage::Waiting { .. } | Stage::Connecting, Some(Trouble::Unreachable(why))) => {
                    Link::Unreachable { failures: entry.failures, why: why.clone() }
                }
                (Stage::Waiting { .. } | Stage::Connecting, Some(Trouble::Closed(why))) => {
                    Link::Closed { why: why.clone() }
                }
                (Stage::Waiting { .. } | Stage::Connecting, None) => Link::Connecting,
            },
            replaced: entry.successor.is_some(),
        })
    }

    fn want(&mut self, moment: Moment, instance: &Instance) -> MemberId {
        let known = self.wanted.get(&instance.id).copied();
        if let Some(member) = known
            && let Some(entry) = self.entries.get_mut(&member)
            && is_same(&entry.instance, instance)
        {
            if entry.instance != *instance || entry.successor.is_some() {
                entry.instance = instance.clone();
                entry.successor = None;
                self.version += 1;
            }
            return member;
        }
        self.last += 1;
        self.version += 1;
        let member = MemberId(self.last);
        let stage = Stage::Waiting { due: moment.now };
        let (instance, id) = (instance.clone(), instance.id);
        let entry = Entry { instance, stage, failures: 0, why: None, checked: None, successor: None };
        self.entries.insert(member, entry);
        self.wanted.insert(id, member);
        self.due.insert((moment.now, member));
        member
    }

    fn fade(&mut self, member: MemberId, successor: MemberId, still: Option<Instance>) {
        let Some(entry) = self.entries.get_mut(&member) else { return };
        let instance = still.unwrap_or_else(|| entry.instance.clone());
        if entry.successor != Some(successor) || entry.instance != instance {
            entry.successor = Some(successor);
            entry.instance = instance;
            self.version += 1;
        }
    }

    fn leave(&mut self, member: MemberId) {
        let Some(entry) = self.entries.remove(&member) else { return };
        self.version += 1;
        if self.wanted.get(&entry.instance.id) == Some(&member) {
            self.wanted.remove(&entry.instance.id);
        }
        match entry.stage {
            Stage::Waiting { due } => {
                self.due.remove(&(due, member));
            }
            Stage::Connecting => {
                self.connecting -= 1;
                self.orders.push_back(Order::Disconnect { member });
            }
            Stage::Connected { .. } => self.orders.push_back(Order::Disconnect { member }), // CL3
        }
    }

    /// Those who only wait for this one.
    fn followed_by(&self, successor: MemberId) -> impl Iterator<Item = MemberId> {
        let waits = move |entry: &Entry| entry.successor == Some(successor);
        self.entries.iter().filter(move |(_, entry)| waits(entry)).map(|(member, _)| *member)
    }

    fn is_connected(&self, member: MemberId) -> bool {
        self.entries.get(&member).is_some_and(|entry| matches!(entry.stage, Stage::Connected { .. }))
    }

    fn retry(&mut self, moment: Moment, member: MemberId) {
        let Some(entry) = self.entries.get_mut(&member) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let due = moment.jittered(self.back_off.pause(entry.failures));
        entry.stage = Stage::Waiting { due };
        // The node knows of a suspect one already.
        let known = Standing::of(&entry.instance) == Standing::Suspect;
        let soon = entry.checked.is_some_and(|last| moment.now.saturating_duration_since(last) < CHECK_EVERY);
        if !known && !soon {
            entry.checked = Some(moment.now); // CL5
            self.orders.push_back(Order::Check { session: entry.instance.session });
        }
        self.due.insert((due, member));
        self.version += 1;
        self.advance(moment.now);
    }

    /// Lets those connect whose turn it is.
    fn advance(&mut self, now: Instant) {
        while self.connecting < CONNECTING_MAX
            && let Some(&(due, member)) = self.due.first()
            && due <= now
        {
            self.due.remove(&(due, member));
            let Some(entry) = self.entries.get_mut(&member) else { continue };
            entry.stage = Stage::Connecting;
            self.connecting += 1;
            self.orders.push_back(Order::Connect { member, instance: entry.instance.clone() });
        }
    }
}

/// Ids begin anew when a node has lost its memory, so an id alone does not tell.
fn is_same(one: &Instance, other: &Instance) -> bool {
    one.id == other.id && one.registered == other.registered && same_place(one, other)
}

fn same_place(one: &Instance, other: &Instance) -> bool {
    let (one, other) = (&one.registration, &other.registration);
    one.address == other.address && one.node_index == other.node_index
}
