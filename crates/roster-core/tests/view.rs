//! What a reader's view makes of what it is told, the sensible and the senseless.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use roster_core::directory::{Event, Instance, Liveness, RemovedCause, SuspectReason};
use roster_core::view::{Change, Group, Told, View};
use roster_core::{
    Address, InstanceId, Kind, Label, Metadata, Position, Registration, ServiceName, SessionId, Tags, Timestamp, Token,
};

fn orders() -> ServiceName {
    ServiceName::parse("orders").unwrap()
}

fn instance(id: u64) -> Instance {
    Instance {
        id: InstanceId::new(id),
        registration: Arc::new(Registration {
            service: orders(),
            address: Address::parse("10.0.0.1", 80).unwrap(),
            kind: Kind::Member,
            node_index: 0,
            version: 0,
            weight: 100,
            zone: Label::default(),
            tags: Tags::default(),
            metadata: Metadata::default(),
        }),
        session: SessionId::new(1),
        liveness: Liveness::Up,
        draining: false,
        pending: false,
        token: None,
        registered: Timestamp::new(1),
        changed: Position::new(id),
    }
}

fn suspect(instance: u64) -> Event {
    Event::Suspect { service: orders(), instance: InstanceId::new(instance), reason: SuspectReason::StreamClosed }
}

fn removed(instance: u64) -> Event {
    Event::Removed { service: orders(), instance: InstanceId::new(instance), cause: RemovedCause::Logout }
}

fn main(instance: u64) -> Event {
    Event::MainChanged { service: orders(), main: Some(InstanceId::new(instance)) }
}

fn tell(view: &mut View, position: u64, events: impl IntoIterator<Item = Event>) -> Vec<Change> {
    let told = events.into_iter().map(Told::Event).collect();
    view.take_in(Group { position: Position::new(position), told })
}

fn whole(position: u64, instances: impl IntoIterator<Item = Instance>) -> Group {
    let state = instances.into_iter().map(|one| Told::Event(Event::Up(one)));
    let told = [Told::Reset].into_iter().chain(state).chain([Told::Loaded]).collect();
    Group { position: Position::new(position), told }
}

/// Loaded at 10, with instances 1 and 2 and main 1.
fn loaded() -> View {
    let mut view = View::new();
    let mut state = whole(10, [instance(1), instance(2)]);
    state.told.insert(3, Told::Event(main(1)));
    view.take_in(state);
    view
}

fn ids(view: &View) -> Vec<u64> {
    view.all().map(|one| one.id.get()).collect()
}

#[test]
fn what_readers_are_given_shows_the_same_and_nothing_of_a_state_on_its_way() {
    let mut view = loaded();
    let mut part = whole(20, [instance(3), instance(4)]);
    part.told.pop();
    view.take_in(part);
    let mut given = view.visible();
    assert_eq!((ids(&given), given.position(), given.is_resetting()), (ids(&view), view.position(), true));
    given.take_in(Group { position: Position::new(20), told: vec![Told::Loaded] });
    assert_eq!(ids(&given), [0; 0], "nothing gathered in it");
    view.take_in(Group { position: Position::new(20), told: vec![Told::Loaded] });
    assert_eq!(ids(&view), [3, 4]);
}

#[test]
fn v1_a_state_is_visible_whole_or_not_at_all() {
    let mut view = loaded();
    let mut part = whole(20, [instance(3), instance(4)]);
    part.told.truncate(2);
    assert_eq!(view.take_in(part), []);
    assert!(view.is_resetting() && view.is_loaded());
    assert_eq!((ids(&view), view.position()), (vec![1, 2], Position::new(10)));

    // The rest comes in groups of its own, and a bookmark on the way is no end.
    assert_eq!(view.take_in(Group { position: Position::new(20), told: vec![Told::Bookmark] }), []);
    assert_eq!(tell(&mut view, 20, [Event::Up(instance(4))]), []);
    assert_eq!(view.position(), Position::new(10));
    view.take_in(Group { position: Position::new(20), told: vec![Told::Loaded] });
    assert_eq!((ids(&view), view.position()), (vec![3, 4], Position::new(20)));
}

#[test]
fn v1_a_reset_that_breaks_off_leaves_nothing() {
    let mut view = loaded();
    let mut part = whole(20, [instance(3)]);
    part.told.pop();
    view.take_in(part);
    view.break_off();
    // The next stream resumes from 10: its events are about the state that is visible.
    assert_eq!(tell(&mut view, 11, [removed(2)]).len(), 1);
    assert_eq!((ids(&view), view.position()), (vec![1], Position::new(11)));
}

#[test]
fn v2_the_same_state_again_is_no_change() {
    let mut view = loaded();
    let restarted = [1, 2].map(|id| Instance { liveness: Liveness::Unconfirmed, ..instance(id) });
    let mut state = whole(15, restarted.clone());
    state.told.insert(3, Told::Event(main(1)));
    assert_eq!(view.take_in(state), [Change::Loaded { position: Position::new(15) }]);
    assert!(view.all().eq(&restarted), "it is known, if not told");
}

