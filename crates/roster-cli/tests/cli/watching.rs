//! What is followed: watch.

use roster_client::testing::FakeNode;
use roster_client::{Announcement, Client, Registrar};
use rustix::process::Signal;
use serde_json::Value;

use crate::roster;
use crate::running::Running;

fn registrar(node: &FakeNode) -> Registrar {
    Client::builder().endpoint(node.url()).build().unwrap().registrar().start()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_come() {
    let node = FakeNode::listen().await.unwrap();
    let registrar = registrar(&node);
    let mut watch = Running::start(node.url(), &["watch", "orders"]);
    watch.hear("the state is whole");
    let handle = registrar.register(Announcement::new("orders", "10.0.0.7", 8080).unwrap().version(3));
    watch.hear("orders 10.0.0.7:8080 is up (member, version 3)");
    watch.hear("orders has its main at 10.0.0.7:8080");
    handle.deregister().await.unwrap();
    watch.hear("orders 10.0.0.7:8080 is gone: logout");
    watch.signal(Signal::TERM);
    assert_eq!(watch.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_an_object_on_a_line() {
    let node = FakeNode::listen().await.unwrap();
    let registrar = registrar(&node);
    let handle = registrar.register(Announcement::new("team/orders", "10.0.0.7", 8080).unwrap());
    handle.settled().await;
    let output = roster(&["watch", "team/", "--once", "--output", "json"])
        .env("ROSTER_SERVER", node.url())
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let lines = String::from_utf8(output).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["up", "main_changed", "loaded"]);
    assert_eq!(events[0]["instance"]["address"], "10.0.0.7:8080");
    assert_eq!(events[1]["address"], "10.0.0.7:8080");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_the_node() {
    let node = FakeNode::listen().await.unwrap();
    let mut watch = Running::start(node.url(), &["watch", "--all"]);
    watch.hear("the state is whole");
    node.stop();
    watch.hear("out of contact, trying again");
    node.resume();
    watch.hear("in contact again");
    let registrar = registrar(&node);
    let _handle = registrar.register(Announcement::new("orders", "10.0.0.7", 8080).unwrap());
    watch.hear("orders 10.0.0.7:8080 is up");
}
