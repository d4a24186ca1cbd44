//! The queues of the node in memory: the core's machine and dispatchers, and who is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roster_core::Timestamp;
use roster_core::queue::{
    Attempt, Command, ConsumerId, Deliveries, Dispatcher, Effects, Failure, MessageId, Outcome, Queue, QueueName,
    Queues, Reason, Refusal, Window,
};
use roster_proto::convert::{encode_delivery, status_of};
use roster_proto::v1;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant};
use tonic::Status;

pub(super) type ConsumeSender = mpsc::Sender<Result<v1::ConsumeResponse, Status>>;

const EPOCH_MILLIS: u64 = 1_700_000_000_000;
/// Half of the longest: this node has no luck.
const CHANCE: u32 = 0;

#[derive(Debug)]
pub(super) struct Stock {
    pub(super) queues: Queues,
    pub(super) dispatchers: BTreeMap<QueueName, Dispatcher>,
    consumers: BTreeMap<ConsumerId, (QueueName, ConsumeSender)>,
    last_consumer: u64,
    /// For the next batches.
    pub(super) refusals: VecDeque<v1::Refusal>,
    /// Batches that came, repeated and refused ones included.
    pub(super) batches: usize,
    started: Instant,
}

impl Stock {
    fn new() -> Self {
        Self {
            queues: Queues::new(),
            dispatchers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            last_consumer: 0,
            refusals: VecDeque::new(),
            batches: 0,
            started: Instant::now(),
        }
    }

    /// Applies, and delivers what has become ready.
    pub(super) fn apply(&mut self, command: Command) -> Outcome {
        let (name, now) = (command.queue().cloned(), self.now());
        let mut effects = Effects::default();
        let outcome = self.queues.apply(now, command, &mut effects);
        let Some(name) = name else { return outcome };
        match self.queues.queue(&name) {
            Some(queue) => {
                let dispatcher = self.dispatchers.entry(name.clone()).or_insert_with(|| Dispatcher::new(queue));
                dispatcher.take_in(queue, &effects);
                self.deliver(&name);
            }
            None => {
                self.dispatchers.remove(&name);
                let refusal = Refusal::UnknownQueue { queue: name.clone() };
                self.consumers.retain(|_, (queue, sender)| {
                    if *queue == name {
                        let _ = sender.try_send(Err(status_of(&refusal.clone().into())));
                    }
                    *queue != name
                });
            }
        }
        outcome
    }

    pub(super) fn join(&mut self, queue: &QueueName, window: Window, sender: ConsumeSender) -> Option<ConsumerId> {
        self.last_consumer += 1;
        let consumer = ConsumerId(self.last_consumer);
        self.dispatchers.get_mut(queue)?.join(consumer, window);
        self.consumers.insert(consumer, (queue.clone(), sender));
        Some(consumer)
    }

    pub(super) fn leave(&mut self, consumer: ConsumerId) {
        let Some((queue, _)) = self.consumers.remove(&consumer) else { return };
        let attempts = self.dispatchers.get_mut(&queue).map(|dispatcher| dispatcher.leave(consumer));
        if let Some(attempts) = attempts.filter(|attempts| !attempts.is_empty()) {
            self.apply(Command::Release { queue, attempts });
        }
    }

    /// The words of one request. Returns what is to be told at once.
    pub(super) fn hear(&mut self, consumer: ConsumerId, request: v1::ConsumeRequest) {
        let now = self.now();
        let Some((name, sender)) = self.consumers.get(&consumer).cloned() else { return };
        let (Some(queue), Some(dispatcher)) = (self.queues.queue(&name), self.dispatchers.get_mut(&name)) else {
            return;
        };
        if let Some(window) = request.window.and_then(|window| Window::of_messages(window).ok()) {
            dispatcher.join(consumer, window);
        }
        for extend in request.extend {
            let until = Timestamp::new(now.get() + u64::from(extend.extra_ms));
            dispatcher.extend(now, consumer, MessageId::new(extend.message_id), until);
        }
        let handed_back: Vec<_> = request.hand_back.into_iter().map(MessageId::new).collect();
        dispatcher.hand_back(queue, consumer, &handed_back);
        let acknowledged: Vec<_> = request.acknowledge.into_iter().map(MessageId::new).collect();
        let messages = dispatcher.acknowledge(queue, consumer, &acknowledged);
        let mut failures = Vec::new();
        for nack in request.nack {
            let Some(attempt) = dispatcher.fail(consumer, MessageId::new(nack.message_id)) else { continue };
            let delay = nack.delay_ms.and_then(|millis| roster_core::queue::Delay::from_millis(millis).ok());
            let delay = delay.unwrap_or_else(|| queue.settings().back_off(attempt.attempt, CHANCE));
            failures.push(Failure { attempt, delay, reason: Reason::new(&nack.reason) });
        }
        self.apply(Command::Acknowledge { queue: name.clone(), messages });
        self.apply(Command::Fail { queue: name, failures });
        if request.confirm > 0 {
            let _ = sender.try_send(Ok(v1::ConsumeResponse { confirmed: request.confirm, ..Default::default() }));
        }
    }

