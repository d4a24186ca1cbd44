//! A node that is copied under load, with the copier and the node killed on the way.

use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use roster_client::{Registration, Selector};
use roster_proto::v1;
use roster_proto::v1::backup_client::BackupClient;
use tonic::transport::Endpoint;

use crate::node::{self, Node, free_port, roster};
use crate::wire::{self, Session};
use crate::{scale, soon, until};

struct Copier(Child);

impl Copier {
    fn start(node: &Node, to: &Path) -> Self {
        let mut command = roster();
        command.args(["backup", "--from", &node.url(), "--to"]).arg(to);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn backup_once(node: &Node, to: &Path) -> Output {
    roster().args(["backup", "--once", "--output", "json", "--from", &node.url(), "--to"]).arg(to).output().unwrap()
}

fn restore(from: &Path, to: &Path) -> Output {
    roster().args(["restore", "--from"]).arg(from).arg("--to").arg(to).output().unwrap()
}

fn verify(dir: &Path) -> Output {
    roster().args(["log", "verify", "--data-dir"]).arg(dir).output().unwrap()
}

fn assert_code(output: &Output, code: i32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stdout));
}

/// Every instance with its id and all its facts.
async fn instances(node: &Node) -> Vec<(u64, Registration)> {
    let mut all: Vec<_> = node
        .client
        .list(&Selector::All)
        .await
        .unwrap()
        .iter()
        .map(|instance| (instance.id.get(), Registration::clone(&instance.registration)))
        .collect();
    all.sort_by_key(|(id, _)| *id);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_killed_again_and_again_under_load_restores_to_what_the_node_had() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    // A short log, so that it is rebuilt on the way.
    let settings = ["log.rebuild-min=8 KiB", "log.segment-max=4 KiB", "log.history=0s"];
    let mut node = Node::start(&data, &settings);
    let mut session = Session::open(node.listen, 60_000).await;
    let (mut port, mut restores) = (0, 0);
    for round in 0..scale("ROSTER_TEST_BACKUP_KILLS", 8) {
        let mut copier = Copier::start(&node, &backup);
        for _ in 0..40 {
            port += 1;
            session.up(wire::member("orders", port)).await;
        }
        if round == 4 {
            let listen = node.listen;
            node.kill();
            node = Node::start_at(listen, &data, &settings);
            session = Session::open(node.listen, 60_000).await;
        }
        // Killed wherever it is at some moment, another one in each round.
        tokio::time::sleep(Duration::from_millis(round * 13 % 60)).await;
        copier.kill();
        // Whatever is there of both logs can be restored.
        if backup.join("MANIFEST").exists() && backup.join("queues/MANIFEST").exists() {
            let restored = folder.path().join(format!("restored-{round}"));
            assert_code(&restore(&backup, &restored), 0);
            assert_code(&verify(&restored), 0);
            restores += 1;
        }
    }
    assert!(restores > 0, "no round came as far as a first copy");
    let before = instances(&node).await;
    assert!(before.len() >= 40);
    assert_code(&backup_once(&node, &backup), 0);
    drop(session);
    node.kill();

    let restored = folder.path().join("restored");
    assert_code(&restore(&backup, &restored), 0);
    let node = Node::start(&restored, &settings);
    assert_eq!(instances(&node).await, before, "the restored node answers the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_outlives_its_node_and_goes_on_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let mut node = Node::start(&data, &[]);
    let _copier = Copier::start(&node, &backup);
    // Of both logs: one that never had contact takes a node that is gone for a wrong address.
    let manifests = [backup.join("MANIFEST"), backup.join("queues/MANIFEST")];
    until("the copy", async || manifests.iter().all(|manifest| manifest.exists())).await;
    node.kill();
    let node = Node::start_at(node.listen, &data, &[]);
    Session::open(node.listen, 60_000).await.up(wire::member("orders", 1)).await;
    // F69: what is copied is what the node has on its disk, without the room behind it.
    let name = "g0000000000-p00000000000000000001.segment";
    until("all of the segment", async || {
        let mut original = std::fs::read(data.join(name)).unwrap();
        original.truncate(original.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        std::fs::read(backup.join(name)).ok() == Some(original)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_or_restored_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    assert_code(&restore(&backup, &folder.path().join("restored")), 3);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let unreachable = roster().args(["backup", "--from", &nowhere, "--to"]).arg(&backup).output().unwrap();
    assert_code(&unreachable, 5);

    let node = Node::start(&data, &[]);
    assert_code(&backup_once(&node, &backup), 0);
    assert_code(&backup_once(&node, &data), 1);
    assert_code(&restore(&backup, &data), 1);

    // Another node is another log.
    let other = Node::start(&folder.path().join("other"), &[]);
    let refused = backup_once(&other, &backup);
    assert_code(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("choose another directory"), "{refused:?}");

    let segment = backup.join("g0000000000-p00000000000000000001.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let restored = folder.path().join("restored");
    assert_code(&restore(&backup, &restored), 6);
    let mut serve = node::roster();
    let served = serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&restored).output().unwrap();
    assert_code(&served, 6);
}

/// What a copier that does not read may cost.
const COST_MAX: u64 = 24 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Copying {
    Nobody,
    AStuckOne,
}

/// How much a node grows while its log grows by far more than that.
async fn growth(copying: Copying) -> u64 {
    const BATCH: u64 = 100;
    let batches = scale("ROSTER_TEST_BACKUP_BATCHES", 200);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["log.rebuild-min=1 GiB"]);
    let mut session = Session::open(node.listen, 3_000).await;
    // The same instances again and again, so that the directory does not grow.
    let filler = "x".repeat(4096);
    let change = |number: u64| {
        let metadata = vec![v1::MetadataEntry { key: "filler".into(), value: filler.clone() }];
        let port = u32::try_from(1 + number % BATCH).unwrap();
        let weight = Some(u32::try_from(1 + number).unwrap());
        wire::register(number, v1::Registration { metadata, weight, ..wire::member("orders", port) })
    };
    let endpoint = Endpoint::from_shared(node.url()).unwrap();
    let mut client = BackupClient::new(soon("a connection", endpoint.connect()).await.unwrap());
    let mut stuck = None;
    if copying == Copying::AStuckOne {
        let request = v1::FollowRequest { log: "directory".into(), held: Vec::new() };
        let mut stream = client.follow(request).await.unwrap().into_inner();
        soon("the files", stream.message()).await.unwrap().unwrap();
        stuck = Some(stream);
    }
    let resident = node.resident_bytes();
    for batch in 0..batches {
        session.ask((batch * BATCH..(batch + 1) * BATCH).map(change).collect()).await;
        let mut answered = 0;
        while answered < BATCH {
            answered += soon("results", session.results()).await.unwrap().len() as u64;
        }
    }
    let log_bytes = node.status().await.log.unwrap().log_bytes;
    assert!(log_bytes > 3 * COST_MAX, "the log has only {log_bytes} bytes");
    drop(stuck);
    node.resident_bytes().saturating_sub(resident)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_read_does_not_make_the_node_grow() {
    let (without, with) = (growth(Copying::Nobody).await, growth(Copying::AStuckOne).await);
    let cost = with.saturating_sub(without);
    println!("a stuck backup costs {cost} bytes: the node grew by {with}, and by {without} without it");
    assert!(cost < COST_MAX, "the node grew by {with} bytes, and by {without} without a stuck backup");
}
