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
    // A node may count the opening of a session, which came just before, a moment late.
    assert!((500..=504).contains(&measured["figures"]["commands"].as_u64().unwrap()), "{measured}");
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

#[test]
fn every_read_is_timed_and_whole() {
    let measured = bench(&["get", "--requests", "400", "--services", "5", "--connections", "4", "--rate", "2000"]);
    assert_eq!(measured["latencies"][0]["count"], 400, "{measured}");
    assert_eq!(measured["figures"]["due_per_second"], 2_000, "{measured}");
}

#[test]
fn every_message_is_timed_to_its_receipt_and_to_its_consumer() {
    let measured = bench(&["queue", "--messages", "3000", "--consume", "--connections", "2", "--consumers", "3"]);
    let [published, delivered] = measured["latencies"].as_array().unwrap().as_slice() else { panic!("{measured}") };
    assert_eq!((&published["what"], &published["count"]), (&"published".into(), &3_000.into()), "{measured}");
    assert_eq!((&delivered["what"], &delivered["count"]), (&"delivered".into(), &3_000.into()), "{measured}");
    assert!(measured["figures"]["messages_per_second"].as_f64().unwrap() > 0.0, "{measured}");
    assert!(measured["figures"]["syncs"].as_u64().unwrap() > 0, "{measured}");
}

#[test]
fn messages_that_are_due_at_a_rate_are_published_no_faster() {
    let measured = bench(&["queue", "--messages", "500", "--rate", "1000"]);
    assert_eq!(measured["latencies"].as_array().unwrap().len(), 1, "{measured}");
    let rate = measured["figures"]["messages_per_second"].as_f64().unwrap();
    assert!((1.0..=1_010.0).contains(&rate), "{measured}");
}

#[test]
fn a_killed_node_has_everything_again_and_so_have_its_sessions() {
    let measured = bench(&["restart", "--instances", "3000", "--rounds", "2"]);
    assert_eq!(measured["figures"]["instances_lost"], 0, "{measured}");
    let times = measured["latencies"].as_array().unwrap();
    assert!(times.iter().all(|times| times["count"] == 2) && times.len() == 4, "{measured}");
}

#[test]
fn memory_is_divided_among_what_was_added() {
    let measured = bench(&["memory", "--connections", "20", "--watches", "500", "--instances", "1000,5000"]);
    let figures = &measured["figures"];
    assert!(figures["idle_bytes"].as_u64().unwrap() > 0, "{measured}");
    assert!(figures["bytes_per_watch_at_500"].is_number(), "{measured}");
    assert!(figures["bytes_per_instance_at_5000"].as_f64().unwrap() > 0.0, "{measured}");
}

#[test]
fn a_process_that_hangs_is_suspect_after_interval_and_timeout() {
    let shortest = ["--set", "sessions.ping-interval=500ms", "--set", "sessions.ping-timeout=500ms"];
    let measured = bench(&[&["crash", "--hang", "--trials", "1", "--grace", "100ms"], &shortest[..]].concat());
    let times = measured["latencies"].as_array().unwrap();
    let hung = times.iter().find(|times| times["what"] == "hung_to_suspect").unwrap();
    assert_eq!(hung["count"], 1, "{measured}");
    assert!(hung["max_us"].as_u64().unwrap() >= 500_000, "{measured}");
}

#[test]
fn growth_loses_sessions_at_once_and_sees_all_of_them_removed() {
    let measured = bench(&["growth", "--divide-by", "1000", "--part", "expire", "--part", "storm", "--part", "prefix"]);
    let times = measured["latencies"].as_array().unwrap();
    let count = |what: &str| times.iter().find(|times| times["what"] == what).unwrap()["count"].clone();
    assert_eq!(count("expire_lost_to_removed_at_100"), 100, "{measured}");
    assert_eq!(count("storm_arrival_to_whole_state_at_10"), 10, "{measured}");
    assert_eq!(count("prefix_change_delivered_at_100"), 100, "{measured}");
}

#[test]
fn growth_says_what_an_operation_costs_at_each_size() {
    let measured =
        bench(&["growth", "--divide-by", "1000", "--part", "register", "--part", "service", "--part", "queue"]);
    let figures = &measured["figures"];
    for name in
        ["register_at_10", "register_at_1000", "service_at_50", "list_at_50", "publish_at_10000", "consume_at_100"]
    {
        for what in ["elapsed_us", "node_cpu_us"] {
            let each = figures[format!("{name}_{what}")].as_f64().unwrap_or_default();
            assert!(each > 0.0, "{name}_{what}: {measured}");
        }
    }
}

#[test]
fn every_change_is_told_to_a_process_that_watches_over_one_connection() {
    let sizes = ["--services", "20", "--instances", "3", "--changes", "30", "--rate", "100", "--idle", "100ms"];
    let measured = bench(&[&["client", "--part", "watches"][..], &sizes].concat());
    let figures = &measured["figures"];
    assert_eq!(
        (&figures["watched_instances"], &figures["watching_connections"]),
        (&60.into(), &1.into()),
        "{measured}"
    );
    assert_eq!(measured["latencies"][0]["count"], 30, "{measured}");
    assert!(figures["watching_cpu_us_per_change"].as_f64().unwrap() > 0.0, "{measured}");
}

#[test]
fn what_registers_publishes_and_consumes_is_measured_each_in_its_own_process() {
    let parts = ["--part", "registrations", "--part", "producers", "--part", "consumers"];
    let sizes = ["--registrations", "50", "--messages", "2000", "--fellows", "5", "--idle", "100ms"];
    let measured = bench(&[&["client"][..], &parts, &sizes].concat());
    let figures = &measured["figures"];
    for name in ["registering_cpu_us_per_instance", "publishing_cpu_us_per_message", "consuming_cpu_us_per_message"] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}: {measured}");
    }
    assert!(figures["bytes_per_idle_producer"].is_number() && figures["bytes_per_idle_consumer"].is_number());
}

#[test]
fn a_node_that_somebody_else_started_is_not_killed() {
    let refused = node::roster().args(["bench", "restart", "--server", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_measured_has_nothing_left() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    bench(&["register", "--instances", "200", "--connections", "4", "--server", &node.url()]);
    bench(&["queue", "--messages", "200", "--consume", "--server", &node.url()]);
    let client = ["client", "--services", "5", "--changes", "5", "--registrations", "5", "--messages", "200"];
    bench(&[&client[..], &["--fellows", "2", "--idle", "100ms", "--server", &node.url()]].concat());
    let status = node.status().await;
    assert_eq!((status.instances, status.sessions, status.queues), (0, 0, 0));
}
