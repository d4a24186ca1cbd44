//! What a node takes that nobody uses.

use std::fs;

use crate::node::Node;
use crate::soon;

/// How many kilobytes of anonymous memory lie in huge pages; nothing where the kernel does not say.
fn huge_kilobytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_lies_in_no_huge_pages() {
    let enabled = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if enabled.contains("[always]") {
        eprintln!("passed over: this kernel gives huge pages that nobody asked for, before a node can refuse them");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    soon("the status", node.status()).await;
    let Some(huge) = huge_kilobytes(node.pid()) else {
        eprintln!("passed over: /proc does not say how much lies in huge pages");
        return;
    };
    assert_eq!(huge, 0, "{huge} kB in huge pages");
}
