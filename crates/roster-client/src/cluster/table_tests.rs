//! The table against a world that it cannot see: instances come, go and change, attempts succeed and
//! fail, clients break, and time passes.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use roster_core::directory::{Instance, Liveness, SuspectReason};
use roster_core::{InstanceId, Position, SessionId, Timestamp};

use super::member::{Link, MemberId, Standing};
use super::table::{CHECK_EVERY, CONNECTING_MAX, Order, Table};
use crate::announcement::Announcement;
use crate::moment::Moment;
use crate::reconnect::BackOff;

/// An instance with this id, at an address of its own.
pub(super) fn instance(id: u64) -> Instance {
    placed(id, u16::try_from(id).unwrap())
}

/// An instance with this id at this port.
fn placed(id: u64, port: u16) -> Instance {
    let announcement = Announcement::new("orders", "10.0.0.7", port).unwrap();
    Instance {
        id: InstanceId::new(id),
        registration: Arc::new(announcement.registration().clone()),
        session: SessionId::new(id),
        liveness: Liveness::Up,
        draining: false,
        pending: false,
        token: None,
        registered: Timestamp::new(id),
        changed: Position::new(id),
    }
}

/// The world around a table: obeys its orders and knows what must follow.
struct World {
    table: Table,
    now: Instant,
    listed: Vec<Instance>,
    /// Attempts under way.
    attempts: BTreeSet<MemberId>,
    /// Clients.
    clients: BTreeSet<MemberId>,
    of: BTreeMap<MemberId, Instance>,
    checks: BTreeMap<SessionId, Instant>,
    checked: usize,
}

impl World {
    fn new() -> Self {
        Self {
            table: Table::new(BackOff::default()),
            now: Instant::now(),
            listed: Vec::new(),
            attempts: BTreeSet::new(),
            clients: BTreeSet::new(),
            of: BTreeMap::new(),
            checks: BTreeMap::new(),
            checked: 0,
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, chance: 0.5 }
    }

    fn list(&mut self, listed: Vec<Instance>) {
        self.listed = listed;
        self.take_in();
    }

    fn take_in(&mut self) {
        let listed = self.listed.clone();
        self.table.take_in(self.moment(), &listed, |id| listed.iter().find(|instance| instance.id == id));
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(order) = self.table.poll_order() {
            match order {
                Order::Connect { member, instance } => {
                    assert!(!self.clients.contains(&member), "CL1: {member} has a client and gets another one");
                    assert!(self.attempts.insert(member), "CL1: {member} is connecting and shall connect");
                    self.of.insert(member, instance);
                }
                Order::Disconnect { member } => {
                    let had = self.attempts.remove(&member) || self.clients.remove(&member);
                    assert!(had, "CL3: {member} has nothing to end");
                }
                Order::Check { session } => {
                    let last = self.checks.insert(session, self.now);
                    assert!(
                        last.is_none_or(|last| self.now - last >= CHECK_EVERY),
                        "CL5: {session} is asked too often"
                    );
                    self.checked += 1;
                }
            }
        }
        assert!(self.attempts.len() <= CONNECTING_MAX);
        let usable: BTreeSet<_> = self.table.usable().map(|(member, ..)| member).collect();
        assert_eq!(usable, self.clients, "CL2");
    }

    fn succeed(&mut self, member: MemberId) {
        assert!(self.attempts.remove(&member), "{member} is not connecting");
        self.clients.insert(member);
        assert!(self.table.connected(self.now, member));
        self.obey();
    }

    fn fail(&mut self, member: MemberId) {
        assert!(self.attempts.remove(&member), "{member} is not connecting");
        self.table.failed(self.moment(), member, "refused".to_owned());
        self.obey();
    }

    fn break_client(&mut self, member: MemberId) {
        self.table.broken(self.moment(), member, "reset".to_owned());
        self.obey();
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.table.handle_timeout(self.now);
        self.obey();
    }

    /// Lets time pass up to the next thing that is due.
    fn pass_to_due(&mut self) -> Duration {
        let due = self.table.poll_timeout().unwrap();
        let span = due.saturating_duration_since(self.now);
        self.pass(span);
        span
    }

    fn only_attempt(&self) -> MemberId {
        assert_eq!(self.attempts.len(), 1, "{:?}", self.attempts);
        *self.attempts.first().unwrap()
    }

    fn connect_all(&mut self) {
        while let Some(&member) = self.attempts.first() {
            self.succeed(member);
        }
    }

    fn usable_ids(&self) -> Vec<u64> {
        self.table.usable().map(|(_, _, instance)| instance.id.get()).collect()
    }
}

