//! Singletons and versions change hands over real sockets: notices, timers, tokens.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::notice::Notice;
use roster_proto::v1::offline::Reason;
use roster_proto::v1::result::Outcome;
use roster_proto::v1::session_response::Response;
use support::{Session, Watch, member, singleton, start};
use tempfile::tempdir;

fn waiting(port: u32, handover_ms: u32) -> v1::Register {
    v1::Register { registration: Some(singleton("leader", port)), handover_ms, cutover: None }
}

async fn notice(session: &mut Session) -> (u64, Notice) {
    match session.next().await {
        Some(Response::Notice(notice)) => (notice.instance_id, notice.notice.unwrap()),
        other => panic!("{other:?} is no notice"),
    }
}

fn active(outcome: Outcome) -> v1::Active {
    match outcome {
        Outcome::Active(active) => active,
        other => panic!("{other:?} is not active"),
    }
}

fn pending(outcome: Outcome) -> v1::Pending {
    match outcome {
        Outcome::Pending(pending) => pending,
        other => panic!("{other:?} is not pending"),
    }
}

#[tokio::test]
async fn a_holder_that_leaves_in_time_promotes_the_newcomer() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "leader").await;
    let (mut holder, mut newcomer) = (Session::open(&node, 1_000).await, Session::open(&node, 1_000).await);
    let held = active(holder.register(singleton("leader", 1)).await);
    assert_eq!(held.fencing_token, held.instance_id);
    let waiting = pending(newcomer.register_with(waiting(2, 60_000)).await);
    assert_eq!(waiting.ahead, held.instance_id);
    match notice(&mut holder).await {
        (instance, Notice::Offline(offline)) => {
            assert_eq!((instance, offline.reason()), (held.instance_id, Reason::Handover));
            assert_eq!(offline.deadline_ms, 60_000);
        }
        other => panic!("{other:?}"),
    }
    holder.goodbye().await;
    match notice(&mut newcomer).await {
        (instance, Notice::Promoted(promoted)) => {
            assert_eq!(instance, waiting.instance_id);
            assert!(promoted.fencing_token > held.fencing_token);
        }
        other => panic!("{other:?}"),
    }
    let told = watch.told_until("removed Logout").await;
    assert_eq!(told, ["reset", "loaded", "up 1", "main", "up 2", "main", "removed Logout"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_deadline_promotes_the_newcomer_when_the_holder_stays_also_after_a_restart() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let (mut holder, mut newcomer) = (Session::open(&node, 60_000).await, Session::open(&node, 60_000).await);
    let held = active(holder.register(singleton("leader", 1)).await);
    pending(newcomer.register_with(waiting(2, 300)).await);
    node.shutdown().await.unwrap();

    let node = start(&directory).await;
    let mut holder = Session::resume(&node, &holder.welcome).await;
    let mut newcomer = Session::resume(&node, &newcomer.welcome).await;
    match notice(&mut newcomer).await.1 {
        Notice::Promoted(promoted) => assert!(promoted.fencing_token > held.fencing_token),
        other => panic!("{other:?}"),
    }
    match notice(&mut holder).await.1 {
        Notice::Offline(offline) => assert_eq!(offline.deadline_ms, 0),
        other => panic!("{other:?}"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_further_newcomer_takes_the_pending_place_and_the_one_before_is_told() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut holder = Session::open(&node, 1_000).await;
    let (mut second, mut third) = (Session::open(&node, 1_000).await, Session::open(&node, 1_000).await);
    active(holder.register(singleton("leader", 1)).await);
    pending(second.register_with(waiting(2, 60_000)).await);
    pending(third.register_with(waiting(3, 60_000)).await);
    match notice(&mut second).await.1 {
        Notice::Offline(offline) => assert_eq!(offline.reason(), Reason::Displaced),
        other => panic!("{other:?}"),
    }
    drop(holder);
    match notice(&mut third).await.1 {
        Notice::Promoted(_) => {}
        other => panic!("{other:?}"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_higher_version_takes_over_and_the_owners_of_the_lower_are_told() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    let (mut old, mut new) = (Session::open(&node, 1_000).await, Session::open(&node, 1_000).await);
    old.up(v1::Registration { version: 1, ..member("orders", 1) }).await;
    let after_two = v1::Cutover { policy: Some(v1::cutover::Policy::After(2)) };
    let register = |port| v1::Register {
        registration: Some(v1::Registration { version: 2, ..member("orders", port) }),
        handover_ms: 0,
        cutover: Some(after_two),
    };
    active(new.register_with(register(2)).await);
    active(new.register_with(register(3)).await);
    match notice(&mut old).await.1 {
        Notice::Offline(offline) => assert_eq!(offline.reason(), Reason::Superseded),
        other => panic!("{other:?}"),
    }
    let told = watch.told_until("removed Superseded").await;
    assert_eq!(told, ["reset", "loaded", "up 1", "main", "up 2", "up 3", "main", "removed Superseded"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_drain_that_nobody_was_there_to_hear_is_told_on_resuming() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    let id = session.up(member("orders", 1)).await;
    let welcome = session.welcome.clone();
    drop(session);
    let request = v1::DrainRequest { instance_id: id, deadline_ms: Some(0) };
    support::registry(&node).await.drain(request).await.unwrap();
    let mut session = Session::resume(&node, &welcome).await;
    match notice(&mut session).await {
        (instance, Notice::Offline(offline)) => assert_eq!((instance, offline.reason()), (id, Reason::Drained)),
        other => panic!("{other:?}"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_owner_is_answered_before_it_is_told_what_became_of_its_instance() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    let held = active(session.register(singleton("leader", 1)).await);
    let operations = vec![
        v1::Operation { request_id: 100, operation: Some(v1::operation::Operation::Register(waiting(2, 60_000))) },
        v1::Operation {
            request_id: 101,
            operation: Some(v1::operation::Operation::Deregister(v1::Deregister { instance_id: held.instance_id })),
        },
    ];
    session.send(v1::session_request::Request::Operations(v1::Operations { operations })).await;
    match session.next().await {
        Some(Response::Results(results)) => assert_eq!(results.results.len(), 2),
        other => panic!("{other:?} came before the answers"),
    }
    assert!(matches!(notice(&mut session).await.1, Notice::Offline(_)));
    assert!(matches!(notice(&mut session).await.1, Notice::Promoted(_)));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_asks_again_while_it_waits_does_not_wait_longer() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let (mut holder, mut newcomer) = (Session::open(&node, 60_000).await, Session::open(&node, 60_000).await);
    active(holder.register(singleton("leader", 1)).await);
    pending(newcomer.register_with(waiting(2, 400)).await);
    let asked = tokio::time::Instant::now();
    // Each answer takes a moment, so this asks again and again until it is promoted.
    let promoted = async {
        while let Outcome::Pending(_) = newcomer.register_with(waiting(2, 400)).await {
            assert!(asked.elapsed() < std::time::Duration::from_secs(5), "it still waits");
        }
    };
    support::soon("the promotion", promoted).await;
    node.shutdown().await.unwrap();
}