#[test]
fn v3_a_group_that_was_taken_in_changes_nothing() {
    let mut view = loaded();
    assert_eq!(tell(&mut view, 11, [removed(2)]).len(), 1);
    assert_eq!(tell(&mut view, 11, [Event::Up(instance(2))]), []);
    assert_eq!(tell(&mut view, 9, [Event::Up(instance(2))]), []);
    assert_eq!((ids(&view), view.position()), (vec![1], Position::new(11)));
}

#[test]
fn a_reset_may_go_back_to_an_earlier_position() {
    // A node that keeps nothing on disk begins anew, and what it says then counts.
    let mut view = loaded();
    view.take_in(whole(3, [instance(1)]));
    assert_eq!(view.position(), Position::new(3));
    assert_eq!(tell(&mut view, 4, [Event::Up(instance(4))]), [Change::Up(instance(4))]);
}

#[test]
fn a_reset_tells_each_kind_of_difference() {
    let was = [1, 2, 3, 4, 5].map(instance);
    let mut view = View::new();
    view.take_in(whole(10, was.clone()));
    let [same, mut facts, mut token, mut draining, mut lost] = was;
    facts.registration = Arc::new(Registration { weight: 7, ..(*facts.registration).clone() });
    token.token = Some(Token::new(9));
    draining.draining = true;
    lost.liveness = Liveness::Suspect(SuspectReason::PingTimeout);
    let is = [same, facts.clone(), token.clone(), draining.clone(), lost.clone()];
    let changes = view.take_in(whole(20, is));
    let loaded = Change::Loaded { position: Position::new(20) };
    let told = [
        Change::Changed(facts),
        Change::Changed(token),
        Change::Draining(draining),
        Change::Suspect(lost.clone()),
        loaded,
    ];
    assert_eq!(changes, told);

    // The reason alone is no news, and neither is who had drained and does not: that is a change.
    lost.liveness = Liveness::Suspect(SuspectReason::CheckFailed);
    let changes = view.take_in(whole(21, [instance(4), lost.clone()]));
    let gone = [1, 2, 3];
    assert_eq!(changes[0], Change::Changed(instance(4)));
    for (change, id) in changes[1..4].iter().zip(gone) {
        assert!(matches!(change, Change::Removed { instance, cause: None } if instance.id.get() == id), "{change:?}");
    }
    assert_eq!(changes.len(), 5);
    assert_eq!(view.service(&orders()).unwrap().instance(lost.id), Some(&lost));
}

#[test]
fn what_is_unknown_is_ignored_or_taken_as_new() {
    let mut view = loaded();
    let draining = Event::Draining { service: orders(), instance: InstanceId::new(9) };
    assert_eq!(tell(&mut view, 11, [suspect(9), draining, removed(9)]), []);
    assert_eq!(tell(&mut view, 12, [Event::Changed(instance(3))]), [Change::Up(instance(3))]);
    let replaced = Event::Replaced { old: InstanceId::new(9), new: instance(4) };
    assert_eq!(tell(&mut view, 13, [replaced]), [Change::Up(instance(4))]);
    let waiting = Instance { pending: true, ..instance(5) };
    assert_eq!(tell(&mut view, 14, [Event::Up(waiting)]), []);
    assert_eq!(ids(&view), [1, 2, 3, 4]);
}

#[test]
fn a_service_is_known_as_long_as_it_has_something() {
    let mut view = View::new();
    assert_eq!(tell(&mut view, 1, [suspect(1), removed(1)]), []);
    assert_eq!(view.services().count(), 0);
    tell(&mut view, 2, [Event::Up(instance(2)), main(2)]);
    assert_eq!(view.main(&orders()).unwrap().id.get(), 2);
    assert_eq!(view.instances(&orders()).count(), 1);
    let nobody = Event::MainChanged { service: orders(), main: None };
    assert_eq!(tell(&mut view, 3, [nobody, removed(2)]).len(), 2);
    assert_eq!(view.services().count(), 0);
    assert!(!view.is_loaded(), "nobody said that this was the whole state");
}

#[test]
fn a_stream_that_resumed_may_say_that_it_is_whole() {
    let mut view = loaded();
    let said = Group { position: Position::new(10), told: vec![Told::Loaded] };
    assert_eq!(view.take_in(said), [Change::Loaded { position: Position::new(10) }]);
    assert_eq!(ids(&view), [1, 2]);
    view.take_in(Group { position: Position::new(30), told: vec![Told::Bookmark] });
    assert_eq!(view.position(), Position::new(30));
}

#[test]
fn a_published_clone_does_not_change() {
    let mut view = loaded();
    let published = view.clone();
    tell(&mut view, 11, [suspect(1), removed(2)]);
    assert!(published.all().eq(&[instance(1), instance(2)]));
}
