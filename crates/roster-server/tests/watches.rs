//! Watches over real sockets: selectors, order, resuming, slow readers, drains.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::session_response::Response;
use roster_server::Node;
use support::{Session, Watch, member, registry, soon, start};
use tempfile::tempdir;

#[tokio::test]
async fn a_prefix_and_everything_see_what_they_select() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut team = Watch::on(&node, "team/").await;
    let mut all = Watch::on(&node, "").await;
    let mut session = Session::open(&node, 1_000).await;
    session.up(member("other", 1)).await;
    session.up(member("team/a", 2)).await;
    assert_eq!(team.told_until("main").await, ["reset", "loaded", "up 2", "main"]);
    all.told_until("up 2").await;
    session.goodbye().await;
    // What one command changed in several services is told in one piece.
    assert_eq!(all.told().await, ["no main", "removed Logout", "no main", "removed Logout"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_watch_resumes_with_just_what_it_missed() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 1_000).await;
    session.up(member("orders", 1)).await;
    let mut watch = Watch::on(&node, "orders").await;
    let (_, group) = watch.next().await.unwrap();
    let (position, epoch) = (group.position, watch.epoch);
    drop(watch);
    session.up(member("orders", 2)).await;

    let subscribe = |position, epoch| v1::Subscribe {
        watch_id: 9,
        selector: "orders".into(),
        resume_position: position,
        resume_epoch: epoch,
    };
    let mut watch = Watch::open(&node).await;
    watch.subscribe(subscribe(position, epoch)).await;
    assert_eq!(watch.told().await, ["up 2"]);
    let mut watch = Watch::open(&node).await;
    watch.subscribe(subscribe(position, epoch + 1)).await;
    assert_eq!(watch.told().await, ["reset", "up 1", "up 2", "main", "loaded"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn many_watches_share_a_stream_and_a_delivery() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::open(&node).await;
    for watch_id in [7, 8, 9] {
        watch.subscribe(v1::Subscribe { watch_id, selector: "orders".into(), ..Default::default() }).await;
        let (ids, _) = watch.next().await.unwrap();
        assert_eq!(ids, [watch_id]);
    }
    let mut session = Session::open(&node, 1_000).await;
    session.up(member("orders", 1)).await;
    let (ids, group) = watch.next().await.unwrap();
    assert_eq!((ids, group.events.len()), (vec![7, 8, 9], 2));

    let unsubscribe = v1::WatchRequest { unsubscribe: vec![8], ..Default::default() };
    watch.requests.send(unsubscribe).await.unwrap();
    // The answer to a further subscription shows that the request before it was taken in.
    watch.subscribe(v1::Subscribe { watch_id: 10, selector: "others".into(), ..Default::default() }).await;
    watch.next().await.unwrap();
    session.up(member("orders", 2)).await;
    assert_eq!(watch.next().await.unwrap().0, [7, 9]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_watch_that_cannot_be_is_refused_and_the_others_go_on() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    watch.told().await;
    watch.subscribe(v1::Subscribe { watch_id: 2, selector: "no good".into(), ..Default::default() }).await;
    assert_eq!(watch.told().await, ["refused InvalidName"]);
    watch.subscribe(v1::Subscribe { watch_id: 1, selector: "twice".into(), ..Default::default() }).await;
    assert_eq!(watch.told().await, ["refused InvalidArgument"]);
    let mut session = Session::open(&node, 1_000).await;
    session.up(member("orders", 1)).await;
    assert_eq!(watch.told().await, ["up 1", "main"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_stuck_watcher_does_not_delay_the_others_and_gets_the_state_when_it_reads_on() {
    const CHANGES: u64 = 20_000;
    let directory = tempdir().unwrap();
    let mut settings = support::settings(&directory);
    settings.watches.outbox_groups = 2_000;
    settings.sessions.ping_interval = roster_server::Span(support::PATIENCE);
    let node = Node::start(settings).await.unwrap();
    let mut stuck = Watch::on(&node, "orders").await;
    let mut quick = Watch::on(&node, "orders").await;
    stuck.told().await;
    let mut session = Session::open(&node, 1_000).await;
    let mut last = 0;
    let changes = async {
        for batch in 0..CHANGES / 1_000 {
            let operations = (0..1_000u64).map(|change| {
                let registration = v1::Registration {
                    weight: Some(u32::try_from(batch * 1_000 + change).unwrap()),
                    metadata: vec![v1::MetadataEntry { key: "filler".into(), value: "x".repeat(500) }],
                    ..member("orders", 1)
                };
                let register = v1::Register { registration: Some(registration), ..Default::default() };
                v1::Operation { request_id: change, operation: Some(v1::operation::Operation::Register(register)) }
            });
            let operations = v1::Operations { operations: operations.collect() };
            session.send(v1::session_request::Request::Operations(operations)).await;
            loop {
                let Some(Response::Results(results)) = session.next().await else { continue };
                if results.results.last().is_some_and(|result| result.request_id == 999) {
                    break;
                }
            }
        }
    };
    let watching = async {
        while last + 1 < CHANGES {
            let (_, group) = quick.next().await.unwrap();
            for event in group.events {
                if let Some(v1::event::Event::Changed(instance)) = event.event {
                    last = instance.registration.unwrap().weight.unwrap().into();
                }
            }
        }
    };
    soon("all changes at the quick watcher", async { tokio::join!(changes, watching) }).await;

    let mut weight = 0;
    let mut resets = 0;
    while weight + 1 < CHANGES {
        for event in stuck.next().await.unwrap().1.events {
            match event.event {
                Some(v1::event::Event::Reset(_)) => resets += 1,
                Some(v1::event::Event::Up(instance) | v1::event::Event::Changed(instance)) => {
                    weight = instance.registration.unwrap().weight.unwrap().into();
                }
                _ => {}
            }
        }
    }
    assert!(resets >= 1, "the outbox was never emptied");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_drain_tells_how_many_watchers_have_taken_it_in() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut quick = Watch::on(&node, "orders").await;
    let mut slow = Watch::on(&node, "").await;
    let mut session = Session::open(&node, 1_000).await;
    let id = session.up(member("orders", 1)).await;
    quick.told_until("main").await;
    slow.told_until("main").await;

    let request = v1::DrainRequest { instance_id: id, deadline_ms: Some(60_000) };
    let mut progress = registry(&node).await.drain(request).await.unwrap().into_inner();
    let mut step = async || {
        let step = soon("progress", progress.message()).await.unwrap().unwrap();
        (step.seen, step.watchers, step.finished)
    };
    assert_eq!(step().await, (0, 2, false));
    match session.next().await {
        Some(Response::Notice(notice)) => assert_eq!(notice.instance_id, id),
        other => panic!("{other:?} is no notice"),
    }
    let (_, group) = quick.next().await.unwrap();
    quick.acknowledge(group.position).await;
    assert_eq!(step().await, (1, 2, false));
    slow.acknowledge(group.position).await;
    assert_eq!(step().await, (2, 2, true));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    let mut session = Session::open(&node, 1_000).await;
    let id = session.up(member("orders", 1)).await;
    watch.told_until("main").await;
    let request = v1::DrainRequest { instance_id: id, deadline_ms: Some(50) };
    let mut progress = registry(&node).await.drain(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(step) = soon("progress", progress.message()).await.unwrap() {
        last = Some((step.seen, step.watchers, step.finished));
    }
    assert_eq!(last, Some((0, 1, true)));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_drain_asked_for_often_is_followed_once_and_tells_nobody_else_that_it_is_finished() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut watch = Watch::on(&node, "orders").await;
    let mut session = Session::open(&node, 1_000).await;
    let (first, second) = (session.up(member("orders", 1)).await, session.up(member("orders", 2)).await);
    watch.told_until("up 2").await;
    let drain = |request_id| v1::Operation {
        request_id,
        operation: Some(v1::operation::Operation::Drain(v1::DrainInstance {
            instance_id: first,
            deadline_ms: Some(u32::MAX),
        })),
    };
    let operations = v1::Operations { operations: (0..10_000).map(drain).collect() };
    session.send(v1::session_request::Request::Operations(operations)).await;
    while !matches!(session.next().await, Some(Response::Results(_))) {}
    let request = v1::DrainRequest { instance_id: second, deadline_ms: Some(60_000) };
    let mut progress = registry(&node).await.drain(request).await.unwrap().into_inner();
    let step = soon("progress", progress.message()).await.unwrap().unwrap();
    assert_eq!((step.seen, step.watchers, step.finished), (0, 1, false));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn watchers_that_share_a_copy_of_the_state_miss_nothing_that_came_after_it() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 1)).await;
    let mut watches = Vec::new();
    for port in 2..=30 {
        // None of them reads yet, so that each copy is still there when the next one asks.
        watches.push((port, Watch::on(&node, "").await));
        session.up(member("orders", port)).await;
    }
    for (_, watch) in &mut watches {
        let told = watch.told_until("up 30").await;
        assert_eq!(told.iter().filter(|word| *word == "reset").count(), 1);
        let mut ups: Vec<_> = told.iter().filter(|word| word.starts_with("up ")).cloned().collect();
        ups.sort_unstable();
        ups.dedup();
        assert_eq!(ups.len(), 30);
    }
    node.shutdown().await.unwrap();
}
