//! The logs of a node, copied over the wire while it serves.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use std::path::Path;
use std::sync::Arc;

use roster_core::{Position, Timestamp};
use roster_proto::v1;
use roster_proto::v1::admin_client::AdminClient;
use roster_proto::v1::backup_client::BackupClient;
use roster_proto::v1::follow_response::Piece as WirePiece;
use roster_server::Node;
use roster_store::{Directories, Directory, FileSet, Piece, RealDisk, Replica, restore};
use support::{Session, channel, member, registry, settings, soon, start};
use tempfile::TempDir;
use tonic::Streaming;

fn request(log: &str, replica: &mut Replica<Directory>) -> v1::FollowRequest {
    let held = replica.held().unwrap().into_iter().map(|held| v1::HeldFile {
        name: held.name,
        bytes: held.bytes,
        tail_crc32c: held.tail_crc,
    });
    v1::FollowRequest { log: log.into(), held: held.collect() }
}

async fn follow(node: &Node, replica: &mut Replica<Directory>) -> Streaming<v1::FollowResponse> {
    let request = request("directory", replica);
    BackupClient::new(channel(node).await).follow(request).await.unwrap().into_inner()
}

fn decode(response: v1::FollowResponse) -> Piece {
    match response.piece.unwrap() {
        WirePiece::Files(files) => Piece::Files(FileSet {
            content: files.content,
            log: files.log_id,
            last_generation: files.last_generation,
            snapshot: Some(files.snapshot).filter(|name| !name.is_empty()),
            segments: files.segments,
            bytes: files.bytes,
        }),
        WirePiece::Chunk(chunk) => Piece::Chunk { file: chunk.file, offset: chunk.offset, bytes: chunk.bytes },
        WirePiece::CaughtUp(at) => {
            Piece::CaughtUp { position: Position::new(at.position), at: Timestamp::new(at.unix_ms) }
        }
        WirePiece::Diverged(diverged) => Piece::Diverged { file: diverged.file, why: diverged.why },
    }
}

/// Takes in what comes until the copy is at this position.
async fn copy_until(stream: &mut Streaming<v1::FollowResponse>, replica: &mut Replica<Directory>, position: u64) {
    while replica.position().get() < position {
        let response = soon("a piece", stream.message()).await.unwrap().expect("the stream goes on");
        replica.take(decode(response)).unwrap();
    }
}

async fn position(node: &Node) -> u64 {
    let mut admin = AdminClient::new(channel(node).await);
    admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().position
}

async fn rebuild(node: &Node) {
    AdminClient::new(channel(node).await).rebuild(v1::RebuildRequest {}).await.unwrap();
}

async fn instances(node: &Node) -> Vec<v1::Instance> {
    let answer = registry(node).await.list_instances(v1::ListInstancesRequest::default()).await.unwrap();
    let mut instances = answer.into_inner().instances;
    // What a restart makes of them is no part of the copy.
    instances.iter_mut().for_each(|instance| instance.liveness = 0);
    instances
}

