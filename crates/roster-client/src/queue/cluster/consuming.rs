//! One consumer for each member, all with the same handler.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use roster_core::directory::Instance;
use roster_core::queue::{QueueName, Settings};
use tokio::sync::watch;

use super::member::{client_of, connected};
use crate::client::Client;
use crate::cluster::{Connect, ConnectError};
use crate::queue::consumer::{Consumer, ConsumerCounts, Delivery};
use crate::queue::format::Decode;
use crate::queue::link::Link;

/// How long handlers have when their member has left: what they do is not heard of any more.
const FINISH_DEADLINE: Duration = Duration::from_secs(3);

/// What is opened at each member.
pub(super) struct Consuming<T, C, H> {
    pub(super) registry: Client,
    pub(super) queue: QueueName,
    pub(super) create: Option<Settings>,
    pub(super) concurrency: u32,
    pub(super) handler: Arc<H>,
    pub(super) tally: Tally,
    pub(super) format: PhantomData<fn() -> (T, C)>,
}

/// The consumer of one member, until it is closed.
type Slot = Mutex<Option<Consumer>>;

/// The consumer of one member.
pub(super) struct Line {
    slot: Arc<Slot>,
    link: watch::Receiver<Link>,
}

/// What all consumers have seen, those that have ended included.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    ended: ConsumerCounts,
    open: Vec<Weak<Slot>>,
}

impl Tally {
    fn add(&self, slot: &Arc<Slot>) {
        let mut counted = self.lock();
        counted.open.retain(|slot| slot.strong_count() > 0);
        counted.open.push(Arc::downgrade(slot));
    }

    /// Takes the consumer out; what it has seen stays.
    fn close(&self, slot: &Slot) -> Option<Consumer> {
        let mut counted = self.lock();
        let consumer = lock(slot).take()?;
        add(&mut counted.ended, consumer.counts());
        Some(consumer)
    }

    pub(super) fn counts(&self) -> ConsumerCounts {
        let counted = self.lock();
        let mut counts = counted.ended;
        for slot in counted.open.iter().filter_map(Weak::upgrade) {
            add(&mut counts, lock(&slot).as_ref().map(Consumer::counts).unwrap_or_default());
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Consumer>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(counts: &mut ConsumerCounts, more: ConsumerCounts) {
    let ConsumerCounts { delivered, acknowledged, nacked, redelivered, duplicates } = more;
    counts.delivered += delivered;
    counts.acknowledged += acknowledged;
    counts.nacked += nacked;
    counts.redelivered += redelivered;
    counts.duplicates += duplicates;
}

impl<T, C, H, F, E> Connect for Consuming<T, C, H>
where
    T: Send + 'static,
    C: Decode<T>,
    H: Fn(Delivery<T>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: fmt::Display + 'static,
{
    type Client = Line;

    async fn connect(&self, instance: &Instance) -> Result<Line, ConnectError> {
        let mut builder = client_of(&self.registry, instance)?.consumer::<T>(self.queue.clone()).format::<C>();
        if let Some(settings) = self.create {
            builder = builder.create(settings);
        }
        let handler = self.handler.clone();
        let consumer = builder.concurrency(self.concurrency)?.start(move |delivery| handler(delivery));
        let link = consumer.link();
        let slot = Arc::new(Mutex::new(Some(consumer)));
        connected(link.clone()).await?;
        self.tally.add(&slot);
        Ok(Line { slot, link })
    }

    /// A stream that is lost is opened again by the consumer itself, whose handlers go on meanwhile.
    async fn closed(&self, line: &Line) -> String {
        let mut link = line.link.clone();
        match link.wait_for(|link| matches!(link, Link::Ended { .. })).await.as_deref() {
            Ok(Link::Ended { why }) => why.clone(),
            Ok(Link::Connecting | Link::Connected { .. } | Link::Away { .. }) | Err(_) => {
                "its runtime is gone".to_owned()
            }
        }
    }

    async fn disconnect(&self, _instance: &Instance, line: Arc<Line>) {
        if let Some(consumer) = self.tally.close(&line.slot)
            && let Err(error) = consumer.close(FINISH_DEADLINE).await
        {
            tracing::debug!(%error, "the consumer of a member that left did not end in order");
        }
    }
}
