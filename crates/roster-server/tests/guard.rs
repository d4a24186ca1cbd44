//! The mass-loss guard over real sockets: held, released, and ended by itself.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::admin_client::AdminClient;
use roster_server::Node;
use support::{PATIENCE, Session, Watch, channel, member, soon, start};
use tempfile::tempdir;
use tonic::transport::Channel;

const GRACE_MS: u32 = 100;

async fn held(admin: &mut AdminClient<Channel>) -> (u64, u64, String) {
    let status = admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    (status.guarded_sessions, status.guarded_instances, status.guard)
}

async fn until_held(admin: &mut AdminClient<Channel>, sessions: u64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while held(admin).await.0 != sessions {
        assert!(tokio::time::Instant::now() < deadline, "{:?} are held, not {sessions}", held(admin).await);
        tokio::task::yield_now().await;
    }
}

/// Ten sessions with an instance each, of which six break off.
async fn six_of_ten_break_off(node: &Node) -> (Vec<Session>, Vec<v1::Welcome>) {
    let mut sessions = Vec::new();
    for port in 1..=10 {
        let mut session = Session::open(node, GRACE_MS).await;
        session.up(member("orders", port)).await;
        sessions.push(session);
    }
    let gone = sessions.drain(..6).map(|session| session.welcome.clone()).collect();
    (sessions, gone)
}

#[tokio::test]
async fn six_of_ten_that_break_off_at_once_stay_suspect_until_an_operator_lets_them_go() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut admin = AdminClient::new(channel(&node).await);
    let (_rest, _gone) = six_of_ten_break_off(&node).await;
    until_held(&mut admin, 6).await;
    let (_, instances, why) = held(&mut admin).await;
    assert_eq!(instances, 6, "G1");
    assert!(why.contains("6 of 10"), "{why}");
    let mut watch = Watch::on(&node, "orders").await;
    let told = watch.told().await;
    assert_eq!(told.iter().filter(|word| word.ends_with("suspect")).count(), 6, "G1: {told:?}");

    let released = admin.release_guard(v1::ReleaseGuardRequest {}).await.unwrap().into_inner();
    assert_eq!((released.sessions, released.instances), (6, 6));
    let removed = async {
        let mut removed = 0;
        while removed < 6 {
            removed += watch.told().await.iter().filter(|word| *word == "removed LostContact").count();
        }
    };
    soon("the removals", removed).await;
    assert_eq!(held(&mut admin).await, (0, 0, String::new()));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_guard_ends_by_itself_when_they_return() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut admin = AdminClient::new(channel(&node).await);
    let (_rest, gone) = six_of_ten_break_off(&node).await;
    until_held(&mut admin, 6).await;
    let mut back = Vec::new();
    for welcome in &gone {
        back.push(Session::resume(&node, welcome).await);
    }
    assert_eq!(held(&mut admin).await, (0, 0, String::new()));
    let mut watch = Watch::on(&node, "orders").await;
    assert!(watch.told().await.iter().all(|word| !word.ends_with("suspect")));
    node.shutdown().await.unwrap();
}
