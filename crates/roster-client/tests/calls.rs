//! The calls that are asked and answered once.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::error::Error as _;
use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{
    Advice, Announcement, CheckOutcome, Client, Cutover, Error, InstanceId, Selector, ServiceName, SessionId, State,
};

fn orders() -> ServiceName {
    ServiceName::parse("orders").unwrap()
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_found_by_name() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    assert!(client.get_main(&orders()).await.unwrap().is_none());
    let registrar = client.registrar().start();
    let handle = registrar.register(Announcement::new("orders", "10.0.0.7", 8080).unwrap().version(3));
    let State::Active { instance, .. } = handle.settled().await else { panic!("not active") };
    let main = client.get_main(&orders()).await.unwrap().expect("it has a main");
    assert_eq!((main.id, main.registration.version), (instance, 3));
    assert_eq!(client.check(&orders(), main.session).await.unwrap(), CheckOutcome::Alive);
    assert_eq!(client.check(&orders(), SessionId::new(77)).await.unwrap(), CheckOutcome::Unknown);
    let position = client.set_cutover(&orders(), Some(Cutover::SideBySide), "ada").await.unwrap();
    assert!(position.get() > instance.get());
    let services = client.services("").await.unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!((services[0].up, services[0].main, services[0].cutover_by_operator), (1, Some(instance), true));
    assert_eq!(client.status().await.unwrap().instances, 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_has_all_pages() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let handles: Vec<_> =
        (1..=2500).map(|port| registrar.register(Announcement::new("orders", "10.0.0.7", port).unwrap())).collect();
    for handle in &handles {
        handle.settled().await;
    }
    assert_eq!(client.list(&Selector::All).await.unwrap().len(), 2500);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_is_named_with_what_to_do() {
    let node = FakeNode::in_memory();
    node.stop();
    let error = client(&node).get_main(&orders()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot reach a node at http://in-memory:7400; check that one runs there");
    assert_eq!(error.advice(), Advice::RetryLater);
    assert!(error.source().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_costs_the_deadline_and_no_more() {
    let node = FakeNode::in_memory();
    let client = node.client_builder().deadline(Duration::from_millis(700)).build().unwrap();
    client.status().await.unwrap();
    node.pause();
    let before = tokio::time::Instant::now();
    let error = client.get_main(&orders()).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(before.elapsed() < Duration::from_millis(800));
    node.resume();
    client.get_main(&orders()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_is_wrong() {
    let node = FakeNode::in_memory();
    let error = client(&node).drain(InstanceId::new(9), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.advice(), Advice::FixRequest);
    assert!(error.to_string().contains("instance 9 is not known"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_after_the_node_was_away_without_new_objects() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    client.status().await.unwrap();
    node.stop();
    client.status().await.unwrap_err();
    node.resume();
    client.status().await.unwrap();
}

#[test]
fn a_client_without_an_address_is_not_built() {
    assert!(matches!(Client::builder().build(), Err(Error::NoEndpoint)));
    assert!(matches!(Client::builder().endpoint("nonsense").build(), Err(Error::InvalidEndpoint { .. })));
}
