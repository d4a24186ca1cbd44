//! Bad input and too much of anything: a clear error to whom it concerns, everybody else served.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::farewell::Reason;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::result::Outcome;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use roster_server::{Node, Settings};
use support::{Session, Watch, bare, channel, member, registry, settings, singleton, soon, start};
use tempfile::tempdir;
use tonic::Code as Grpc;

async fn start_with(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Node) {
    let directory = tempdir().unwrap();
    let mut settings = settings(&directory);
    change(&mut settings);
    let node = Node::start(settings).await.unwrap();
    (directory, node)
}

fn refused(outcome: Outcome) -> v1::Refusal {
    match outcome {
        Outcome::Refusal(refusal) => refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

async fn farewell(responses: &mut tonic::Streaming<v1::SessionResponse>) -> v1::Farewell {
    match soon("a farewell", responses.message()).await.unwrap().unwrap().response {
        Some(Response::Farewell(farewell)) => farewell,
        other => panic!("{other:?} is no farewell"),
    }
}

#[tokio::test]
async fn every_wrong_field_is_refused_by_name_and_the_rest_of_the_message_goes_through() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 1_000).await;
    let long = "x".repeat(300);
    let wrong = [
        (v1::Registration { service: "no good".into(), ..member("a", 1) }, Code::InvalidName, "no good"),
        (v1::Registration { service: String::new(), ..member("a", 1) }, Code::InvalidName, "service name"),
        (v1::Registration { service: "a//b".into(), ..member("a", 1) }, Code::InvalidName, "empty"),
        (member("a", 0), Code::InvalidAddress, "port"),
        (member("a", 70_000), Code::InvalidAddress, "port"),
        (v1::Registration { host: "0.0.0.0".into(), ..member("a", 1) }, Code::InvalidAddress, "reachable"),
        (v1::Registration { kind: 0, ..member("a", 1) }, Code::InvalidKind, "kind"),
        (v1::Registration { kind: 9, ..member("a", 1) }, Code::InvalidKind, "9"),
        (v1::Registration { zone: long.clone(), ..member("a", 1) }, Code::InvalidArgument, "zone"),
        (v1::Registration { tags: vec![long], ..member("a", 1) }, Code::InvalidArgument, "tag"),
        (v1::Registration { weight: Some(2_000_000), ..member("a", 1) }, Code::InvalidArgument, "weight"),
    ];
    for (registration, code, word) in wrong {
        let refusal = refused(session.register(registration).await);
        assert_eq!(refusal.code(), code, "{}", refusal.message);
        assert!(refusal.message.contains(word), "{} does not name {word}", refusal.message);
    }
    let register = |registration| {
        let register = v1::Register { registration: Some(registration), ..Default::default() };
        Some(v1::operation::Operation::Register(register))
    };
    let operations = vec![
        v1::Operation { request_id: 100, operation: register(member("a", 0)) },
        v1::Operation { request_id: 101, operation: register(member("a", 1)) },
        v1::Operation { request_id: 102, operation: None },
    ];
    session.send(Request::Operations(v1::Operations { operations })).await;
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let Some(Response::Results(results)) = session.next().await else { panic!("no results") };
        answered
            .extend(results.results.into_iter().map(|r| (r.request_id, matches!(r.outcome, Some(Outcome::Active(_))))));
    }
    answered.sort_unstable();
    assert_eq!(answered, [(100, false), (101, true), (102, false)]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_rules_refuse_with_their_facts() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 1_000).await;
    session.up(v1::Registration { version: 5, ..member("a", 1) }).await;
    let refusal = refused(session.register(v1::Registration { version: 4, ..member("a", 2) }).await);
    assert_eq!((refusal.code(), refusal.floor), (Code::VersionTooLow, 5));
    let refusal = refused(session.register(v1::Registration { version: 5, ..singleton("a", 3) }).await);
    assert_eq!(refusal.code(), Code::KindConflict);
    let deregister = v1::operation::Operation::Deregister(v1::Deregister { instance_id: 12_345 });
    assert_eq!(refused(session.operate(deregister).await).code(), Code::UnknownInstance);
    let mut other = Session::open(&node, 1_000).await;
    let own = session.up(v1::Registration { version: 5, ..member("a", 4) }).await;
    let deregister = v1::operation::Operation::Deregister(v1::Deregister { instance_id: own });
    assert_eq!(refused(other.operate(deregister).await).code(), Code::Unauthorized);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_the_protocol_is_told_how() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let (requests, outgoing) = tokio::sync::mpsc::channel(4);
    let pong = v1::SessionRequest { request: Some(Request::Pong(v1::Pong::default())) };
    requests.send(pong).await.unwrap();
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut responses = registry(&node).await.session(outgoing).await.unwrap().into_inner();
    let told = farewell(&mut responses).await;
    assert_eq!(told.reason(), Reason::Protocol);
    assert!(told.message.contains("hello"), "{}", told.message);

    let hello = v1::Hello { grace_ms: Some(300_001), ..Default::default() };
    let (_requests, mut responses) = bare(&node, hello).await;
    let told = farewell(&mut responses).await;
    assert_eq!(told.reason(), Reason::Protocol);
    assert!(told.message.contains("300000"), "{}", told.message);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn each_limit_of_the_edge_names_itself() {
    let (_directory, node) = start_with(|settings| {
        settings.limits.sessions = 1;
        settings.limits.watch_streams = 1;
        settings.limits.watches_per_stream = 2;
        settings.limits.operations_per_message = 3;
    })
    .await;
    let mut session = Session::open(&node, 1_000).await;
    let (_sender, outgoing) = tokio::sync::mpsc::channel(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let status = registry(&node).await.session(outgoing).await.unwrap_err();
    assert_eq!(status.code(), Grpc::ResourceExhausted);
    assert!(status.message().contains("sessions"), "{}", status.message());
    assert_eq!(v1::Refusal::of_status(&status).unwrap().limit_max, 1);

    let mut watch = Watch::on(&node, "a").await;
    watch.told().await;
    for watch_id in [2, 3] {
        watch.subscribe(v1::Subscribe { watch_id, selector: "a".into(), ..Default::default() }).await;
    }
    assert_eq!(watch.told().await, ["reset", "loaded"]);
    assert_eq!(watch.told().await, ["refused InvalidArgument"]);
    let (_sender, outgoing) = tokio::sync::mpsc::channel::<v1::WatchRequest>(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let status = registry(&node).await.watch(outgoing).await.unwrap_err();
    assert_eq!(status.code(), Grpc::ResourceExhausted);

    let operations = vec![v1::Operation::default(); 4];
    session.send(Request::Operations(v1::Operations { operations })).await;
    match session.next().await {
        Some(Response::Farewell(told)) => assert!(told.message.contains("3 at most"), "{}", told.message),
        other => panic!("{other:?} is no farewell"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_and_those_before_it_go_on() {
    let (_directory, node) = start_with(|settings| settings.limits.connections = 2).await;
    let mut first = registry(&node).await;
    let mut second = registry(&node).await;
    let ask = || v1::ListServicesRequest::default();
    first.list_services(ask()).await.unwrap();
    second.list_services(ask()).await.unwrap();
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", node.listen())).unwrap();
    let third = async {
        let channel = endpoint.connect().await.ok()?;
        v1::registry_client::RegistryClient::new(channel).list_services(ask()).await.ok()
    };
    assert!(soon("an end", third).await.is_none());
    first.list_services(ask()).await.unwrap();
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn unary_calls_answer_bad_input_with_the_refusal_in_their_details() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut registry = registry(&node).await;
    let status = registry.get_main(v1::GetMainRequest { service: "a b".into() }).await.unwrap_err();
    assert_eq!(status.code(), Grpc::InvalidArgument);
    assert_eq!(v1::Refusal::of_status(&status).unwrap().code(), Code::InvalidName);
    let list = v1::ListInstancesRequest { page_token: "made up".into(), ..Default::default() };
    assert_eq!(registry.list_instances(list).await.unwrap_err().code(), Grpc::InvalidArgument);
    let drain = v1::DrainRequest { instance_id: 77, deadline_ms: None };
    assert_eq!(registry.drain(drain).await.unwrap_err().code(), Grpc::NotFound);
    let cutover =
        v1::SetCutoverRequest { service: "a".into(), cutover: Some(v1::Cutover::default()), author: String::new() };
    assert_eq!(registry.set_cutover(cutover).await.unwrap_err().code(), Grpc::InvalidArgument);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn lists_come_in_pages_that_miss_nothing() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 1_000).await;
    for port in 1..=25 {
        session.up(member(&format!("s/{}", port % 5), port)).await;
    }
    let mut registry = registry(&node).await;
    let mut ports = Vec::new();
    let mut request = v1::ListInstancesRequest { selector: "s/".into(), page_size: 4, ..Default::default() };
    loop {
        let page = registry.list_instances(request.clone()).await.unwrap().into_inner();
        assert!(page.instances.len() <= 4);
        ports.extend(page.instances.into_iter().map(|instance| instance.registration.unwrap().port));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    ports.sort_unstable();
    assert_eq!(ports, (1..=25).collect::<Vec<_>>());
    let request = v1::ListServicesRequest { page_size: 2, page_token: "s/1".into(), ..Default::default() };
    let page = registry.list_services(request).await.unwrap().into_inner();
    assert_eq!(page.services.iter().map(|service| service.service.as_str()).collect::<Vec<_>>(), ["s/2", "s/3"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn health_says_serving() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut health = HealthClient::new(channel(&node).await);
    for service in ["", "roster.v1.Registry"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    node.shutdown().await.unwrap();
}
