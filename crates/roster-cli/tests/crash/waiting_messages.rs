//! Many messages that wait: what they cost in memory, how soon they are there again after a kill, and a
//! rebuild in the middle of publishing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use roster_client::Client;
use roster_client::queue::{Producer, QueueName, Raw, Settings};

use crate::node::Node;
use crate::{scale, soon};

const BYTES: usize = 100;

async fn publish(producer: &Producer<Bytes, Raw>, number: u64) {
    let mut payload = BytesMut::with_capacity(BYTES);
    payload.put_u64_le(number);
    payload.put_bytes(b'x', BYTES - 8);
    drop(producer.publish_soon(&payload.freeze()).await.unwrap());
}

/// Takes so many messages; each number must come once, in order.
async fn consume_all(client: &Client, queue: &QueueName, messages: u64) {
    let mut consumer = client.consumer::<Bytes>(queue.clone()).format::<Raw>().concurrency(1_024).unwrap().pull();
    for number in 0..messages {
        let claim = soon("a message", consumer.next()).await.unwrap();
        let found = u64::from_le_bytes(claim.value[..8].try_into().unwrap());
        assert_eq!((found, claim.attempt, claim.value.len()), (number, 1, BYTES));
        claim.ack();
    }
    consumer.close(Duration::from_secs(30)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_survive_a_kill_and_a_rebuild_while_more_are_published() {
    let messages = scale("ROSTER_TEST_WAITING", 20_000);
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), &[]);
    let queue = QueueName::parse("waiting").unwrap();
    let settings = Settings { waiting_max: 4 * messages.max(250_000), ..Settings::default() };
    node.client.queues().create(&queue, settings).await.unwrap();
    let idle = node.resident_bytes();
    let producer = node.client.producer::<Bytes>(queue.clone()).format::<Raw>().start();
    for number in 0..messages {
        publish(&producer, number).await;
    }
    producer.flush().await;
    producer.close(Duration::from_secs(10)).await.unwrap();
    let each = (node.resident_bytes() - idle) / messages;

    node.kill();
    let start = Instant::now();
    node = Node::start_at(node.listen, folder.path(), &[]);
    let restarted = start.elapsed();
    assert_eq!(node.client.queues().get(&queue).await.unwrap().waiting, messages);
    let each_restored = node.resident_bytes().saturating_sub(idle) / messages;

    // More comes until the rebuild is done.
    let (rebuilt, client) = (Arc::new(AtomicBool::new(false)), node.client.clone());
    let rebuilding = tokio::spawn({
        let rebuilt = rebuilt.clone();
        async move {
            let start = Instant::now();
            let done = client.rebuild().await.unwrap();
            rebuilt.store(true, Ordering::Relaxed);
            (done, start.elapsed())
        }
    });
    let producer = node.client.producer::<Bytes>(queue.clone()).format::<Raw>().start();
    let (mut published, mut slowest) = (messages, Duration::ZERO);
    while !rebuilt.load(Ordering::Relaxed) && published < 4 * messages {
        let since = Instant::now();
        for _ in 0..100 {
            publish(&producer, published).await;
            published += 1;
        }
        producer.flush().await;
        slowest = slowest.max(since.elapsed());
    }
    producer.close(Duration::from_secs(10)).await.unwrap();
    let (_, rebuild) = soon("a rebuild", rebuilding).await.unwrap();

    node.kill();
    node = Node::start_at(node.listen, folder.path(), &[]);
    assert_eq!(node.client.queues().get(&queue).await.unwrap().waiting, published);
    consume_all(&node.client, &queue, published).await;
    let left = node.client.queues().get(&queue).await.unwrap();
    assert_eq!((left.waiting, left.in_flight, left.failed, left.dead), (0, 0, 0, 0));
    println!(
        "{messages} messages of {BYTES} bytes wait: {each} bytes of memory each, {each_restored} after a restart, which \
         took {restarted:.3?}; a rebuild took {rebuild:.3?}, {} more were published meanwhile, the slowest hundred in \
         {slowest:.1?}; all {published} were there after another kill",
        published - messages,
    );
}