#[test]
fn nobody_is_usable_before_it_has_connected() {
    let mut world = World::new();
    world.list(vec![instance(1), instance(2)]);
    assert_eq!(world.usable_ids(), [0; 0]);
    world.connect_all();
    assert_eq!(world.usable_ids(), [1, 2]);
}

#[test]
fn c6_who_refuses_the_first_attempt_is_tried_again_with_growing_pauses() {
    let mut world = World::new();
    world.list(vec![instance(1)]);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        world.fail(world.only_attempt());
        pauses.push(world.pass_to_due().as_millis());
    }
    assert_eq!(pauses, [37, 75, 150, 300, 600, 1200, 2400, 3750, 3750]);
    world.connect_all();
    assert_eq!(world.usable_ids(), [1]);
}

#[test]
fn cl4_who_is_replaced_serves_until_its_successor_has_connected() {
    let mut world = World::new();
    world.list(vec![placed(1, 80)]);
    world.connect_all();
    world.list(vec![placed(2, 80)]);
    assert_eq!(world.usable_ids(), [1]);
    // The successor is replaced, too, before it has connected.
    world.list(vec![placed(3, 80)]);
    assert_eq!(world.usable_ids(), [1]);
    world.succeed(world.only_attempt());
    assert_eq!(world.usable_ids(), [3]);
    assert_eq!(world.table.members().count(), 1);
}

#[test]
fn cl4_who_is_replaced_and_breaks_goes_at_once() {
    let mut world = World::new();
    world.list(vec![placed(1, 80)]);
    world.connect_all();
    world.list(vec![placed(2, 80)]);
    world.break_client(MemberId(1));
    assert_eq!(world.usable_ids(), [0; 0]);
    assert_eq!(world.table.members().count(), 1);
}

#[test]
fn an_id_that_a_node_without_memory_gives_out_again_is_somebody_else() {
    let mut world = World::new();
    world.list(vec![placed(1, 80)]);
    world.connect_all();
    let other = Instance { registered: Timestamp::new(99), ..placed(1, 81) };
    world.list(vec![other]);
    assert_eq!(world.usable_ids(), [0; 0], "the client leads to another address");
    world.connect_all();
    assert_eq!(world.table.usable().next().unwrap().2.registration.address.port(), 81);
}

#[test]
fn cl5_a_member_that_breaks_all_the_time_is_checked_once_a_second() {
    let mut world = World::new();
    world.list(vec![instance(1)]);
    let begin = world.now;
    while world.now - begin < Duration::from_secs(10) {
        if world.attempts.is_empty() {
            world.pass_to_due();
        }
        world.succeed(world.only_attempt());
        // Good for just long enough to count as steady, so that the pauses stay short.
        world.pass(Duration::from_millis(if world.checked.is_multiple_of(2) { 1000 } else { 1 }));
        world.break_client(MemberId(1));
    }
    assert!((5..=11).contains(&world.checked), "{} checks", world.checked);
}

#[test]
fn nobody_asks_about_who_is_known_to_be_suspect() {
    let mut world = World::new();
    world.list(vec![Instance { liveness: Liveness::Suspect(SuspectReason::StreamClosed), ..instance(1) }]);
    world.fail(world.only_attempt());
    assert_eq!(world.checked, 0);
}

#[test]
fn a_great_service_is_connected_some_at_a_time() {
    let mut world = World::new();
    world.list((1..=1000).map(instance).collect());
    assert_eq!(world.attempts.len(), CONNECTING_MAX);
    world.connect_all();
    assert_eq!(world.clients.len(), 1000);
}

#[test]
fn cl3_the_end_leaves_no_client_and_no_attempt() {
    let mut world = World::new();
    world.list((1..=100).map(instance).collect());
    world.succeed(MemberId(1));
    world.table.finish();
    world.obey();
    assert!(world.attempts.is_empty() && world.clients.is_empty(), "CL3");
    world.take_in();
    assert!(world.table.poll_timeout().is_none() && world.attempts.is_empty());
}

#[test]
fn a_member_says_what_is_wrong_with_it() {
    let mut world = World::new();
    let suspect = Instance { liveness: Liveness::Suspect(SuspectReason::PingTimeout), ..instance(3) };
    world.list(vec![instance(1), Instance { draining: true, ..instance(2) }, suspect]);
    world.fail(MemberId(1));
    world.succeed(MemberId(2));
    world.break_client(MemberId(2));
    let told: Vec<_> = world.table.members().map(|member| member.to_string()).collect();
    assert_eq!(
        told,
        [
            "10.0.0.7:1 (instance 1): cannot be reached, 1 times in a row: refused",
            "10.0.0.7:2 (instance 2): draining; closed: reset",
            "10.0.0.7:3 (instance 3): suspect; connecting",
        ]
    );
}

