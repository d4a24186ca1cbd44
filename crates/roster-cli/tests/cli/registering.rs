//! What is held: register, with and without a command.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{Announcement, Change, Client, Selector, ServiceName, State, WatchEvent};
use roster_proto::v1::{Refusal, refusal};
use rustix::process::Signal;
use tokio::net::TcpSocket;

use crate::roster;
use crate::running::Running;

fn client(node: &FakeNode) -> Client {
    Client::builder().endpoint(node.url()).build().unwrap()
}

async fn addresses(node: &FakeNode) -> Vec<String> {
    let orders = Selector::Service(ServiceName::parse("orders").unwrap());
    let instances = client(node).list(&orders).await.unwrap();
    instances.iter().map(|instance| instance.registration.address.to_string()).collect()
}

/// A port that nobody else gets, and that accepts connections once the test listens: for its command.
fn reserved() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_lasts_until_a_signal() {
    let node = FakeNode::listen().await.unwrap();
    let mut register = Running::start(node.url(), &["register", "orders", "--address", "10.0.0.7:8080"]);
    register.hear("registered as instance");
    assert_eq!(addresses(&node).await, ["10.0.0.7:8080"]);
    register.signal(Signal::TERM);
    let (code, said) = register.end();
    assert_eq!(code, 0, "{said:?}");
    assert!(addresses(&node).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_registration_ends_with_4() {
    let node = FakeNode::listen().await.unwrap();
    let registrar = client(&node).registrar().start();
    let newer = registrar.register(Announcement::new("orders", "10.0.0.7", 8080).unwrap().version(2));
    newer.settled().await;
    let mut register = roster(&["register", "orders", "--address", "10.0.0.8:8080", "--version", "1"]);
    let output = register.env("ROSTER_SERVER", node.url()).assert().code(4).get_output().stderr.clone();
    let said = String::from_utf8(output).unwrap();
    assert!(said.contains("refused: version 2 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_may_pass_is_waited_out_when_asked_to() {
    let node = FakeNode::listen().await.unwrap();
    node.refuse_next(Refusal {
        code: refusal::Code::ReadOnly.into(),
        message: "the disk is full".into(),
        ..Refusal::default()
    });
    let arguments = ["register", "orders", "--address", "10.0.0.7:8080", "--keep-trying"];
    let mut register = Running::start(node.url(), &arguments);
    register.hear("refused, to be tried again: the disk is full");
    register.hear("registered as instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_registered_and_its_end_passed_on() {
    let node = FakeNode::listen().await.unwrap();
    let (socket, address) = reserved();
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let script = format!("echo armed; until [ -e {} ]; do sleep 0.01; done; exit 9", go.display());
    let arguments = ["register", "orders", "--address", &address, "--", "sh", "-c", &script];
    let mut register = Running::start(node.url(), &arguments);
    register.hear("armed");
    let _listener = socket.listen(8).unwrap();
    register.hear("registered as instance");
    assert_eq!(addresses(&node).await, *std::slice::from_ref(&address));
    std::fs::write(&go, "").unwrap();
    let (code, said) = register.end();
    assert_eq!(code, 9, "{said:?}");
    assert!(addresses(&node).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_not_started_where_somebody_else_listens() {
    let node = FakeNode::listen().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for arguments in [&["--address", &address][..], &["--address", "10.0.0.7:8080", "--probe", &address]] {
        let mut register = roster(&["register", "orders"]);
        register.args(arguments).args(["--", "echo", "started"]).env("ROSTER_SERVER", node.url());
        let output = register.assert().code(1).get_output().clone();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("roster: somebody else listens at {address} already")), "{said}");
        assert!(output.stdout.is_empty(), "the command is not started");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_stopped_only_after_its_callers_know() {
    let node = FakeNode::listen().await.unwrap();
    let mut watch = client(&node).watch(Selector::All).start();
    let (socket, address) = reserved();
    let script = "trap 'echo the command is stopped; exit 3' TERM; echo armed; while :; do sleep 0.01; done";
    let arguments = ["register", "orders", "--address", &address, "--", "sh", "-c", script];
    let mut register = Running::start(node.url(), &arguments);
    register.hear("armed");
    let _listener = socket.listen(8).unwrap();
    register.hear("registered as instance");
    watch.view().loaded().await.unwrap();
    register.signal(Signal::TERM);
    register.hear("drained: 1 of 1 watchers have seen it");
    register.hear("the command is stopped");
    assert_eq!(register.end().0, 3);
    let drained = async {
        while let Some(event) = watch.next().await {
            if matches!(event, WatchEvent::Change(Change::Draining(_))) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), drained).await.expect("watchers are told that it drains");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_version_is_superseded_is_stopped() {
    let node = FakeNode::listen().await.unwrap();
    let (socket, address) = reserved();
    let script = "trap 'exit 3' TERM; echo armed; while :; do sleep 0.01; done";
    let arguments = ["register", "orders", "--address", &address, "--version", "1", "--", "sh", "-c", script];
    let mut register = Running::start(node.url(), &arguments);
    register.hear("armed");
    let _listener = socket.listen(8).unwrap();
    register.hear("registered as instance");
    let registrar = client(&node).registrar().start();
    let newer = registrar.register(Announcement::new("orders", "10.0.0.8", 8080).unwrap().version(2));
    assert!(matches!(newer.settled().await, State::Active { .. }));
    register.hear("asked to leave: a higher version took over");
    assert_eq!(register.end().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_are_passed_on_to_the_command() {
    let node = FakeNode::listen().await.unwrap();
    let (socket, address) = reserved();
    let script = "trap 'echo reloaded' HUP; trap 'exit 0' TERM; echo armed; while :; do sleep 0.01; done";
    let arguments = ["register", "orders", "--address", &address, "--", "sh", "-c", script];
    let mut register = Running::start(node.url(), &arguments);
    register.hear("armed");
    let _listener = socket.listen(8).unwrap();
    register.hear("registered as instance");
    register.signal(Signal::HUP);
    register.hear("reloaded");
    register.signal(Signal::TERM);
    assert_eq!(register.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_waits_for_the_node() {
    let node = FakeNode::listen().await.unwrap();
    node.stop();
    let mut register = Running::start(node.url(), &["register", "orders", "--address", "10.0.0.7:8080"]);
    register.hear("no contact, trying again");
    node.resume();
    register.hear("registered as instance");
    register.signal(Signal::TERM);
    let (_, said) = register.end();
    assert!(!said.iter().any(|line| line.contains("no contact")), "it is said once: {said:#?}");
}
