//! One message that nobody can work on, among many that are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roster_client::queue::{Content, Contents, Delivery, MessagesQuery, QueueName, Settings};

use crate::node::Node;
use crate::{scale, soon, until};

const ATTEMPTS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_becomes_a_dead_letter_while_the_others_flow_on() {
    let messages = scale("ROSTER_TEST_POISONED_MESSAGES", 10_000);
    let poison = messages / 3;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let queue = QueueName::parse("poisoned").unwrap();
    let settings = Settings { attempts_max: ATTEMPTS, back_off_first_millis: 50, ..Settings::default() };
    let producer = node.client.producer::<u64>(queue.clone()).create(settings).start();
    let (worked, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let consumer = node.client.consumer::<u64>(queue.clone()).create(settings).start({
        let (worked, failed) = (worked.clone(), failed.clone());
        move |delivery: Delivery<u64>| {
            let counted = if delivery.value == poison { &failed } else { &worked };
            counted.fetch_add(1, Ordering::Relaxed);
            let is_poison = delivery.value == poison;
            async move { if is_poison { Err(format!("order {poison} has no address")) } else { Ok(()) } }
        }
    });
    for number in 0..messages {
        drop(producer.publish_soon(&number).await.unwrap());
    }
    soon("all is stored", producer.flush()).await;
    until("the others are worked on", || async { worked.load(Ordering::Relaxed) == messages - 1 }).await;
    let flowed = began.elapsed();
    until("a dead letter", || async { node.client.queues().get(&queue).await.unwrap().dead == 1 }).await;
    let died = began.elapsed();
    consumer.close(Duration::from_secs(10)).await.unwrap();

    assert_eq!(worked.load(Ordering::Relaxed), messages - 1, "nothing was delivered twice");
    assert_eq!(failed.load(Ordering::Relaxed), u64::from(ATTEMPTS));
    let query = MessagesQuery { part: Contents::Dead, content: Content::With, ..MessagesQuery::default() };
    let dead = node.client.queues().messages(&queue, query).await.unwrap().messages;
    let [dead] = dead.as_slice() else { panic!("{dead:?}") };
    assert_eq!(dead.message.as_ref().unwrap().payload()[..], *poison.to_string().as_bytes());
    assert_eq!(dead.reason.as_deref(), Some(format!("order {poison} has no address").as_str()));
    assert_eq!(dead.attempts, ATTEMPTS);
    let left = node.client.queues().get(&queue).await.unwrap();
    assert_eq!((left.waiting, left.in_flight, left.failed), (0, 0, 0));
    println!(
        "{messages} messages with a poison among them: the others done after {flowed:.1?}, the poison dead after \
         {ATTEMPTS} attempts and {died:.1?}"
    );
}
