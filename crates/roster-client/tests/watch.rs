//! Watches against a node: what a consumer sees when connections, nodes and instances come and go.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{Announcement, Change, Client, Handle, LiveView, Registrar, Selector, Watch, WatchEvent};

/// Of the stopped clock: it costs nothing, and nothing that goes well takes that long.
const DEADLINE: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn eventually(mut happened: impl AsyncFnMut() -> bool) {
    within(async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().build().unwrap()
}

async fn register(registrar: &Registrar, port: u16) -> Handle {
    let handle = registrar.register(Announcement::new("team/orders", "10.0.0.7", port).unwrap());
    within(handle.settled()).await;
    handle
}

fn ports(view: &LiveView) -> Vec<u16> {
    view.current().all().map(|instance| instance.registration.address.port()).collect()
}

/// The next event that passes, the others dropped.
async fn next<T>(watch: &mut Watch, wanted: impl Fn(&WatchEvent) -> Option<T>) -> T {
    within(async {
        loop {
            let event = watch.next().await.expect("the watch has ended");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    })
    .await
}

fn up(event: &WatchEvent) -> Option<u16> {
    match event {
        WatchEvent::Change(Change::Up(instance)) => Some(instance.registration.address.port()),
        _ => None,
    }
}

fn disconnected(event: &WatchEvent) -> Option<String> {
    match event {
        WatchEvent::Disconnected { why } => Some(why.clone()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_the_state_and_goes_on_with_changes() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let _one = register(&registrar, 1).await;
    let mut watch = client.watch(Selector::parse("team/").unwrap()).start();
    assert!(matches!(within(watch.next()).await, Some(WatchEvent::Connected { .. })));
    assert_eq!(next(&mut watch, up).await, 1);
    next(&mut watch, |event| matches!(event, WatchEvent::Change(Change::Loaded { .. })).then_some(())).await;
    let _two = register(&registrar, 2).await;
    assert_eq!(next(&mut watch, up).await, 2);
    assert_eq!(ports(&watch.view()), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn f38_what_vanished_while_the_watch_was_away_leaves_the_view() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let other = node.client_builder().build().unwrap();
    let registrar = client.registrar().start();
    let gone_registrar = other.registrar().start();
    let _stays = register(&registrar, 1).await;
    let goes = register(&gone_registrar, 2).await;
    let mut watch = client.watch(Selector::All).start();
    within(watch.view().loaded()).await.unwrap();
    node.stop();
    next(&mut watch, disconnected).await;
    drop(goes);
    within(gone_registrar.close()).await.expect_err("nobody could be told");
    assert_eq!(ports(&watch.view()), [1, 2], "what is known stays while the node is away");
    node.wipe();
    node.resume();
    let gone = next(&mut watch, |event| match event {
        WatchEvent::Change(Change::Removed { instance, cause: None }) => Some(instance.registration.address.port()),
        _ => None,
    });
    assert!([1, 2].contains(&gone.await));
    eventually(async || ports(&watch.view()) == [1]).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_is_resumed_and_misses_nothing() {
    let node = FakeNode::in_memory();
    let (here, there) = (client(&node), client(&node));
    let mut watch = here.watch(Selector::All).start();
    within(watch.view().loaded()).await.unwrap();
    next(&mut watch, |event| matches!(event, WatchEvent::Change(Change::Loaded { .. })).then_some(())).await;
    let registrar = there.registrar().start();
    let _one = register(&registrar, 1).await;
    assert_eq!(next(&mut watch, up).await, 1);
    node.kill_connections();
    let _two = register(&registrar, 2).await;
    // The first is up again as well: its session was cut off too.
    next(&mut watch, |event| up(event).filter(|port| *port == 2)).await;
    assert_eq!(ports(&watch.view()), [1, 2]);
    assert_eq!(node.watches_resumed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_node_shows_no_difference() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let _one = register(&registrar, 1).await;
    let mut watch = client.watch(Selector::All).start();
    within(watch.view().loaded()).await.unwrap();
    next(&mut watch, |event| matches!(event, WatchEvent::Change(Change::Loaded { .. })).then_some(())).await;
    node.restart();
    let _two = register(&registrar, 2).await;
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(WatchEvent::Change(Change::Up(instance))) if instance.registration.address.port() == 2)
    {
        seen.push(within(watch.next()).await.unwrap());
    }
    let left = |event: &&WatchEvent| matches!(event, WatchEvent::Change(Change::Removed { .. } | Change::Suspect(_)));
    assert_eq!(seen.iter().find(left), None);
    assert_eq!(node.watches_resumed(), 0, "a position of before the restart is not resumed");
}

#[tokio::test(start_paused = true)]
async fn q1_a_reader_who_is_late_is_sent_to_the_view() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = client.watch(Selector::All).capacity(4).start();
    let view = watch.view();
    within(view.loaded()).await.unwrap();
    let registrar = client.registrar().start();
    let mut handles = Vec::new();
    for port in 1..=20 {
        handles.push(register(&registrar, port).await);
    }
    eventually(async || view.current().all().count() == 20).await;
    assert_eq!(within(watch.next()).await, Some(WatchEvent::Resynchronise));
    assert_eq!(ports(&view), (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn q2_whoever_reads_of_a_change_finds_it_in_the_view() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = client.watch(Selector::All).start();
    let view = watch.view();
    let registrar = client.registrar().start();
    let reading = tokio::spawn(async move {
        for port in 1..=20 {
            assert_eq!(next(&mut watch, up).await, port);
            assert!(ports(&view).contains(&port), "Q2: {port} was told before it was shown");
        }
    });
    let mut handles = Vec::new();
    for port in 1..=20 {
        handles.push(register(&registrar, port).await);
    }
    within(reading).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_view_outlives_its_watch_and_the_node_and_tells_its_age() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let _one = register(&registrar, 1).await;
    let view = client.watch(Selector::All).start().view();
    assert_eq!(view.age(), None);
    assert!(!view.is_loaded());
    within(view.loaded()).await.unwrap();
    let _two = register(&registrar, 2).await;
    eventually(async || ports(&view) == [1, 2]).await;
    node.stop();
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(ports(&view), [1, 2]);
    let age = view.age().unwrap();
    assert!(age >= Duration::from_secs(20), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn w3_a_silent_node_is_left_and_found_again() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = client.watch(Selector::All).start();
    within(watch.view().loaded()).await.unwrap();
    node.pause();
    let why = next(&mut watch, disconnected).await;
    assert!(!why.is_empty());
    node.resume();
    next(&mut watch, |event| matches!(event, WatchEvent::Connected { .. }).then_some(())).await;
    let registrar = client.registrar().start();
    let _one = register(&registrar, 1).await;
    assert_eq!(next(&mut watch, up).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_kept_alive_by_bookmarks() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = client.watch(Selector::All).start();
    let view = watch.view();
    within(view.loaded()).await.unwrap();
    next(&mut watch, |event| matches!(event, WatchEvent::Change(Change::Loaded { .. })).then_some(())).await;
    let more = tokio::time::timeout(Duration::from_secs(600), watch.next()).await;
    assert!(more.is_err(), "ten minutes of nothing: {more:?}");
    assert!(view.age().unwrap() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn w4_watches_share_a_stream_that_ends_with_the_last() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let (one, two) = (client.watch(Selector::All).start(), client.watch(Selector::parse("a").unwrap()).start());
    within(one.view().loaded()).await.unwrap();
    within(two.view().loaded()).await.unwrap();
    assert_eq!(client.status().await.unwrap().watch_streams, 1);
    drop(one);
    eventually(async || client.status().await.unwrap().watches == 1).await;
    let view = two.view();
    drop(two);
    assert_eq!(client.status().await.unwrap().watch_streams, 1, "a view keeps its watch");
    drop(view);
    eventually(async || client.status().await.unwrap().watch_streams == 0).await;
    let again = client.watch(Selector::All).start();
    within(again.view().loaded()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_started_before_the_node_loads_when_it_comes() {
    let node = FakeNode::in_memory();
    node.stop();
    let client = client(&node);
    let watch = client.watch(Selector::All).start();
    let view = watch.view();
    assert!(tokio::time::timeout(Duration::from_secs(60), view.loaded()).await.is_err());
    node.resume();
    within(view.loaded()).await.unwrap();
}
