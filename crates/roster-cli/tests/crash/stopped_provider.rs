//! A registered process that hangs: it keeps its connection, and answers nothing.

use std::time::{Duration, Instant};

use roster_client::{Change, CheckOutcome, Liveness, ServiceName, SessionId, SuspectReason};
use rustix::process::Signal;

use crate::ledger::Ledger;
use crate::node::{self, Node, Provider};

/// A registered process, seen by a watcher.
async fn provider(node: &Node) -> (Provider, Ledger, SessionId) {
    let mut ledger = Ledger::open(&node::client(node.listen)).await;
    let url = node.url();
    let arguments = ["register", "orders", "--address", "10.0.0.7:8080", "--grace", "30s", "--server", &url];
    let provider = Provider::start(node::roster().args(arguments));
    ledger.until("it is up", |change| matches!(change, Change::Up(_))).await;
    let session = ledger.view.current().all().next().unwrap().session;
    (provider, ledger, session)
}

fn suspect(change: &Change, expected: SuspectReason) -> bool {
    matches!(change, Change::Suspect(instance) if instance.liveness == Liveness::Suspect(expected))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_process_is_suspect_when_it_answers_no_ping_and_up_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["sessions.ping-interval=500ms", "sessions.ping-timeout=500ms"]);
    let (provider, mut ledger, _) = provider(&node).await;
    let stopped = Instant::now();
    provider.signal(Signal::STOP);
    ledger.until("it is suspect", |change| suspect(change, SuspectReason::PingTimeout)).await;
    let after = stopped.elapsed();
    assert!(after < Duration::from_secs(4), "{after:?} for an interval and a timeout of 500 ms each");
    provider.signal(Signal::CONT);
    let up = |change: &Change| matches!(change, Change::Up(_));
    let ups = ledger.changes().iter().filter(|change| up(change)).count();
    crate::until("it is up again", || async { ledger.changes().iter().filter(|change| up(change)).count() > ups })
        .await;
    println!("a hung process is suspect after {after:?} with a ping interval and a timeout of 500 ms each");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_checks_a_hung_process_knows_sooner() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["sessions.ping-interval=1min", "sessions.ping-timeout=1min", "sessions.check-timeout=300ms"];
    let node = Node::start(folder.path(), &settings);
    let (provider, mut ledger, session) = provider(&node).await;
    let service = ServiceName::parse("orders").unwrap();
    assert_eq!(node.client.check(&service, session).await.unwrap(), CheckOutcome::Alive);
    provider.signal(Signal::STOP);
    // A session is probed once a second at most, and what it answered before still stands within it.
    crate::until("the check finds it", || async {
        node.client.check(&service, session).await.unwrap() == CheckOutcome::Suspect
    })
    .await;
    ledger.until("it is suspect", |change| suspect(change, SuspectReason::CheckFailed)).await;
}
