//! A log that was not written to its end, and one that was altered.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use roster_client::Selector;

use crate::node::{self, Node};
use crate::wire::{self, Session};

/// The log of a node that was killed right after it acknowledged instances at these ports, in this order.
async fn killed_after(data_dir: &Path, ports: std::ops::RangeInclusive<u32>) {
    let mut node = Node::start(data_dir, &[]);
    let mut session = Session::open(node.listen, 60_000).await;
    for port in ports {
        session.up(wire::member("orders", port)).await;
    }
    node.kill();
}

/// The segment that was written last, without the room behind its last batch.
fn segment(data_dir: &Path) -> PathBuf {
    let paths = fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|extension| extension == "segment"));
    let segment = segments.max().expect("the log has a segment");
    let mut bytes = fs::read(&segment).unwrap();
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1);
    fs::write(&segment, bytes).unwrap();
    segment
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_reported_and_what_stands_before_it_is_there() {
    for torn in [1, 3, 11] {
        let folder = tempfile::tempdir().unwrap();
        killed_after(folder.path(), 1..=10).await;
        let segment = segment(folder.path());
        let file = OpenOptions::new().write(true).open(&segment).unwrap();
        file.set_len(file.metadata().unwrap().len() - torn).unwrap();

        let node = Node::start(folder.path(), &[]);
        let notes = node.status().await.log.unwrap().recovery_notes;
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert!(notes.iter().any(|note| note.contains(name)), "the status tells of {name}: {notes:?}");
        let mut ports: Vec<u16> =
            node.client.list(&Selector::All).await.unwrap().iter().map(|i| i.registration.address.port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, (1..=9).collect::<Vec<_>>(), "all but the torn one");
        // And the node takes changes.
        Session::open(node.listen, 0).await.up(wire::member("orders", 10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_middle_stops_the_start_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    killed_after(folder.path(), 1..=10).await;
    let segment = segment(folder.path());
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&segment, &bytes).unwrap();

    let mut serve = node::roster();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let output = serve.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(segment.to_str().unwrap()), "it names the file: {said}");
    let offset = said.split_whitespace().find_map(|word| word.trim_matches(|c: char| !c.is_numeric()).parse().ok());
    let offset: usize = offset.unwrap_or_else(|| panic!("it names the offset: {said}"));
    assert!(offset <= middle, "offset {offset} is where the damaged frame begins, before {middle}: {said}");
    assert!(said.contains("roster log repair"), "it says what to do: {said}");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "nothing was changed");
}