fn replica(folder: &TempDir) -> Replica<Directory> {
    Replica::open(Arc::new(RealDisk), folder.path().join("backup")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cut_again_and_again_restores_to_the_same_directory() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder).await;
    let mut session = Session::open(&node, 60_000).await;
    for round in 0..12_u32 {
        let mut replica = replica(&folder);
        let mut stream = follow(&node, &mut replica).await;
        for port in 1..=20 {
            session.up(member("orders", round * 20 + port)).await;
        }
        if round % 4 == 1 {
            rebuild(&node).await;
        }
        // Some messages, and then the connection and the copier are gone.
        for _ in 0..round {
            let piece = decode(soon("a piece", stream.message()).await.unwrap().unwrap());
            let is_last = matches!(piece, Piece::CaughtUp { .. });
            replica.take(piece).unwrap();
            if is_last {
                break;
            }
        }
    }
    let mut replica = replica(&folder);
    let mut stream = follow(&node, &mut replica).await;
    let reached = position(&node).await;
    copy_until(&mut stream, &mut replica, reached).await;
    let source = instances(&node).await;
    assert_eq!(source.len(), 240);
    drop((stream, replica));
    node.shutdown().await.unwrap();

    let restored = folder.path().join("restored");
    restore::<Directory>(&RealDisk, &folder.path().join("backup"), &Directories::new(restored.clone(), None)).unwrap();
    let node = Node::start(roster_server::Settings { data_dir: restored, ..settings(&folder) }).await.unwrap();
    assert_eq!(instances(&node).await, source, "the restored node answers the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_is_what_the_node_has_on_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder).await;
    let mut session = Session::open(&node, 60_000).await;
    let mut replica = replica(&folder);
    let mut stream = follow(&node, &mut replica).await;
    for port in 1..=50 {
        session.up(member("orders", port)).await;
    }
    rebuild(&node).await;
    session.up(member("orders", 51)).await;
    copy_until(&mut stream, &mut replica, position(&node).await).await;
    let mut compared = 0;
    for entry in std::fs::read_dir(folder.path().join("backup")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "segment" || kind == "snapshot") {
            let original = folder.path().join("data").join(path.file_name().unwrap());
            let mut original = std::fs::read(original).unwrap();
            // The room behind the last batch is not copied.
            original.truncate(original.iter().rposition(|&byte| byte != 0).unwrap() + 1);
            assert_eq!(std::fs::read(&path).unwrap(), original, "F69: {}", path.display());
            compared += 1;
        }
    }
    assert_eq!(compared, 2, "a snapshot and a segment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_read_delays_nobody_and_holds_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder);
    settings.log.history = roster_server::Span(std::time::Duration::ZERO);
    let node = Node::start(settings).await.unwrap();
    let mut session = Session::open(&node, 60_000).await;
    // More than what the windows of a connection take.
    let filler = v1::Registration {
        metadata: vec![v1::MetadataEntry { key: "filler".into(), value: "x".repeat(4 * 1024) }],
        ..member("orders", 1)
    };
    for port in 1..=1000 {
        session.up(v1::Registration { port, ..filler.clone() }).await;
    }
    let mut replica = replica(&folder);
    let mut stuck = follow(&node, &mut replica).await;
    let first = soon("the files", stuck.message()).await.unwrap().unwrap();
    let Some(WirePiece::Files(files)) = first.piece else { panic!("{first:?} is no list of files") };
    rebuild(&node).await;
    session.up(member("orders", 1001)).await;
    assert!(!Path::new(&folder.path().join("data").join(&files.segments[0])).exists(), "Y2: it was removed");
    // When it reads on, it is told of the new files. The rebuild begun is a set of its own: one segment more.
    loop {
        let response = soon("the new files", stuck.message()).await.unwrap().unwrap();
        match decode(response) {
            Piece::Files(set) if set.snapshot.is_some() => break,
            Piece::Files(set) => assert_eq!(set.segments.len(), 2, "{set:?}"),
            Piece::Chunk { .. } => {}
            other => panic!("{other:?} before the new files"),
        }
    }
    soon("the end of the node", node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn an_unknown_log_is_refused_and_the_known_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder).await;
    let request = request("nothing", &mut replica(&folder));
    let refused = BackupClient::new(channel(&node).await).follow(request).await.unwrap_err();
    assert!(refused.message().contains("it has directory"), "{refused:?}");
}

#[tokio::test]
async fn a_node_that_keeps_nothing_refuses_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let settings = roster_server::Settings { durability: roster_server::Durability::None, ..settings(&folder) };
    let node = Node::start(settings).await.unwrap();
    let request = request("directory", &mut replica(&folder));
    let refused = BackupClient::new(channel(&node).await).follow(request).await.unwrap_err();
    assert!(refused.message().contains("no files to copy"), "{refused:?}");
}

#[tokio::test]
async fn there_is_a_limit_to_backups_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder).await;
    let mut replica = replica(&folder);
    let mut streams = Vec::new();
    let refused = loop {
        let mut client = BackupClient::new(channel(&node).await);
        match client.follow(request("directory", &mut replica)).await {
            Ok(stream) => streams.push(stream),
            Err(refused) => break refused,
        }
    };
    assert_eq!(streams.len(), 16);
    assert!(refused.message().contains("backup streams"), "{refused:?}");
}
