//! The benchmarks, small: they measure what they say, and leave nothing behind.

use serde_json::Value;

use crate::node::{self, Node};

fn bench(arguments: &[&str]) -> Value {
    let output = node::roster().arg("bench").args(arguments).args(["--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_registration_is_timed() {
    let measured = bench(&["register", "--instances", "500", "--services", "10", "--connections", "4"]);
    assert_eq!(measured["latencies"][0]["count"], 500, "{measured}");
    assert_eq!(measured["figures"]["commands"], 500, "{measured}");
    assert!(measured["figures"]["node_cpu_us_per_registration"].is_number(), "{measured}");
}

#[test]
fn every_delivery_is_timed() {
    let measured = bench(&["fanout", "--watchers", "30", "--connections", "4", "--changes", "10", "--rate", "50"]);
    assert_eq!(measured["latencies"][0]["count"], 300, "{measured}");
}

#[test]
fn every_crash_is_timed_and_its_removal_waits_for_the_grace() {
    let measured = bench(&["crash", "--trials", "2", "--grace", "200ms"]);
    let [suspect, removed, _] = measured["latencies"].as_array().unwrap().as_slice() else { panic!("{measured}") };
    assert_eq!((&suspect["count"], &removed["count"]), (&2.into(), &2.into()), "{measured}");
    // Both ends of it are seen over a network, so that it may look a little shorter than it is.
    assert!(removed["p50_us"].as_u64().unwrap() > 190_000, "{measured}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_measured_has_nothing_left() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    bench(&["register", "--instances", "200", "--connections", "4", "--server", &node.url()]);
    let status = node.status().await;
    assert_eq!((status.instances, status.sessions), (0, 0));
}
