//! What a restore refuses: each fault is an error that says what, and none is a panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use proptest::prelude::*;
use roster_core::directory::{
    Command, Directory, Effects, Instance, Liveness, Outcome, Restoration, RestoreError, StateItem,
};
use roster_core::{
    Address, Cutover, Grace, Handover, InstanceId, Kind, Label, Metadata, Position, Registration, SecretHash,
    ServiceName, SessionId, Tags, Timestamp, Token,
};

fn facts(service: &str, port: u32, kind: Kind) -> Arc<Registration> {
    Arc::new(Registration {
        service: ServiceName::parse(service).unwrap(),
        address: Address::parse("10.0.0.1", port).unwrap(),
        kind,
        node_index: 0,
        version: 2,
        weight: 100,
        zone: Label::default(),
        tags: Tags::default(),
        metadata: Metadata::default(),
    })
}

/// 0 counters, 1 session 1, 2 `leader`, 3 `orders`; 4 and 5 orders, 6 the leader, 7 who waits for it.
fn good() -> Vec<StateItem> {
    let (mut directory, mut effects) = (Directory::new(), Effects::default());
    let mut apply = |command| directory.apply(Timestamp::new(1), command, &mut effects);
    apply(Command::OpenSession { secret: SecretHash([1; 16]), grace: Grace::default(), client: Label::default() });
    let places = [("orders", 80, Kind::Main), ("orders", 81, Kind::Main), ("leader", 90, Kind::Singleton)];
    for (service, port, kind) in places.into_iter().chain([("leader", 91, Kind::Singleton)]) {
        let outcome = apply(Command::Register {
            session: SessionId::new(1),
            registration: facts(service, port, kind),
            handover: Handover::from_millis(5000).unwrap(),
            cutover: None,
        });
        assert!(matches!(outcome, Outcome::Active { .. } | Outcome::Pending { .. }));
    }
    directory.snapshot().items().collect()
}

fn fault(change: impl FnOnce(&mut Vec<StateItem>)) -> String {
    let mut items = good();
    change(&mut items);
    Directory::restore(items).unwrap_err().to_string()
}

/// The fault of the good list in which one instance is another.
fn instance_fault(at: usize, change: impl FnOnce(&mut Instance, &mut u64)) -> String {
    fault(|items| {
        let StateItem::Instance { instance, place, .. } = &mut items[at] else { panic!("{at} is no instance") };
        change(instance, place);
    })
}

fn service(name: &str, floor: u64, cutover: Cutover, operator: Option<Cutover>) -> StateItem {
    let operator_cutover = operator.map(|cutover| (cutover, Label::default()));
    StateItem::Service { name: ServiceName::parse(name).unwrap(), floor, cutover, operator_cutover }
}

#[test]
fn a_good_list_is_restored_as_it_is() {
    let items = good();
    let restored = Directory::restore(items.clone()).unwrap();
    restored.check_invariants();
    assert!(restored.snapshot().items().eq(items));
}

#[test]
fn the_counters_stand_first_and_once() {
    let error = "the counters do not stand first and once";
    assert_eq!(fault(|items| drop(items.remove(0))), error);
    assert_eq!(fault(Vec::clear), error);
    assert_eq!(fault(|items| items.insert(1, items[0].clone())), error);
    assert_eq!(Restoration::new().finish().unwrap_err(), RestoreError::Counters);
}

#[test]
fn nothing_lies_beyond_a_counter() {
    let counters = |revision, last_session| {
        fault(|items| {
            items[0] =
                StateItem::Counters { revision: Position::new(revision), last_session: SessionId::new(last_session) };
        })
    };
    assert_eq!(counters(5, 0), "a session is 1, beyond the counter at 0");
    assert_eq!(counters(5, 6), "the last session is 6, beyond the counter at 5");
    assert_eq!(counters(4, 1), "an instance is 5, beyond the counter at 4");
    assert!(counters(u64::MAX, 1).starts_with("the revision is 18446744073709551615, beyond"));
    assert_eq!(instance_fault(4, |one, _| one.changed = Position::new(6)), "a change is 6, beyond the counter at 5");
    assert_eq!(instance_fault(6, |one, _| one.token = Some(Token::new(6))), "a token is 6, beyond the counter at 5");
    assert_eq!(instance_fault(4, |_, place| *place = 3), "a place is 3, beyond the counter at 2");
    let attachment = fault(|items| {
        if let StateItem::Session { attachment, .. } = &mut items[1] {
            *attachment = Position::new(6);
        }
    });
    assert_eq!(attachment, "an attachment is 6, beyond the counter at 5");
}