    /// What is kept stays, who is connected does not.
    pub(super) fn restart(&mut self) {
        self.consumers.clear();
        self.queues.apply(self.now(), Command::StartNode, &mut Effects::default());
        for (name, dispatcher) in &mut self.dispatchers {
            *dispatcher = self.queues.queue(name).map(Dispatcher::new).unwrap_or_default();
        }
    }

    pub(super) fn wipe(&mut self) {
        self.queues = Queues::new();
        self.dispatchers.clear();
        self.consumers.clear();
    }

    pub(super) fn consumers_of(&self, queue: &QueueName) -> u32 {
        u32::try_from(self.consumers.values().filter(|(name, _)| name == queue).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn deliver(&mut self, name: &QueueName) {
        let now = self.now();
        let (Some(queue), Some(dispatcher)) = (self.queues.queue(name), self.dispatchers.get_mut(name)) else { return };
        let mut deliveries = Deliveries::new();
        dispatcher.deliver(now, queue, &mut deliveries);
        for (consumer, deliveries) in deliveries {
            if let Some((_, sender)) = self.consumers.get(&consumer) {
                let deliveries = deliveries.iter().map(encode_delivery).collect();
                // A reader that is far behind: the deadline of the message passes.
                let _ = sender.try_send(Ok(v1::ConsumeResponse { deliveries, ..Default::default() }));
            }
        }
    }

    fn fall_due(&mut self) -> Option<Instant> {
        let now = self.now();
        let is_due = |(name, dispatcher): &(&QueueName, &Dispatcher)| {
            let wake = self.queues.queue(name).and_then(|queue| dispatcher.next_wake(queue));
            wake.is_some_and(|wake| wake <= now)
        };
        let due: Vec<_> = self.dispatchers.iter().filter(is_due).map(|(name, _)| name.clone()).collect();
        for name in due {
            let Some(queue) = self.queues.queue(&name) else { continue };
            let settings = *queue.settings();
            let expired = self.dispatchers.get_mut(&name).map(|dispatcher| dispatcher.expire(now)).unwrap_or_default();
            if expired.is_empty() {
                self.deliver(&name);
                continue;
            }
            let failure = |attempt: Attempt| Failure {
                attempt,
                delay: settings.back_off(attempt.attempt, CHANCE),
                reason: Reason::new("it was not acknowledged in time"),
            };
            let failures = expired.into_iter().map(failure).collect();
            self.apply(Command::Fail { queue: name, failures });
        }
        let wake = |(name, dispatcher): (&QueueName, &Dispatcher)| dispatcher.next_wake(self.queues.queue(name)?);
        let next = self.dispatchers.iter().filter_map(wake).min()?;
        Some(self.started + Duration::from_millis(next.get().saturating_sub(EPOCH_MILLIS)))
    }

    fn now(&self) -> Timestamp {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp::new(EPOCH_MILLIS + millis)
    }
}

/// The stock behind its lock.
#[derive(Debug)]
pub(super) struct Depot {
    stock: Mutex<Stock>,
    changed: Notify,
    /// For those who wait for room in a queue.
    pub(super) room: Notify,
}

impl Depot {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { stock: Mutex::new(Stock::new()), changed: Notify::new(), room: Notify::new() })
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Stock) -> T) -> T {
        let result = self.add(act);
        self.room.notify_waiters();
        result
    }

    /// What makes no room in a queue.
    pub(super) fn add<T>(&self, act: impl FnOnce(&mut Stock) -> T) -> T {
        let result = act(&mut self.lock());
        self.changed.notify_one();
        result
    }

    /// One queue, if it is there.
    pub(super) fn read<T>(&self, name: &QueueName, question: impl FnOnce(&Stock, &Queue) -> T) -> Option<T> {
        let stock = self.lock();
        Some(question(&stock, stock.queues.queue(name)?))
    }

    /// Lets fall due what falls due, for ever.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = self.lock().fall_due();
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
