//! A consumer that is killed with a window full of messages, and another that gets them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roster_client::queue::{QueueName, Raw, Settings};

use crate::node::{Node, roster};
use crate::{scale, soon, until};

/// The window of `roster queue consume`.
const HELD: u64 = 256;
/// Few of them fill a pipe that nobody reads; what fills it is acknowledged, and no more.
const PAYLOAD_BYTES: usize = 1024;
const PUBLISHED: u64 = 2 * HELD;
/// Between two looks whether a pipe is full.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A loaded machine may need more than the node does.
const REDELIVERED_WITHIN: Duration = Duration::from_secs(2);

/// Killed when it is dropped.
struct Consumer(Child);

impl Consumer {
    /// `roster queue consume`, with a standard output that nobody reads.
    fn start(node: &Node, queue: &QueueName) -> Self {
        let mut command = roster();
        command.args(["queue", "consume", queue.as_str(), "--server", &node.url()]);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the consumer has a full window and cannot acknowledge any of it; how many it did acknowledge.
async fn stuck(node: &Node, queue: &QueueName) -> u64 {
    let mut before = None;
    let looking = async {
        loop {
            let status = node.client.queues().get(queue).await.unwrap();
            let found = (status.in_flight == HELD).then_some(status.totals.acknowledged);
            match found {
                Some(acknowledged) if before == found => return acknowledged,
                Some(_) | None => before = found,
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    soon("the consumer is stuck", looking).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_consumer_held_goes_to_another_at_once() {
    let trials = scale("ROSTER_TEST_CONSUMER_KILLS", 3);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let queue = QueueName::parse("held").unwrap();
    node.client.queues().create(&queue, Settings::default()).await.unwrap();
    let producer = node.client.producer::<Bytes>(queue.clone()).format::<Raw>().start();
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let mut acknowledged = 0;
    for _ in 0..trials {
        let mut victim = Consumer::start(&node, &queue);
        until("the consumer is there", || async { node.client.queues().get(&queue).await.unwrap().consumers == 1 })
            .await;
        for _ in 0..PUBLISHED {
            drop(producer.publish_soon(&Bytes::from(vec![b'x'; PAYLOAD_BYTES])).await.unwrap());
        }
        let printed = stuck(&node, &queue).await - acknowledged;
        // Another works on what the victim has no room for.
        let mut other = node.client.consumer::<Bytes>(queue.clone()).format::<Raw>().pull();
        for _ in 0..PUBLISHED - HELD - printed {
            let claim = soon("a message", other.next()).await.unwrap();
            assert_eq!(claim.attempt, 1);
            claim.ack();
        }
        acknowledged += PUBLISHED - HELD;
        until("the rest is done", || async {
            node.client.queues().get(&queue).await.unwrap().totals.acknowledged == acknowledged
        })
        .await;

        let killed = Instant::now();
        victim.kill();
        let mut ids = std::collections::BTreeSet::new();
        for number in 0..HELD {
            let claim = soon("a redelivery", other.next()).await.unwrap();
            if number == 0 {
                firsts.push(killed.elapsed());
            }
            assert_eq!(claim.attempt, 2, "the delivery to the killed one counts");
            assert!(ids.insert(claim.id), "message {} came twice", claim.id);
            claim.ack();
        }
        lasts.push(killed.elapsed());
        acknowledged += HELD;
        other.close(Duration::from_secs(10)).await.unwrap();
    }
    let left = node.client.queues().get(&queue).await.unwrap();
    assert_eq!((left.waiting, left.in_flight, left.failed, left.dead), (0, 0, 0, 0));
    firsts.sort();
    lasts.sort();
    let median = |times: &[Duration]| times[times.len() / 2];
    let slowest = *lasts.last().unwrap();
    println!(
        "{trials} consumers killed with {HELD} in flight: the first message was with another after {:.1?} (median), \
         the last after {:.1?} (median), {slowest:.1?} (slowest trial)",
        median(&firsts),
        median(&lasts),
    );
    assert!(slowest < REDELIVERED_WITHIN, "{slowest:?}");
}