#[derive(Debug, Clone)]
enum Step {
    Add { port: u16 },
    Remove { place: usize },
    Replace { place: usize },
    Suspect { place: usize, suspect: bool },
    Drain { place: usize },
    Succeed { place: usize },
    Fail { place: usize },
    Break { place: usize },
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0..16_usize;
    prop_oneof![
        3 => (1..200_u16).prop_map(|port| Step::Add { port }),
        1 => place.clone().prop_map(|place| Step::Remove { place }),
        1 => place.clone().prop_map(|place| Step::Replace { place }),
        1 => (place.clone(), any::<bool>()).prop_map(|(place, suspect)| Step::Suspect { place, suspect }),
        1 => place.clone().prop_map(|place| Step::Drain { place }),
        4 => place.clone().prop_map(|place| Step::Succeed { place }),
        2 => place.clone().prop_map(|place| Step::Fail { place }),
        2 => place.prop_map(|place| Step::Break { place }),
        2 => (0..3000_u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

fn nth(set: &BTreeSet<MemberId>, place: usize) -> Option<MemberId> {
    set.iter().nth(place % set.len().max(1)).copied()
}

proptest! {
    /// F50, F51: whatever happens, who is usable is who is listed and connected, or is replaced and
    /// waits for its successor; CL1 to CL5 are asserted on the way.
    #[test]
    fn f50_f51_the_members_are_those_that_are_listed(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new();
        let mut last = 0;
        for step in steps {
            let mut listed = world.listed.clone();
            let places = listed.len().max(1);
            match step {
                Step::Add { port } => {
                    if listed.iter().all(|instance| instance.registration.address.port() != port) {
                        last += 1;
                        listed.push(placed(last, port));
                    }
                }
                Step::Remove { place } if !listed.is_empty() => {
                    listed.remove(place % places);
                }
                Step::Replace { place } if !listed.is_empty() => {
                    last += 1;
                    let old = listed.remove(place % places);
                    let before = world.usable_ids().contains(&old.id.get());
                    listed.push(placed(last, old.registration.address.port()));
                    world.list(listed.clone());
                    prop_assert_eq!(world.usable_ids().contains(&old.id.get()), before, "CL4");
                }
                Step::Suspect { place, suspect } if !listed.is_empty() => {
                    let reason = Liveness::Suspect(SuspectReason::StreamClosed);
                    listed[place % places].liveness = if suspect { reason } else { Liveness::Up };
                }
                Step::Drain { place } if !listed.is_empty() => listed[place % places].draining = true,
                Step::Succeed { place } => {
                    if let Some(member) = nth(&world.attempts, place) {
                        world.succeed(member);
                    }
                }
                Step::Fail { place } => {
                    if let Some(member) = nth(&world.attempts, place) {
                        world.fail(member);
                    }
                }
                Step::Break { place } => {
                    if let Some(member) = nth(&world.clients, place) {
                        world.break_client(member);
                        prop_assert!(!world.clients.contains(&member), "CL2");
                    }
                }
                Step::Pass { millis } => world.pass(Duration::from_millis(millis)),
                Step::Remove { .. } | Step::Replace { .. } | Step::Suspect { .. } | Step::Drain { .. } => {}
            }
            world.list(listed);
            let members: Vec<_> = world.table.members().collect();
            for instance in &world.listed {
                let found: Vec<_> = members.iter().filter(|member| member.instance.id == instance.id).collect();
                prop_assert_eq!(found.len(), 1, "each listed instance is one member");
                prop_assert_eq!(&found[0].instance, instance);
                prop_assert!(!found[0].replaced);
            }
            for member in &members {
                let listed = world.listed.iter().any(|instance| instance.id == member.instance.id);
                let waits = member.replaced && member.link == Link::Connected;
                prop_assert!(listed || waits, "{member} is a left-over");
                prop_assert!(member.standing() != Standing::Draining || member.instance.draining);
            }
        }
        // Left alone, everybody gets a client.
        for _ in 0..1000 {
            world.connect_all();
            let Some(due) = world.table.poll_timeout() else { break };
            world.pass(due.saturating_duration_since(world.now));
        }
        let mut expected: Vec<_> = world.listed.iter().map(|instance| instance.id.get()).collect();
        let mut usable = world.usable_ids();
        expected.sort_unstable();
        usable.sort_unstable();
        prop_assert_eq!(usable, expected);
    }
}
