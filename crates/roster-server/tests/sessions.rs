//! Sessions over real sockets: opened, doubted, resumed, replaced, lost, said goodbye to.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::result::Outcome;
use roster_proto::v1::session_response::Response;
use support::{Session, Watch, bare, member, registry, soon, start};
use tempfile::tempdir;

#[tokio::test]
async fn a_broken_stream_makes_its_instances_suspect_and_then_lost() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    assert_eq!(watch.told().await, ["reset", "loaded"]);

    let mut session = Session::open(&node, 50).await;
    session.up(member("orders", 4000)).await;
    assert_eq!(watch.told().await, ["up 4000", "main"]);
    drop(session);
    assert_eq!(watch.told().await, ["suspect StreamClosed"]);
    assert_eq!(watch.told().await, ["no main", "removed LostContact"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_session_that_resumes_within_its_grace_is_up_again() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    let mut session = Session::open(&node, 60_000).await;
    let id = session.up(member("orders", 4000)).await;
    let welcome = session.welcome.clone();
    drop(session);
    watch.told_until("suspect StreamClosed").await;

    let session = Session::resume(&node, &welcome).await;
    assert!(session.welcome.resumed);
    assert_eq!(session.welcome.session_id, welcome.session_id);
    assert_eq!(session.welcome.instances.iter().map(|instance| instance.id).collect::<Vec<_>>(), [id]);
    assert_eq!(watch.told().await, ["up 4000"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn goodbye_is_a_logout() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 4000)).await;
    session.goodbye().await;
    let told = watch.told_until("removed Logout").await;
    assert_eq!(told, ["reset", "loaded", "up 4000", "main", "no main", "removed Logout"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_stream_replaces_the_first_which_is_told_why() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    let mut first = Session::open(&node, 60_000).await;
    first.up(member("orders", 4000)).await;
    let mut second = Session::resume(&node, &first.welcome).await;
    match first.next().await {
        Some(Response::Farewell(farewell)) => {
            assert_eq!(farewell.reason(), v1::farewell::Reason::ResumedElsewhere);
        }
        other => panic!("{other:?} is no farewell"),
    }
    assert!(first.next().await.is_none());
    // The end of the replaced stream says nothing about the session.
    second.up(member("orders", 4001)).await;
    assert_eq!(watch.told_until("up 4001").await, ["reset", "loaded", "up 4000", "main", "up 4001"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_resumes_nothing() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let session = Session::open(&node, 60_000).await;
    let hello = v1::Hello { session_id: session.welcome.session_id, secret: "guess".into(), ..Default::default() };
    let (_requests, mut responses) = bare(&node, hello).await;
    match soon("an answer", responses.message()).await.unwrap().unwrap().response {
        Some(Response::Farewell(farewell)) => {
            assert_eq!(farewell.reason(), v1::farewell::Reason::Expired);
            assert!(farewell.message.contains("secret"), "{}", farewell.message);
        }
        other => panic!("{other:?} is no farewell"),
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_silent_session_is_suspect_after_a_ping_without_answer() {
    let directory = tempdir().unwrap();
    let mut settings = support::settings(&directory);
    settings.sessions.ping_interval = roster_server::Span(std::time::Duration::from_millis(100));
    settings.sessions.ping_timeout = roster_server::Span(std::time::Duration::from_millis(100));
    let node = roster_server::Node::start(settings).await.unwrap();
    let mut watch = Watch::on(&node, "orders").await;
    let mut session = Session::open(&node, 0).await;
    session.up(member("orders", 4000)).await;
    // It does not read, so it does not answer; its grace is 0, so it is lost at once.
    let told = watch.told_until("removed LostContact").await;
    assert_eq!(told, ["reset", "loaded", "up 4000", "main", "no main", "removed LostContact"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_address_of_a_living_session_is_in_use_and_that_of_a_hung_one_is_taken_over() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut holder = Session::open(&node, 60_000).await;
    holder.up(member("orders", 4000)).await;
    let holder_id = holder.welcome.session_id;

    let mut newcomer = Session::open(&node, 60_000).await;
    let (outcome, holder) = tokio::join!(newcomer.register(member("orders", 4000)), async {
        // Answers the probe, then waits without reading.
        let message = soon("a probe", holder.responses.message()).await.unwrap().unwrap();
        let Some(Response::Ping(ping)) = message.response else { panic!("{message:?} is no ping") };
        let pong = v1::session_request::Request::Pong(v1::Pong { nonce: ping.nonce });
        holder.send(pong).await;
        holder
    });
    match outcome {
        Outcome::Refusal(refusal) => {
            assert_eq!(refusal.code(), v1::refusal::Code::AddressInUse);
            assert_eq!(refusal.session_id, holder_id);
        }
        other => panic!("{other:?} is no refusal"),
    }

    let mut watch = Watch::on(&node, "orders").await;
    let taken = async {
        loop {
            match newcomer.register(member("orders", 4000)).await {
                Outcome::Active(active) => return active,
                Outcome::Refusal(refusal) => assert_eq!(refusal.code(), v1::refusal::Code::AddressInUse),
                other => panic!("{other:?}"),
            }
        }
    };
    soon("the take-over", taken).await;
    let told = watch.told_until("replaced by 4000").await;
    assert!(told.contains(&"suspect CheckFailed".to_owned()), "{told:?}");
    drop(holder);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_check_tells_the_living_from_the_hung() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 4000)).await;
    let check = |service: &str| {
        let request = v1::CheckRequest { service: service.into(), session_id: session.welcome.session_id };
        let node = &node;
        async move { registry(node).await.check(request).await.unwrap().into_inner().outcome() }
    };
    assert_eq!(check("others").await, v1::check_response::Outcome::Unknown);
    // Nobody reads the stream: the probe is not answered.
    assert_eq!(check("orders").await, v1::check_response::Outcome::Suspect);
    assert_eq!(check("orders").await, v1::check_response::Outcome::Suspect);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_restarted_node_knows_its_sessions_and_watchers_see_no_flap() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 100).await;
    let id = session.up(member("orders", 4000)).await;
    let welcome = session.welcome.clone();
    node.shutdown().await.unwrap();
    assert!(matches!(session.next().await, Some(Response::Farewell(farewell))
        if farewell.reason() == v1::farewell::Reason::Shutdown));

    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    assert_eq!(watch.told().await, ["reset", "up 4000 unconfirmed", "main", "loaded"]);
    let session = Session::resume(&node, &welcome).await;
    assert_eq!(session.welcome.instances[0].id, id);
    assert_eq!(watch.told().await, ["up 4000"]);
    let other = Session::open(&node, 100).await;
    assert!(other.welcome.session_id > welcome.session_id);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn who_does_not_return_after_a_restart_is_removed_by_a_timer() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 100).await;
    session.up(member("orders", 4000)).await;
    node.shutdown().await.unwrap();

    let mut settings = support::settings(&directory);
    settings.sessions.restart_grace = roster_server::Span(std::time::Duration::from_millis(300));
    let node = roster_server::Node::start(settings).await.unwrap();
    let mut watch = Watch::on(&node, "").await;
    let told = watch.told_until("removed LostContact").await;
    assert_eq!(told, ["reset", "up 4000 unconfirmed", "main", "loaded", "no main", "removed LostContact"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_replaced_stream_asked_for_and_waited_for_is_not_done_behind_the_back_of_the_new_one() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut silent = Session::open(&node, 60_000).await;
    silent.up(member("orders", 4000)).await;
    let newcomer = Session::open(&node, 60_000).await;
    let register = v1::Register { registration: Some(member("orders", 4000)), ..Default::default() };
    let operation = v1::Operation { request_id: 1, operation: Some(v1::operation::Operation::Register(register)) };
    let operations = v1::Operations { operations: vec![operation] };
    newcomer.send(v1::session_request::Request::Operations(operations)).await;
    // The probe shows that the registration waits for it; nobody answers.
    while !matches!(
        soon("a probe", silent.responses.message()).await.unwrap().unwrap().response,
        Some(Response::Ping(_))
    ) {}
    let again = Session::resume(&node, &newcomer.welcome).await;
    assert!(again.welcome.instances.is_empty());
    let mut watch = Watch::on(&node, "orders").await;
    assert_eq!(watch.told().await, ["reset", "up 4000", "main", "loaded"]);
    assert_eq!(watch.told().await, ["suspect CheckFailed"]);
    // Had it been done, the address would be the newcomer's now.
    let other = Session::open(&node, 60_000).await;
    let main = registry(&node).await.get_main(v1::GetMainRequest { service: "orders".into() }).await.unwrap();
    assert_eq!(main.into_inner().main.unwrap().session_id, silent.welcome.session_id);
    drop(other);
    node.shutdown().await.unwrap();
}
