//! A producer that publishes to the members of a cluster.
//!
//! # Always true
//! * **PC1, never dropped**: a message that was taken in is stored by a member, or who published it is told that it is
//!   not, or it is on its way to a further member.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use roster_core::queue::{Message, QueueName, Settings};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::member::QueueCluster;
use super::pending::{ClusterPending, ClusterReceipt, is_final};
use super::producing::{Homeless, Lines, Producing};
use crate::cluster::{Cluster, Member, Picked, Picker, Sticky};
use crate::error::Error;
use crate::queue::format::{Encode, Json};

/// Between two looks whether everything is answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Messages in a row to the same member.
const STICKY_DEFAULT: u32 = 1024;
/// How long one member has to store a message.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(5);

/// What a producer of a cluster is started with.
#[must_use = "a producer does nothing until it is started"]
pub struct ClusterProducerBuilder<T: ?Sized, C = Json> {
    members: QueueCluster,
    queue: QueueName,
    create: Option<Settings>,
    buffer: Option<(usize, u64)>,
    timeout: Option<Duration>,
    patience: Duration,
    picker: Box<dyn Picker>,
    format: PhantomData<fn(&T) -> C>,
}

impl<T: ?Sized> ClusterProducerBuilder<T> {
    pub(super) fn new(members: QueueCluster, queue: QueueName) -> Self {
        let picker = Box::new(Sticky::new(STICKY_DEFAULT).starting_at(fastrand::f64()));
        let patience = PATIENCE_DEFAULT;
        Self { members, queue, create: None, buffer: None, timeout: None, patience, picker, format: PhantomData }
    }
}

impl<T: ?Sized, C> ClusterProducerBuilder<T, C> {
    /// Another format than JSON.
    pub fn format<D: Encode<T>>(self) -> ClusterProducerBuilder<T, D> {
        let Self { members, queue, create, buffer, timeout, patience, picker, format: _ } = self;
        ClusterProducerBuilder { members, queue, create, buffer, timeout, patience, picker, format: PhantomData }
    }

    /// Gets or creates the queue with these settings at each member. Without this a member that does not
    /// have it is of no use.
    pub fn create(mut self, settings: Settings) -> Self {
        self.create = Some(settings);
        self
    }

    /// What each member may leave unanswered; see
    /// [`ProducerBuilder::buffer`](crate::queue::ProducerBuilder::buffer).
    pub fn buffer(mut self, messages: usize, bytes: u64) -> Self {
        self.buffer = Some((messages, bytes));
        self
    }

    /// How long a message may take until a member has stored it; by default as long as it takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long one member has to store a message, 5 s by default; then another gets it, and this one is
    /// passed over for a while. So one whose queue is full does not hold up the others. What it stores all
    /// the same is stored twice.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// That many messages in a row to the same member before the next; 1024 by default.
    pub fn sticky(self, times: u32) -> Self {
        self.picker(Sticky::new(times).starting_at(fastrand::f64()))
    }

    /// Another way to choose.
    pub fn picker(mut self, picker: impl Picker) -> Self {
        self.picker = Box::new(picker);
        self
    }

    /// Follows the members from here on, with a stream to each.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> ClusterProducer<T, C>
    where
        C: Encode<T>,
    {
        let Self { members, queue, create, buffer, timeout, patience, picker, format } = self;
        let QueueCluster { registry, service } = members;
        let (lines, homeless) = (Lines::default(), Arc::<Homeless>::default());
        let connector = Producing {
            registry: registry.clone(),
            queue,
            create,
            buffer,
            patience,
            lines: lines.clone(),
            homeless: homeless.clone(),
        };
        let cluster = registry.cluster_of(service, connector).boxed_picker(picker).build();
        // Begins to connect.
        let _ = cluster.members();
        let inner = Arc::new(Inner { cluster, timeout, lines, homeless: homeless.clone() });
        let rehoming = tokio::spawn(rehome(Arc::downgrade(&inner), homeless));
        ClusterProducer { owner: Arc::new(Owner { inner, rehoming }), format }
    }
}

impl<T: ?Sized, C> fmt::Debug for ClusterProducerBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterProducerBuilder").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Publishes to the members of a cluster, over one stream to each. Clones share them.
///
/// When the last clone is dropped its streams end; [`close`](Self::close) waits for what is under way.
pub struct ClusterProducer<T: ?Sized, C = Json> {
    owner: Arc<Owner>,
    format: PhantomData<fn(&T) -> C>,
}

struct Owner {
    inner: Arc<Inner>,
    rehoming: JoinHandle<()>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.rehoming.abort();
    }
}

pub(super) struct Inner {
    cluster: Cluster<Producing>,
    timeout: Option<Duration>,
    lines: Lines,
    pub(super) homeless: Arc<Homeless>,
}

impl Inner {
    async fn pick(&self, until: Option<Instant>) -> Result<Picked<Producing>, Error> {
        // Without a limit it waits in spans of a day.
        let day = Duration::from_secs(24 * 3600);
        let waiting = || until.map_or(day, |until| until.saturating_duration_since(Instant::now()));
        loop {
            match self.cluster.get_or_wait(waiting()).await {
                Ok(picked) => return Ok(picked),
                Err(none) if until.is_some() || none.is_final() => return Err(Error::NoMember(Box::new(none))),
                Err(_) => {}
            }
        }
    }

