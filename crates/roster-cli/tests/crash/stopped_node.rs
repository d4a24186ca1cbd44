//! A node that stands still for a while: SIGSTOP and SIGCONT.

use std::time::Duration;

use roster_client::{Announcement, Liveness, State};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::node::{self, Node};
use crate::wire::{self, Session};
use crate::{scale, soon};

const SESSIONS: u32 = 20;
const SHORT: [&str; 2] = ["sessions.ping-interval=500ms", "sessions.ping-timeout=500ms"];
/// Shorter than any stop here.
const GRACE_MILLIS: u32 = 500;
/// After it goes on, everything that could go wrong would within this.
const AFTERMATH: Duration = Duration::from_secs(4);

/// Stops the node for as long as the environment says.
async fn stand_still(node: &Node) -> u64 {
    let seconds = scale("ROSTER_TEST_STOP_SECONDS", 3);
    node.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    node.signal(Signal::CONT);
    seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &SHORT);
    let mut sessions = JoinSet::new();
    for number in 0..SESSIONS {
        let mut session = Session::open(node.listen, GRACE_MILLIS).await;
        session.up(wire::member("orders", 1 + number)).await;
        // Answers pings until the stream ends, which it must not.
        sessions.spawn(async move { while session.results().await.is_some() {} });
    }
    let ledger = Ledger::open(&node::client(node.listen)).await;
    let seconds = stand_still(&node).await;
    // Nothing may happen, and nobody tells when it has not.
    tokio::time::sleep(AFTERMATH).await;
    assert!(ledger.losses().is_empty(), "{:#?}", ledger.losses());
    assert!(sessions.try_join_next().is_none(), "a stream has ended");
    let listed = node.client.list(&roster_client::Selector::All).await.unwrap();
    assert_eq!(listed.len(), SESSIONS as usize);
    assert!(listed.iter().all(|instance| instance.liveness == Liveness::Up));
    println!("stopped for {seconds} s: {SESSIONS} sessions with a grace of {GRACE_MILLIS} ms, no event at the watcher");
}

#[tokio::test(flavor = "multi_thread")]
async fn registrars_that_gave_the_node_up_meanwhile_are_not_blamed_either() {
    let folder = tempfile::tempdir().unwrap();
    // So short that a registrar waits in vain and tries again while the node stands still.
    let node = Node::start(folder.path(), &SHORT);
    let client = node::client(node.listen);
    let ledger = Ledger::open(&client).await;
    let registrars: Vec<_> = (0..SESSIONS)
        .map(|_| node::client(node.listen).registrar().grace(Duration::from_millis(GRACE_MILLIS.into())).start())
        .collect();
    let mut handles = Vec::new();
    for (port, registrar) in (1..).zip(&registrars) {
        let handle = registrar.register(Announcement::new("orders", "10.0.0.1", port).unwrap());
        assert!(matches!(soon("an acknowledgement", handle.settled()).await, State::Active { .. }));
        handles.push(handle);
    }
    let seconds = stand_still(&node).await;
    tokio::time::sleep(AFTERMATH).await;
    crate::until("every instance is up", || async {
        let view = ledger.view.current();
        view.all().filter(|instance| instance.liveness == Liveness::Up).count() == SESSIONS as usize
    })
    .await;
    assert!(ledger.losses().is_empty(), "{:#?}", ledger.losses());
    println!("stopped for {seconds} s: {SESSIONS} registrars, which tried again meanwhile, no event at the watcher");
}
