//! How often the disk is asked to be sure, when thousands register at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::node::{self, Node};
use crate::soon;
use crate::wire::{self, Session};

const CONNECTIONS: u32 = 100;
const REGISTRATIONS_EACH: u32 = 100;
const REGISTRATIONS: u64 = 10_000;
const SYNCS_MAX: u64 = 1_000;

/// 10,000 registrations, each in a message of its own, all under way at once.
async fn register_all(node: &Node) {
    let mut sessions = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut session = Session::open(node.listen, 3_000).await;
        sessions.spawn(async move {
            for number in 0..REGISTRATIONS_EACH {
                let port = 1 + connection * REGISTRATIONS_EACH + number;
                session.ask(vec![wire::register(number.into(), wire::member("orders", port))]).await;
            }
            let mut acknowledged = 0;
            while acknowledged < REGISTRATIONS_EACH as usize {
                let results = soon("results", session.results()).await.expect("the session stands");
                for result in &results {
                    let outcome = result.outcome.as_ref().unwrap();
                    assert!(matches!(outcome, roster_proto::v1::result::Outcome::Active(_)), "{outcome:?}");
                }
                acknowledged += results.len();
            }
            session
        });
    }
    let sessions = sessions.join_all().await;
    assert_eq!(sessions.len(), CONNECTIONS as usize);
    assert_eq!(node.status().await.instances, REGISTRATIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_registrations_share_their_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let before = node.status().await.log.unwrap().syncs;
    register_all(&node).await;
    let log = node.status().await.log.unwrap();
    let syncs = log.syncs - before;
    assert!(syncs < SYNCS_MAX, "{syncs} syncs");
    println!("{REGISTRATIONS} concurrent registrations: {syncs} syncs by the node's count, the sessions' included");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_counts_as_few_syncs_as_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let counts = folder.path().join("counts");
    if !may_trace(&counts) {
        println!("passed over: strace is not there, or may not trace");
        return;
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-e", "trace=fdatasync", "-o"]).arg(&counts).arg(node::program());
    let listen = ([127, 0, 0, 1], node::free_port()).into();
    let node = Node::start_by(strace, listen, &folder.path().join("data"), &[]);
    register_all(&node).await;
    let status = node.status().await;
    // strace writes when what it traces has ended; it must not be killed itself.
    node::signal_process(status.process_id.try_into().unwrap(), Signal::KILL);
    crate::until("the counts of strace", || async { fdatasyncs(&counts).is_some() }).await;
    let syncs = fdatasyncs(&counts).unwrap();
    assert!(syncs < SYNCS_MAX, "{syncs} calls of fdatasync");
    assert!(syncs >= status.log.unwrap().syncs, "the kernel has seen every sync that the node counts");
    println!("{REGISTRATIONS} concurrent registrations: {syncs} calls of fdatasync by strace");
}

fn may_trace(counts: &PathBuf) -> bool {
    let trial = Command::new("strace").args(["-f", "-c", "-o"]).arg(counts).arg("true").output();
    let _ = std::fs::remove_file(counts);
    trial.is_ok_and(|trial| trial.status.success())
}

/// The column `calls` of the line about it.
fn fdatasyncs(counts: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(counts).ok()?;
    let line = text.lines().find(|line| line.ends_with("fdatasync"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
