//! A registrar against a node: what a service sees when connections and nodes come and go.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{
    Announcement, BackOff, Change, Client, Connection, Error, Handle, Kind, OfflineReason, Refusal, Registrar,
    RemovedCause, Selector, ServiceName, SessionId, State, Watch, WatchEvent,
};

/// Of the stopped clock: it costs nothing, and nothing that goes well takes that long.
const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

fn orders(port: u16) -> Announcement {
    Announcement::new("orders", "10.0.0.7", port).unwrap()
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().name("test").build().unwrap()
}

async fn session_of(registrar: &Registrar) -> SessionId {
    let mut connection = registrar.connection();
    let connected = within(connection.wait_for(|it| matches!(it, Connection::Connected { .. }))).await.unwrap();
    match &*connected {
        Connection::Connected { session, .. } => *session,
        other => panic!("{other:?}"),
    }
}

async fn until(handle: &mut Handle, wanted: impl Fn(&State) -> bool) -> State {
    within(async {
        let mut state = handle.state();
        while !wanted(&state) {
            state = handle.changed().await;
        }
        state
    })
    .await
}

/// Waits for what only the node can tell.
async fn eventually(mut happened: impl AsyncFnMut() -> bool) {
    within(async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn is_active(state: &State) -> bool {
    matches!(state, State::Active { .. })
}

async fn away(registrar: &Registrar) {
    within(registrar.connection().wait_for(|it| matches!(it, Connection::Away { .. }))).await.unwrap();
}

/// What a watcher saw leave, in order.
async fn removals(watch: &mut Watch, count: usize) -> Vec<Option<RemovedCause>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        if let Some(WatchEvent::Change(Change::Removed { cause, .. })) = within(watch.next()).await {
            seen.push(cause);
        }
    }
    seen
}

async fn watcher(client: &Client) -> Watch {
    let watch = client.watch(Selector::All).start();
    within(watch.view().loaded()).await.unwrap();
    watch
}

#[tokio::test(start_paused = true)]
async fn f29_it_registers_when_the_node_comes_up() {
    let node = FakeNode::in_memory();
    node.stop();
    let registrar = client(&node).registrar().start();
    let handle = registrar.register(orders(1));
    away(&registrar).await;
    assert_eq!(handle.state(), State::Waiting);
    node.resume();
    assert!(is_active(&within(handle.settled()).await));
}

#[tokio::test(start_paused = true)]
async fn f30_a_restart_of_the_node_keeps_the_session_and_nothing_flaps() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let mut handle = registrar.register(orders(1));
    let before = within(handle.settled()).await;
    let session = session_of(&registrar).await;
    let mut watch = watcher(&client).await;
    node.restart();
    eventually(async || node.connections_made() == 2 && node.sessions_connected() == 1).await;
    let after = until(&mut handle, is_active).await;
    assert_eq!(after, before, "the same instance, unchanged");
    assert_eq!(node.registrations_asked(), 1, "what the node has is not asked for again");
    assert_eq!(session_of(&registrar).await, session);
    handle.deregister().await.unwrap();
    assert_eq!(removals(&mut watch, 1).await, [Some(RemovedCause::Logout)], "nothing else was seen to leave");
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_resumed_without_a_flap() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let mut handle = registrar.register(orders(1));
    let before = within(handle.settled()).await;
    let session = session_of(&registrar).await;
    node.kill_connections();
    eventually(async || node.connections_made() == 2 && node.sessions_connected() == 1).await;
    assert_eq!(until(&mut handle, is_active).await, before);
    assert_eq!(session_of(&registrar).await, session);
}

#[tokio::test(start_paused = true)]
async fn f31_all_of_a_client_shares_one_connection() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let (one, two) = (registrar.register(orders(1)), registrar.register(orders(2)));
    assert!(is_active(&within(one.settled()).await));
    assert!(is_active(&within(two.settled()).await));
    watcher(&client).await;
    assert_eq!(client.list(&Selector::All).await.unwrap().len(), 2);
    assert_eq!(node.connections_made(), 1);
    assert_eq!(node.sessions_connected(), 1);
}

#[tokio::test(start_paused = true)]
async fn f32_dropping_the_registrar_and_its_handles_logs_out() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = watcher(&client).await;
    let registrar = client.registrar().start();
    let handle = registrar.register(orders(1));
    within(handle.settled()).await;
    drop(registrar);
    drop(handle);
    assert_eq!(removals(&mut watch, 1).await, [Some(RemovedCause::Logout)]);
    eventually(async || client.status().await.unwrap().sessions == 0).await;
}

#[tokio::test(start_paused = true)]
async fn closing_logs_out_and_ends_the_handles() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = watcher(&client).await;
    let registrar = client.registrar().start();
    let handle = registrar.register(orders(1));
    within(handle.settled()).await;
    within(registrar.close()).await.unwrap();
    assert_eq!(handle.state(), State::Ended);
    assert_eq!(node.sessions_connected(), 0);
    assert_eq!(removals(&mut watch, 1).await, [Some(RemovedCause::Logout)]);
}