    fn until(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    /// Within the time that a message may take.
    async fn in_time<T>(
        &self,
        until: Option<Instant>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (Some(until), Some(deadline)) = (until, self.timeout) else { return work.await };
        match tokio::time::timeout_at(until, work).await {
            Ok(done) => done,
            Err(_) => {
                let endpoint = format!("the members of {}", self.cluster.service());
                Err(Error::TimedOut { call: "publish", endpoint, deadline })
            }
        }
    }

    /// Hands it to a member; nothing is answered yet.
    async fn hand_out(self: &Arc<Self>, message: Message) -> Result<ClusterPending, Error> {
        let until = self.until();
        self.in_time(until, self.hand_out_by(message, until)).await
    }

    async fn hand_out_by(self: &Arc<Self>, message: Message, until: Option<Instant>) -> Result<ClusterPending, Error> {
        loop {
            let picked = self.pick(until).await?;
            match picked.producer.publish_message_soon(message.clone()).await {
                Ok(pending) => return Ok(ClusterPending::new(self.clone(), picked.instance().id, pending)),
                Err(error) if is_final(&error) => return Err(error),
                // It has ended meanwhile; the cluster knows.
                Err(error) => self.cluster.report_broken(&picked, &error.to_string()),
            }
        }
    }

    /// Hands it to one member after the other until one has stored it.
    pub(super) async fn publish(self: Arc<Self>, message: Message) -> Result<ClusterReceipt, Error> {
        let until = self.until();
        self.in_time(until, self.publish_by(message, until)).await
    }

    async fn publish_by(&self, message: Message, until: Option<Instant>) -> Result<ClusterReceipt, Error> {
        loop {
            let picked = self.pick(until).await?;
            let member = picked.instance().id;
            let error = match picked.producer.publish_message_soon(message.clone()).await {
                Ok(pending) => match pending.await {
                    Ok(receipt) => return Ok(ClusterReceipt { member, receipt }),
                    Err(lost) => lost.error,
                },
                Err(error) => error,
            };
            if is_final(&error) {
                return Err(error);
            }
            self.cluster.report_broken(&picked, &error.to_string());
        }
    }
}

/// Publishes elsewhere what a member did not answer, for those who did not wait.
async fn rehome(inner: Weak<Inner>, homeless: Arc<Homeless>) {
    loop {
        let message = homeless.next().await;
        let Some(inner) = inner.upgrade() else { return };
        match inner.hand_out(message).await {
            // Dropped, it comes back here when that member goes, too.
            Ok(pending) => drop(pending),
            Err(error) => tracing::error!(%error, "a message that nobody waits for could not be published"),
        }
    }
}

impl<T: ?Sized, C: Encode<T>> ClusterProducer<T, C> {
    /// Publishes, and waits until a member has stored the message for good. When a member goes away, or
    /// has no room, before it answers, the next one gets it.
    ///
    /// # Errors
    /// [`Error::NotEncoded`] about the value, [`Error::Refused`] when no member would take it,
    /// [`Error::NoMember`] when none was found in time, with what is wrong with each.
    pub async fn publish(&self, value: &T) -> Result<ClusterReceipt, Error> {
        self.owner.inner.clone().publish(C::encode(value)?).await
    }

    /// Publishes, and returns as soon as a member's producer has taken it in.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub async fn publish_soon(&self, value: &T) -> Result<ClusterPending, Error> {
        self.publish_message_soon(C::encode(value)?).await
    }
}

impl<T: ?Sized, C> ClusterProducer<T, C> {
    /// Publishes a message as it is, say one with headers.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub async fn publish_message(&self, message: Message) -> Result<ClusterReceipt, Error> {
        self.owner.inner.clone().publish(message).await
    }

    /// Publishes a message as it is, and returns as soon as a member's producer has taken it in.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub async fn publish_message_soon(&self, message: Message) -> Result<ClusterPending, Error> {
        self.owner.inner.hand_out(message).await
    }

    /// The members, with how far this process has got with each.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.owner.inner.cluster.members()
    }

    /// Messages that are taken in and neither stored nor failed.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let inner = &self.owner.inner;
        let lines: usize = inner.lines.all().iter().map(|line| line.unanswered()).sum();
        lines + inner.homeless.len()
    }

    /// Waits until everything that was taken in is stored or has failed, at most so long, and ends.
    ///
    /// # Errors
    /// [`Error::Closed`] that says how many messages are not known to be stored.
    pub async fn close(self, deadline: Duration) -> Result<(), Error> {
        let until = Instant::now() + deadline;
        while self.unanswered() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let left = self.unanswered();
        self.owner.inner.cluster.clone().close().await;
        if left > 0 {
            let why = format!("{left} messages are not known to be stored");
            return Err(Error::Closed { what: "producer of the cluster".to_owned(), why });
        }
        Ok(())
    }
}

impl<T: ?Sized, C> Clone for ClusterProducer<T, C> {
    fn clone(&self) -> Self {
        Self { owner: self.owner.clone(), format: PhantomData }
    }
}

impl<T: ?Sized, C> fmt::Debug for ClusterProducer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterProducer").field("service", self.owner.inner.cluster.service()).finish_non_exhaustive()
    }
}
