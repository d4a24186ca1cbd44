//! A follower against a node in memory: the main moves, and calls follow it.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{
    Announcement, CallError, Client, ConnectError, Follower, Handle, Instance, Kind, NoneUsable, State, connect_fn,
};

/// Of the stopped clock: it costs nothing, and nothing that goes well takes that long.
const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn eventually(mut happened: impl FnMut() -> bool) {
    within(async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().build().unwrap()
}

fn leader(port: u16) -> Announcement {
    Announcement::new("leader", "10.0.0.7", port).unwrap().kind(Kind::Singleton).handover(Duration::from_secs(5))
}

/// Ports where nobody connects.
type Deaf = Arc<Mutex<BTreeSet<u16>>>;

/// A follower whose clients are the ports that they lead to.
fn follow(client: &Client, deaf: &Deaf) -> Follower<impl roster_client::Connect<Client = u16> + use<>> {
    let deaf = deaf.clone();
    let connector = connect_fn(move |instance: Instance| {
        let port = instance.registration.address.port();
        let refuses = deaf.lock().unwrap().contains(&port);
        async move { if refuses { Err(ConnectError::from("connection refused")) } else { Ok(port) } }
    });
    client.follower("leader", connector).unwrap().patience(Duration::from_secs(2)).build()
}

async fn active(handle: &mut Handle) {
    within(async { while !matches!(handle.changed().await, State::Active { .. }) {} }).await;
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_main_and_say_why_there_is_none() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let follower = follow(&client, &Deaf::default());
    let none = within(follower.get()).await.unwrap_err();
    assert_eq!(none.to_string(), "no instance of leader is registered");
    let waiting = tokio::spawn({
        let follower = follower.clone();
        async move { follower.get().await.map(|picked| *picked) }
    });
    let registrar = client.registrar().start();
    let _handle = registrar.register(leader(1));
    assert_eq!(within(waiting).await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_moves_the_calls_and_the_token_grows() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let mut holder = registrar.register(leader(1));
    within(holder.settled()).await;
    let follower = follow(&client, &Deaf::default());
    let mut token = within(follower.get()).await.unwrap().instance().token.unwrap();
    for port in 2..=10 {
        let mut next = registrar.register(leader(port));
        within(holder.offline()).await.unwrap();
        assert_eq!(*within(follower.get()).await.unwrap(), port - 1, "the holder serves until it has left");
        let under_way = within(follower.get()).await.unwrap();
        within(holder.leave()).await.unwrap();
        active(&mut next).await;
        eventually(|| follower.main().is_some_and(|main| main.registration.address.port() == port)).await;
        let picked = within(follower.get()).await.unwrap();
        assert_eq!((*picked, *under_way), (port, port - 1), "a call under way ends where it began");
        assert!(picked.instance().token.unwrap() > token);
        token = picked.instance().token.unwrap();
        assert_eq!(follower.token(), Some(token));
        holder = next;
    }
}

#[tokio::test(start_paused = true)]
async fn the_former_main_is_called_until_the_new_one_is_connected() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let main = |port| Announcement::new("leader", "10.0.0.7", port).unwrap().kind(Kind::Main);
    let one = registrar.register(main(1));
    within(one.settled()).await;
    let deaf = Deaf::default();
    let follower = follow(&client, &deaf);
    assert_eq!(*within(follower.get()).await.unwrap(), 1);
    deaf.lock().unwrap().insert(2);
    let _two = registrar.register(main(2));
    eventually(|| follower.main().is_some_and(|main| main.registration.address.port() == 2)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(*follower.get().await.unwrap(), 1);
    deaf.lock().unwrap().clear();
    let mut changes = follower.changes();
    within(async {
        while *follower.get().await.unwrap() != 2 {
            assert!(changes.changed().await);
        }
    })
    .await;
    // The former one goes, the new one cannot be reached any more: nobody is left.
    one.deregister().await.unwrap();
    let picked = follower.get().await.unwrap();
    deaf.lock().unwrap().insert(2);
    follower.report_broken(&picked, "it went silent");
    let NoneUsable::Unusable { members, .. } = follower.get().await.unwrap_err() else { panic!("other") };
    assert_eq!(members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeatable_call_is_made_once_more_when_the_main_has_moved_and_only_then() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let holder = Mutex::new(Some(registrar.register(leader(1))));
    let follower = follow(&client, &Deaf::default());
    let calls = Mutex::new(Vec::new());

    let failed = follower.call_repeatable(|picked| {
        calls.lock().unwrap().push(*picked);
        async { Err::<(), _>("no such job") }
    });
    assert!(matches!(within(failed).await, Err(CallError::Failed("no such job"))));
    assert_eq!(*calls.lock().unwrap(), [1], "the main has not moved");

    let moved = follower.call_repeatable(|picked| {
        calls.lock().unwrap().push(*picked);
        let holder = holder.lock().unwrap().take();
        let (registrar, follower) = (&registrar, &follower);
        async move {
            let Some(holder) = holder else { return Ok(*picked) };
            let next = registrar.register(leader(2));
            within(next.settled()).await;
            within(holder.deregister()).await.unwrap();
            eventually(|| follower.main().is_none_or(|main| main.registration.address.port() == 2)).await;
            std::mem::forget(next);
            Err("connection reset")
        }
    });
    assert_eq!(within(moved).await.unwrap(), 2);
    assert_eq!(*calls.lock().unwrap(), [1, 1, 2]);
}