#[test]
fn kinds_of_facts_ids_and_names_ascend() {
    let what = |what: &str| format!("{what} stands after what should follow it, or twice");
    assert_eq!(fault(|items| items.insert(2, items[1].clone())), what("session 1"));
    assert_eq!(fault(|items| items.swap(2, 3)), what("service leader"));
    assert_eq!(fault(|items| items.insert(4, items[3].clone())), what("service orders"));
    assert_eq!(fault(|items| items.insert(5, items[4].clone())), what("instance 2"));
    assert_eq!(fault(|items| items.swap(1, 2)), what("session 1"));
    assert_eq!(fault(|items| items.swap(3, 4)), "instance 2 belongs to service orders, which is not there");
    assert_eq!(fault(|items| items.swap(4, 5)), what("instance 2"));
    let late = service("zoo", 0, Cutover::default(), Some(Cutover::default()));
    assert_eq!(fault(|items| items.push(late)), what("service zoo"));
}

#[test]
fn an_instance_has_a_session_and_a_service() {
    let error = fault(|items| drop(items.remove(1)));
    assert_eq!(error, "instance 2 belongs to session 1, which is not there");
    let error = fault(|items| drop(items.remove(3)));
    assert_eq!(error, "instance 2 belongs to service orders, which is not there");
}

#[test]
fn an_instance_obeys_the_rules() {
    let why = |instance: u64, why: &str| format!("instance {instance} breaks a rule: {why}");
    let error = instance_fault(5, |one, _| one.registration = facts("orders", 80, Kind::Member));
    assert_eq!(error, why(3, "its place is taken"));
    let error = instance_fault(5, |_, place| *place = 2);
    assert_eq!(error, why(3, "its place in the order is taken"));
    let error = instance_fault(4, |one, _| {
        one.registration = Arc::new(Registration { version: 1, ..(*facts("orders", 80, Kind::Member)).clone() });
    });
    assert_eq!(error, why(2, "its version is below the floor of its service"));
    let error = instance_fault(7, |one, _| {
        (one.registration, one.pending) = (facts("leader", 91, Kind::Member), false);
    });
    assert_eq!(error, why(5, "its kind does not mix with that of another instance"));
    let error = instance_fault(7, |one, _| (one.pending, one.token) = (false, Some(Token::new(5))));
    assert_eq!(error, why(5, "another singleton holds the name"));
    let error = instance_fault(6, |one, _| (one.pending, one.token) = (true, None));
    assert_eq!(error, why(5, "another singleton waits already"));
    let mismatch = "its kind, its token and its waiting do not go together";
    assert_eq!(instance_fault(6, |one, _| one.token = None), why(4, mismatch));
    assert_eq!(instance_fault(7, |one, _| one.token = Some(Token::new(1))), why(5, mismatch));
    assert_eq!(instance_fault(4, |one, _| one.token = Some(Token::new(1))), why(2, mismatch));
    assert_eq!(instance_fault(4, |one, _| one.pending = true), why(2, mismatch));
}

#[test]
fn a_service_is_in_a_state_that_a_command_leaves() {
    let why = |service: &str, why: &str| format!("service {service} breaks a rule: {why}");
    let after = Cutover::default();
    let two = Cutover::after(2).unwrap();
    let error = fault(|items| items.insert(2, service("empty", 0, after, None)));
    assert_eq!(error, why("empty", "nothing keeps it"));
    for (floor, cutover) in [(1, after), (0, two)] {
        let error = fault(|items| items.insert(2, service("empty", floor, cutover, Some(after))));
        assert_eq!(error, why("empty", "it has a floor or a policy of registrations, and no instance"));
    }
    let error = fault(|items| items[3] = service("orders", 2, Cutover::SideBySide, None));
    assert_eq!(error, why("orders", "it has a floor, and versions stand side by side"));
    let error = fault(|items| items[3] = service("orders", 1, two, None));
    assert_eq!(error, why("orders", "a version above its floor should have taken over"));
    let error = fault(|items| drop(items.remove(6)));
    assert_eq!(error, why("leader", "a singleton waits for nobody"));
}

#[test]
fn the_liveness_of_an_instance_is_that_of_its_session() {
    let mut items = good();
    if let StateItem::Instance { instance, .. } = &mut items[4] {
        instance.liveness = Liveness::Unconfirmed;
    }
    assert!(Directory::restore(items).unwrap().snapshot().items().eq(good()));
}

proptest! {
    #[test]
    fn no_list_of_facts_makes_it_panic(picks in prop::collection::vec((0..8_usize, 0..8_u64, any::<bool>()), 0..12)) {
        let good = good();
        let mut items = vec![good[0].clone()];
        items.extend(picks.into_iter().map(|(pick, number, altered)| {
            let mut item = good[pick].clone();
            if let (StateItem::Instance { instance, place, .. }, true) = (&mut item, altered) {
                instance.id = InstanceId::new(number);
                instance.pending ^= number % 3 == 0;
                *place = number;
            }
            item
        }));
        if let Ok(directory) = Directory::restore(items) {
            directory.check_invariants();
        }
    }
}
