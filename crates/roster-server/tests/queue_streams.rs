//! Streams of queues among themselves and beside the registry: who is slow, who ends, who is one too many.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::registry_client::RegistryClient;
use roster_server::Node;
use support::queues::{Consumer, JOBS, Producer, create, look_until, message, messages, publish, queues};
use support::{Session, Watch, channel, member, settings, soon, start};
use tempfile::tempdir;

fn refusal(status: &tonic::Status) -> v1::Refusal {
    v1::Refusal::of_status(status).unwrap_or_else(|| panic!("{status:?} carries no refusal"))
}

#[tokio::test]
async fn a_consumer_that_does_not_read_costs_its_window_and_delays_nobody() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { ack_timeout_ms: Some(200), ..Default::default() }).await;
    let mut stuck = Consumer::open(&node, 20).await;
    let large = "x".repeat(200_000);
    let mut reader = Consumer::open(&node, 5).await;
    let publishing = async {
        for _ in 0..10 {
            publish(&node, vec![message(&large); 10]).await.unwrap();
        }
    };
    let reading = async {
        let mut done = std::collections::BTreeSet::new();
        // What the stuck one holds comes when its time is over.
        while done.len() < 100 {
            let id = reader.next().await.unwrap().message_id;
            reader.acknowledge(&[id]).await;
            done.insert(id);
        }
    };
    soon("everything", async { tokio::join!(publishing, reading) }).await;
    let queue = look_until(&node, "an empty queue", |queue| queue.waiting + queue.failed + queue.in_flight == 0).await;
    assert_eq!((queue.acknowledged_total, queue.dead), (100, 0));
    assert!(queue.failed_total <= 60, "{} deliveries went to one that does not read", queue.failed_total);
    // When it reads on it takes part again.
    let again = async {
        publish(&node, messages(0..20)).await.unwrap();
        while stuck.next().await.unwrap().message.unwrap().payload.len() > 10 {}
    };
    drop(reader);
    soon("a new message", again).await;
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_watch_gets_its_events_while_a_publisher_floods() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings::default()).await;
    let mut watch = Watch::on(&node, "orders").await;
    watch.told().await;
    let mut producer = Producer::open(&node, "flood").await;
    let mut session = Session::open(&node, 60_000).await;
    let flooding = async {
        let mut sent: u64 = 0;
        for batch in 0..60 {
            producer.send(sent + 1, vec![message("x".repeat(100)); 1_000]).await;
            sent += 1_000;
            if batch >= 10 {
                assert_eq!(producer.stored().await, (1_000, 0));
            }
        }
    };
    let registering = async {
        for port in 1..=50 {
            session.up(member("orders", port)).await;
            let up = format!("up {port}");
            assert!(watch.told_until(&up).await.contains(&up));
        }
    };
    soon("both", async { tokio::join!(flooding, registering) }).await;
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_publisher_that_waits_does_not_stop_the_other_streams_of_its_connection() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { waiting_max: Some(1), ..Default::default() }).await;
    publish(&node, messages(0..1)).await.unwrap();
    let channel = channel(&node).await;
    let mut streams = Vec::new();
    for producer in ["a", "b", "c"] {
        let (requests, outgoing) = tokio::sync::mpsc::channel(64);
        let send = |request| requests.try_send(v1::PublishStreamRequest { request: Some(request) }).unwrap();
        let open = v1::OpenPublish { queue: JOBS.into(), producer: producer.into() };
        send(v1::publish_stream_request::Request::Open(open));
        for sequence in 1..=40 {
            let batch = v1::PublishBatch { first_sequence: sequence, messages: vec![message("x".repeat(200_000))] };
            send(v1::publish_stream_request::Request::Batch(batch));
        }
        let mut client = v1::queues_client::QueuesClient::new(channel.clone());
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut responses = client.publish_stream(outgoing).await.unwrap().into_inner();
        assert!(soon("opened", responses.message()).await.unwrap().is_some());
        // It goes on until nothing more is taken from it.
        let mut left = usize::MAX;
        while requests.capacity() != left {
            left = requests.capacity();
            look_until(&node, "a publisher", |queue| queue.producers > 0).await;
        }
        streams.push((requests, responses));
    }
    let mut registry = RegistryClient::new(channel);
    for _ in 0..50 {
        let request = v1::ListInstancesRequest { selector: "a".repeat(200), ..Default::default() };
        soon("an answer", registry.list_instances(request)).await.unwrap();
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn deleting_a_queue_ends_its_streams_and_says_so() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    create(&node, v1::QueueSettings { waiting_max: Some(4), ..Default::default() }).await;
    let mut producer = Producer::open(&node, "p").await;
    let mut consumer = Consumer::open(&node, 0).await;
    producer.send(1, messages(0..4)).await;
    assert_eq!(producer.stored().await, (4, 0));
    // It waits for room that will never be.
    producer.send(5, messages(0..4)).await;
    let mut client = queues(&node).await;
    let deleted = client.delete_queue(v1::DeleteQueueRequest { queue: JOBS.into() }).await.unwrap().into_inner();
    assert_eq!(deleted.messages, 4);
    for status in [producer.result().await.unwrap_err(), consumer.next().await.unwrap_err()] {
        assert_eq!((status.code(), refusal(&status).code()), (tonic::Code::NotFound, Code::UnknownQueue));
    }
    let status = Consumer::try_open(&node, JOBS, 1).await.map(drop).unwrap_err();
    assert_eq!(refusal(&status).code(), Code::UnknownQueue);
    let status = Producer::try_open(&node, JOBS, "p").await.map(drop).unwrap_err();
    assert_eq!(refusal(&status).code(), Code::UnknownQueue);
    let status = publish(&node, messages(0..1)).await.unwrap_err();
    assert_eq!(refusal(&status).code(), Code::UnknownQueue);

    // A queue made anew under the name gives out no id again.
    create(&node, v1::QueueSettings::default()).await;
    assert_eq!(publish(&node, messages(0..1)).await.unwrap().first_message_id, 5);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn settings_that_differ_or_cannot_be_are_refused_by_name() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut client = queues(&node).await;
    let request =
        |settings| v1::CreateQueueRequest { queue: JOBS.into(), settings: Some(settings), ..Default::default() };
    let three = v1::QueueSettings { attempts_max: Some(3), ..Default::default() };
    let created = client.create_queue(request(three)).await.unwrap().into_inner();
    assert!(created.created);
    assert_eq!(created.settings.unwrap().ack_timeout_ms, Some(30_000));
    assert!(!client.create_queue(request(three)).await.unwrap().into_inner().created);
    let status = client.create_queue(request(v1::QueueSettings::default())).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).code()), (tonic::Code::AlreadyExists, Code::SettingsDiffer));
    assert!(status.message().contains("attempts-max is 3 and not 16"), "{}", status.message());

    let update = v1::UpdateQueueRequest {
        queue: JOBS.into(),
        settings: Some(v1::QueueSettings { waiting_max: Some(7), ..Default::default() }),
    };
    let updated = client.update_queue(update).await.unwrap().into_inner().settings.unwrap();
    assert_eq!((updated.attempts_max, updated.waiting_max), (Some(3), Some(7)));
    for (wrong, word) in [
        (v1::QueueSettings { attempts_max: Some(0), ..three }, "attempts-max"),
        (v1::QueueSettings { back_off_first_ms: Some(9), back_off_last_ms: Some(8), ..three }, "back-off-last"),
    ] {
        let update = v1::UpdateQueueRequest { queue: JOBS.into(), settings: Some(wrong) };
        let status = client.update_queue(update).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(word), "{}", status.message());
    }
    let status = client.create_queue(v1::CreateQueueRequest { r#type: 9, ..request(three) }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let status = client.create_queue(v1::CreateQueueRequest { queue: "no good".into(), ..request(three) }).await;
    assert_eq!(refusal(&status.unwrap_err()).code(), Code::InvalidName);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn queues_and_messages_are_listed_page_by_page() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut client = queues(&node).await;
    for queue in ["jobs", "team", "team-b", "team/a", "team/b/c", "zoo"] {
        client.create_queue(v1::CreateQueueRequest { queue: queue.into(), ..Default::default() }).await.unwrap();
    }
    let request = v1::ListQueuesRequest { prefix: "team/".into(), page_size: 1, ..Default::default() };
    let first = client.list_queues(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.queues[0].name.as_str(), first.next_page_token.as_str()), ("team/a", "team/a"));
    let request = v1::ListQueuesRequest { page_token: first.next_page_token, ..request };
    let second = client.list_queues(request).await.unwrap().into_inner();
    assert_eq!((second.queues[0].name.as_str(), second.next_page_token.as_str()), ("team/b/c", ""));
    assert_eq!(client.list_queues(v1::ListQueuesRequest::default()).await.unwrap().into_inner().queues.len(), 6);

    publish(&node, messages(0..250)).await.unwrap();
    let mut request =
        v1::ListMessagesRequest { queue: JOBS.into(), part: v1::QueuePart::Waiting.into(), ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let page = client.list_messages(request.clone()).await.unwrap().into_inner();
        pages.push(page.messages.len());
        request.after_message_id = page.messages.last().unwrap().message_id;
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, [100, 100, 50]);
    publish(&node, vec![message("x".repeat(400_000)); 4]).await.unwrap();
    request.with_message = true;
    let page = client.list_messages(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.messages.len(), page.more), (3, true), "a page is bounded by its bytes");
    request.message_id = 7;
    let one = client.list_messages(request).await.unwrap().into_inner().messages;
    assert_eq!((one[0].message_id, one[0].message.clone()), (7, Some(message("6"))));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_those_that_break_the_protocol_are_told_how() {
    let directory = tempdir().unwrap();
    let mut settings = settings(&directory);
    settings.limits.producers = 1;
    settings.limits.consumers = 1;
    let node = Node::start(settings).await.unwrap();
    create(&node, v1::QueueSettings::default()).await;
    let producer = Producer::open(&node, "p").await;
    let consumer = Consumer::open(&node, 1).await;
    let status = Producer::try_open(&node, JOBS, "q").await.map(drop).unwrap_err();
    assert_eq!((status.code(), refusal(&status).limit_max), (tonic::Code::ResourceExhausted, 1));
    assert!(status.message().contains("limits.producers"), "{}", status.message());
    let status = Consumer::try_open(&node, JOBS, 1).await.map(drop).unwrap_err();
    assert!(status.message().contains("limits.consumers"), "{}", status.message());
    drop((producer, consumer));
    // Places are given back when the streams are gone.
    let opened = async {
        while Producer::try_open(&node, JOBS, "q").await.is_err() {}
        while let Err(status) = Consumer::try_open(&node, JOBS, 65_537).await {
            if status.code() != tonic::Code::ResourceExhausted {
                return status;
            }
        }
        panic!("a window without bounds");
    };
    let status = soon("a place", opened).await;
    assert!(status.message().contains("65536"), "{}", status.message());
    let empty = async {
        loop {
            match Producer::try_open(&node, JOBS, "").await.map(drop) {
                Err(status) if status.code() == tonic::Code::InvalidArgument => return status,
                Err(_) => {}
                Ok(()) => panic!("a producer without a name"),
            }
        }
    };
    let status = soon("a refusal", empty).await;
    assert!(status.message().contains("producer id"), "{}", status.message());
    node.shutdown().await.unwrap();
}