#[tokio::test(start_paused = true)]
async fn closing_towards_a_frozen_node_takes_bounded_time() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().start();
    session_of(&registrar).await;
    node.pause();
    let closed = tokio::time::timeout(Duration::from_secs(4), registrar.close()).await.unwrap();
    assert!(matches!(closed, Err(Error::NoFarewell { .. })), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_memory_gets_everything_anew() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let mut handle = registrar.register(orders(1));
    within(handle.settled()).await;
    node.wipe();
    eventually(async || node.registrations_asked() == 2).await;
    until(&mut handle, is_active).await;
    assert_eq!(client.list(&Selector::All).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_deregistered_while_away_is_gone_after_the_return() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let (keep, drop_it) = (registrar.register(orders(1)), registrar.register(orders(2)));
    within(keep.settled()).await;
    within(drop_it.settled()).await;
    node.stop();
    away(&registrar).await;
    drop(drop_it);
    node.resume();
    let mut keep = keep;
    until(&mut keep, is_active).await;
    eventually(async || client.list(&Selector::All).await.unwrap().len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_left_and_found_again() {
    let node = FakeNode::in_memory();
    node.set_ping_interval(Duration::from_secs(1));
    let registrar = client(&node).registrar().grace(Duration::from_secs(60)).start();
    let mut handle = registrar.register(orders(1));
    within(handle.settled()).await;
    node.pause();
    let silent = tokio::time::Instant::now();
    away(&registrar).await;
    eventually(async || node.connections_made() == 2).await;
    assert!(silent.elapsed() < Duration::from_secs(4), "the silent connection was used again");
    node.resume();
    until(&mut handle, is_active).await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_session_stays_up_by_answering_pings() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().grace(Duration::ZERO).start();
    let handle = registrar.register(orders(1));
    within(handle.settled()).await;
    let moved = tokio::time::timeout(Duration::from_secs(300), async {
        let mut handle = handle;
        handle.changed().await; // the state that settled() saw
        handle.changed().await
    });
    assert!(moved.await.is_err(), "five minutes of nothing");
    assert_eq!(node.connections_made(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_resumed_elsewhere_ends_here() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().start();
    let mut handle = registrar.register(orders(1));
    let session = session_of(&registrar).await;
    node.displace(session);
    assert_eq!(until(&mut handle, |state| *state == State::Ended).await, State::Ended);
    let connection = registrar.connection().borrow().clone();
    assert!(matches!(&connection, Connection::Ended { why } if why.contains("another stream")), "{connection:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_of_several_addresses_may_be_dead() {
    let dead = FakeNode::listen().await.unwrap();
    let live = FakeNode::listen().await.unwrap();
    dead.stop();
    tokio::time::resume(); // sockets do not wait for a stopped clock
    let client = Client::builder().endpoints([dead.url(), live.url()]).build().unwrap();
    let registrar = client.registrar().start();
    let handle = registrar.register(orders(1));
    assert!(is_active(&within(handle.settled()).await));
    let connected = registrar.connection().borrow().clone();
    assert!(matches!(&connected, Connection::Connected { endpoint, .. } if **endpoint == *live.url()), "{connected:?}");
    assert_eq!(client.list(&Selector::All).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_is_reported_and_tried_again() {
    let node = FakeNode::in_memory();
    let mut refusal = Refusal { message: "the disk is full".to_owned(), ..Default::default() };
    refusal.set_code(roster_client::RefusalCode::ReadOnly);
    node.refuse_next(refusal.clone());
    let registrar = client(&node).registrar().start();
    let mut handle = registrar.register(orders(1));
    assert_eq!(within(handle.settled()).await, State::Refused(refusal));
    until(&mut handle, is_active).await;
    assert_eq!(node.registrations_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_will_not_pass_waits_for_an_update() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().start();
    let singleton = registrar.register(orders(1).kind(Kind::Singleton));
    within(singleton.settled()).await;
    let mut member = registrar.register(orders(2));
    let refused = within(member.settled()).await;
    assert!(matches!(refused, State::Refused(_)), "{refused:?}");
    assert_eq!(within(member.changed()).await, refused, "what settled() saw");
    tokio::time::timeout(DEADLINE, member.changed()).await.expect_err("it was asked again by itself");
    let elsewhere = Announcement::new("invoices", "10.0.0.7", 2).unwrap();
    member.update(elsewhere).unwrap();
    assert!(is_active(&within(member.settled()).await));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_valid_is_refused_without_asking() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().start();
    let handle = registrar.register(orders(1).weight(2_000_000));
    let state = within(handle.settled()).await;
    assert!(matches!(&state, State::Refused(refusal) if refusal.message.contains("weight")), "{state:?}");
    assert_eq!(node.registrations_asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn r5_a_singleton_that_was_taken_over_unheard_is_not_taken_back() {
    let node = FakeNode::in_memory();
    let slow = BackOff { min: Duration::from_secs(5), max: Duration::from_secs(5) };
    let one = node.client_builder().name("one").back_off(slow).build().unwrap();
    let one = one.registrar().grace(Duration::from_secs(60)).start();
    let old = one.register(orders(1).kind(Kind::Singleton));
    within(old.settled()).await;
    node.stop();
    away(&one).await;
    node.resume();
    let two = client(&node).registrar().start();
    let new = two.register(orders(2).kind(Kind::Singleton));
    assert!(is_active(&within(new.settled()).await));
    assert_eq!(node.sessions_connected(), 1, "the former holder was not there to be told");
    let (reason, _) = within(old.offline()).await.expect("it is told when it is back");
    assert_eq!(reason, OfflineReason::Superseded);
    assert!(is_active(&new.state()), "{:?}", new.state());
}

#[tokio::test(start_paused = true)]
async fn r5_a_singleton_that_is_still_held_is_not_asked_for_again() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().start();
    let mut singleton = registrar.register(orders(1).kind(Kind::Singleton));
    let before = within(singleton.settled()).await;
    node.restart();
    eventually(async || node.connections_made() == 2).await;
    assert_eq!(until(&mut singleton, is_active).await, before, "the same instance with the same token");
    // What is asked next was not preceded by a question about the first.
    within(registrar.register(orders(2)).settled()).await;
    assert_eq!(node.registrations_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_singleton_is_handed_over() {
    let node = FakeNode::in_memory();
    let (one, two) = (client(&node).registrar().start(), client(&node).registrar().start());
    let old = one.register(orders(1).kind(Kind::Singleton));
    let held = within(old.settled()).await;
    let mut new = two.register(orders(2).kind(Kind::Singleton).handover(Duration::from_secs(30)));
    assert!(matches!(within(new.settled()).await, State::Pending { .. }));
    let (reason, _) = within(old.offline()).await.unwrap();
    assert_eq!(reason, OfflineReason::Handover);
    within(old.leave()).await.unwrap();
    let holds = until(&mut new, is_active).await;
    match (held, holds) {
        (State::Active { token: Some(before), .. }, State::Active { token: Some(after), .. }) => {
            assert!(after > before);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_superseded_instance_is_told_and_does_not_come_back_by_itself() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let old = registrar.register(orders(1).version(1));
    within(old.settled()).await;
    let new = registrar.register(orders(2).version(2));
    within(new.settled()).await;
    assert_eq!(within(old.offline()).await.map(|(reason, _)| reason), Some(OfflineReason::Superseded));
    node.kill_connections();
    eventually(async || node.connections_made() == 2 && node.sessions_connected() == 1).await;
    let mut new = new;
    until(&mut new, is_active).await;
    assert!(matches!(old.state(), State::Offline { .. }));
    assert_eq!(client.list(&Selector::All).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_over_when_the_watchers_have_seen_it() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let _watch = watcher(&client).await;
    let registrar = client.registrar().start();
    let handle = registrar.register(orders(1));
    within(handle.settled()).await;
    let mut draining = within(handle.drain(Duration::from_secs(10))).await.unwrap();
    let before = tokio::time::Instant::now();
    let progress = within(draining.finished()).await;
    assert_eq!((progress.seen, progress.watchers, progress.finished), (1, 1, true));
    assert!(before.elapsed() < Duration::from_secs(1), "it did not wait for its deadline");
}

#[tokio::test(start_paused = true)]
async fn an_operators_drain_is_told_to_the_owner_and_serving_ends() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let handle = registrar.register(orders(1));
    let State::Active { instance, .. } = within(handle.settled()).await else { panic!("not active") };
    let serving = tokio::spawn(handle.serve_until(std::future::pending()));
    let mut drain = client.drain(instance, Duration::from_secs(10)).await.unwrap();
    assert!(within(drain.next()).await.unwrap().is_some_and(|progress| progress.finished));
    within(serving).await.unwrap().unwrap();
    assert!(client.get_main(&ServiceName::parse("orders").unwrap()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_update_that_moves_leaves_nothing_behind() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let handle = registrar.register(orders(1));
    within(handle.settled()).await;
    handle.update(orders(2)).unwrap();
    assert!(is_active(&within(handle.settled()).await));
    eventually(async || {
        let list = client.list(&Selector::All).await.unwrap();
        list.len() == 1 && list[0].registration.address.port() == 2
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_place_announced_again_belongs_to_the_newer_handle() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let older = registrar.register(orders(1));
    within(older.settled()).await;
    let newer = registrar.register(orders(1).weight(7));
    assert!(is_active(&within(newer.settled()).await));
    assert_eq!(older.state(), State::Ended);
    drop(older);
    let list = client.list(&Selector::All).await.unwrap();
    assert_eq!(list.iter().map(|instance| instance.registration.weight).collect::<Vec<_>>(), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_registrations_travel_in_few_messages() {
    let node = FakeNode::in_memory();
    let registrar = client(&node).registrar().start();
    let handles: Vec<_> = (1..=1000).map(|port| registrar.register(orders(port))).collect();
    for handle in &handles {
        assert!(is_active(&within(handle.settled()).await));
    }
    assert_eq!(node.registrations_asked(), 1000);
}
