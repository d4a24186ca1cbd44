//! One producer for each member, and what becomes of the messages of a member that goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roster_core::directory::Instance;
use roster_core::queue::{Message, QueueName, Settings};
use tokio::sync::{Notify, watch};

use super::member::{client_of, connected};
use crate::client::Client;
use crate::cluster::{Connect, ConnectError};
use crate::queue::format::Raw;
use crate::queue::link::Link;
use crate::queue::producer::Producer;

/// How long a member that leaves in order has to answer what is under way.
const FLUSH_DEADLINE: Duration = Duration::from_secs(3);

/// What is opened at each member.
#[derive(Debug)]
pub(super) struct Producing {
    pub(super) registry: Client,
    pub(super) queue: QueueName,
    pub(super) create: Option<Settings>,
    pub(super) buffer: Option<(usize, u64)>,
    /// How long a member has to store a message.
    pub(super) patience: Duration,
    pub(super) lines: Lines,
    pub(super) homeless: Arc<Homeless>,
}

/// What a member did not answer and for which nobody waits: to be published by another. No more than the
/// buffers of the members that went had room for.
#[derive(Debug, Default)]
pub(super) struct Homeless {
    messages: Mutex<Waiting>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// One is on its way to its next member.
    moving: bool,
}

impl Homeless {
    pub(super) fn add(&self, message: Message) {
        self.lock().messages.push_back(message);
        self.some.notify_one();
    }

    /// Ends a producer. What it gives back counts as unanswered there or here at any moment.
    fn take_over(&self, producer: &Producer<Message, Raw>) {
        self.lock().messages.extend(producer.abandon());
        self.some.notify_one();
    }

    /// The next one, which counts until the one after it is asked for.
    pub(super) async fn next(&self) -> Message {
        loop {
            {
                let mut waiting = self.lock();
                let next = waiting.messages.pop_front();
                waiting.moving = next.is_some();
                if let Some(next) = next {
                    return next;
                }
            }
            self.some.notified().await;
        }
    }

    pub(super) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.messages.len() + usize::from(waiting.moving)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The producer of one member.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) producer: Producer<Message, Raw>,
    link: watch::Receiver<Link>,
    homeless: Arc<Homeless>,
}

/// The producers that have not ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<Producer<Message, Raw>>>>);

impl Lines {
    fn add(&self, producer: Producer<Message, Raw>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| !matches!(&*line.link().borrow(), Link::Ended { .. }));
        lines.push(producer);
    }

    pub(super) fn all(&self) -> Vec<Producer<Message, Raw>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Connect for Producing {
    type Client = Line;

    async fn connect(&self, instance: &Instance) -> Result<Line, ConnectError> {
        let mut builder = client_of(&self.registry, instance)?.producer::<Message>(self.queue.clone()).format::<Raw>();
        if let Some(settings) = self.create {
            builder = builder.create(settings);
        }
        if let Some((messages, bytes)) = self.buffer {
            builder = builder.buffer(messages, bytes);
        }
        let producer = builder.timeout(self.patience).start();
        // Dropped before it stands, it is abandoned: nothing was given to it yet.
        let line = Line { link: producer.link(), homeless: self.homeless.clone(), producer };
        connected(line.link.clone()).await?;
        self.lines.add(line.producer.clone());
        Ok(line)
    }

    fn is_closed(&self, line: &Line) -> bool {
        !line.link.borrow().is_connected()
    }

    async fn closed(&self, line: &Line) -> String {
        let mut link = line.link.clone();
        match link.wait_for(|link| !link.is_connected()).await.as_deref() {
            Ok(Link::Away { why, .. } | Link::Ended { why }) => why.clone(),
            Ok(Link::Connecting | Link::Connected { .. }) | Err(_) => "its runtime is gone".to_owned(),
        }
    }

    /// What is under way is answered first, by a member that still can. The rest goes to others: those who
    /// wait find it in their error, and what nobody waits for is handed on from here.
    async fn disconnect(&self, _instance: &Instance, line: Arc<Line>) {
        if !self.is_closed(&line) {
            let gone = self.closed(&line);
            tokio::select! {
                () = line.producer.flush() => {}
                _ = gone => {}
                () = tokio::time::sleep(FLUSH_DEADLINE) => {}
            }
        }
        self.homeless.take_over(&line.producer);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.homeless.take_over(&self.producer);
    }
}
