//! A node with two queues as a model: the machine, its dispatchers, a log that lags behind, and a second,
//! simple book about who holds what, against which each delivery is checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use roster_core::Timestamp;
use roster_core::queue::{
    Attempt, Command, ConsumerId, DeadLetters, Delay, Deliveries, Dispatcher, Effects, Failure, Message, MessageId,
    Origin, Outcome, Place, ProducerId, QueueName, Queues, Reason, Refusal, Settings, Window,
};

use super::queue_sequence::Step;

mod checks;

/// One applied command with all that came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Applied {
    pub(crate) at: Timestamp,
    pub(crate) command: Command,
    pub(crate) outcome: Outcome,
    pub(crate) effects: Effects,
}

#[derive(Debug)]
struct Consumer {
    queue: QueueName,
    window: u32,
    /// What it was ever given, also before it acknowledged.
    given: Vec<MessageId>,
    /// What it holds, and until when.
    held: BTreeMap<MessageId, Timestamp>,
    /// The count of deliveries and arrivals at its last one.
    served: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) queues: Queues,
    dispatchers: BTreeMap<QueueName, Dispatcher>,
    /// What the log has not taken yet.
    pending: VecDeque<Command>,
    pub(crate) log: Vec<Applied>,
    pub(crate) now: Timestamp,
    consumers: BTreeMap<ConsumerId, Consumer>,
    /// Consumers that left, with what they were given.
    past: Vec<(QueueName, Vec<MessageId>)>,
    last_consumer: u64,
    clock: u64,
    sequences: BTreeMap<(QueueName, ProducerId), u64>,
    /// What was delivered for the first time, since the node started.
    newest: BTreeMap<QueueName, MessageId>,
    /// Of which the dispatcher does not know that they are being acknowledged: a stray word says so, or one
    /// of two such words was refused.
    exempt: BTreeSet<(QueueName, MessageId)>,
    pub(crate) deliveries: usize,
    pub(crate) most_shared: usize,
}

pub(crate) fn name(queue: usize) -> QueueName {
    QueueName::parse(["jobs", "team/mail"][queue]).unwrap()
}

fn settings(attempts_max: u32) -> Settings {
    Settings {
        in_flight_max: 6,
        ack_timeout_millis: 1000,
        attempts_max,
        back_off_first_millis: 100,
        back_off_last_millis: 300,
        message_bytes_max: 2,
        waiting_max: 20,
        waiting_bytes_max: 25,
    }
}

impl Node {
    pub(crate) fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Create { queue, attempts } => {
                self.pending.push_back(Command::CreateQueue { queue: name(queue), settings: settings(attempts) });
            }
            Step::Update { queue, attempts, in_flight } => {
                let settings = Settings { in_flight_max: in_flight, ..settings(attempts) };
                self.pending.push_back(Command::UpdateSettings { queue: name(queue), settings });
            }
            Step::Delete { queue } => self.pending.push_back(Command::DeleteQueue { queue: name(queue) }),
            Step::Publish { queue, messages, bytes, producer } => self.publish(queue, messages, bytes, producer),
            Step::Join { queue, window } => self.join(&name(queue), window),
            Step::Reopen { consumer, window } => {
                if let Some(id) = self.pick(consumer) {
                    let known = self.consumers.get_mut(&id).unwrap();
                    (known.window, known.served) = (window, known.served);
                    let dispatcher = self.dispatchers.get_mut(&known.queue).unwrap();
                    dispatcher.join(id, Window::of_messages(window).unwrap());
                }
            }
            Step::Leave { consumer } => {
                if let Some(id) = self.pick(consumer) {
                    self.leave(id);
                }
            }
            Step::Acknowledge { consumer, picks } => self.acknowledge(consumer, &picks),
            Step::Fail { consumer, pick, delay } => self.fail(consumer, pick, delay),
            Step::Extend { consumer, pick, millis } => {
                let Some(id) = self.pick(consumer) else { return };
                let known = self.consumers.get_mut(&id).unwrap();
                let Some(&message) = known.given.get(pick % known.given.len().max(1)) else { return };
                let until = Timestamp::new(self.now.get() + millis);
                let dispatcher = self.dispatchers.get_mut(&known.queue).unwrap();
                let extended = dispatcher.extend(self.now, id, message, until);
                assert_eq!(extended, known.held.get(&message).map(|_| until), "extends what it holds");
                known.held.entry(message).and_modify(|deadline| *deadline = until);
            }
            Step::Wait { millis } => self.now = Timestamp::new(self.now.get() + millis),
            Step::Apply { commands } => (0..commands).for_each(|_| self.apply_next()),
            Step::Refuse => self.refuse(),
            Step::Restart => self.restart(),
            Step::Rebuild => {
                let items: Vec<_> = self.queues.snapshot().items().collect();
                self.queues = Queues::restore(items).unwrap();
            }
            Step::Purge { queue, contents } => {
                self.pending.push_back(Command::Purge { queue: name(queue), contents });
            }
            Step::Requeue { queue, all, pick } => {
                self.pending.push_back(Command::RequeueDead { queue: name(queue), dead: dead(all, pick) });
            }
            Step::Drop { queue, all, pick } => {
                self.pending.push_back(Command::DropDead { queue: name(queue), dead: dead(all, pick) });
            }
            Step::Stray { queue, id, attempt, word } => {
                let (queue, message) = (name(queue), MessageId::new(id));
                let attempt = Attempt { message, attempt };
                self.exempt.insert((queue.clone(), message));
                self.pending.push_back(match word % 3 {
                    0 => Command::Acknowledge { queue, messages: vec![message] },
                    1 => Command::Release { queue, attempts: vec![attempt, attempt] },
                    _ => Command::Fail { queue, failures: vec![failure(attempt, 10)] },
                });
            }
        }
        self.expire();
        self.deliver();
        self.check();
    }

    /// Everything settles: the log takes what there is, and one last consumer of each queue does all the work.
    pub(crate) fn finish(&mut self) {
        while !self.pending.is_empty() {
            self.step(&Step::Apply { commands: 1 });
        }
        let ids: Vec<_> = self.consumers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.leave(id));
        for queue in [0, 1] {
            self.join(&name(queue), 4);
        }
        for _ in 0..400 {
            self.deliver();
            let all: Vec<_> = self.consumers.keys().copied().collect();
            for id in all {
                let held: Vec<_> = self.consumers[&id].held.keys().copied().collect();
                self.acknowledge_these(id, &held);
            }
            self.step(&Step::Apply { commands: 9 });
            let wakes = self.dispatchers.iter().filter_map(|(name, one)| one.next_wake(self.queues.queue(name)?));
            self.now = wakes.min().unwrap_or(self.now).max(self.now);
        }
        for (name, queue) in self.queues.queues(None) {
            let counts = queue.counts();
            assert_eq!((counts.waiting, counts.failed), (0, 0), "K11: left in {name} for ever: {:?}", self.dispatchers);
        }
    }

    fn publish(&mut self, queue: usize, messages: usize, bytes: usize, producer: Option<(usize, u64)>) {
        let queue_name = name(queue);
        let origin = producer.map(|(producer, back)| {
            let producer = ProducerId::parse(["ada", "bob", "cy"][producer]).unwrap();
            let next = self.sequences.entry((queue_name.clone(), producer.clone())).or_insert(1);
            // Forward is a gap.
            let first = if back == u64::MAX { *next + 1 } else { next.saturating_sub(back).max(1) };
            *next = (*next).max(first + messages as u64);
            Origin { producer, first }
        });
        let message = || Message::plain(Bytes::from(vec![b'x'; bytes]));
        let messages = std::iter::repeat_with(message).take(messages).collect();
        self.pending.push_back(Command::Publish { queue: queue_name, origin, messages });
    }

    fn join(&mut self, queue: &QueueName, window: u32) {
        let Some(dispatcher) = self.dispatchers.get_mut(queue) else { return };
        self.last_consumer += 1;
        self.clock += 1;
        let id = ConsumerId(self.last_consumer);
        dispatcher.join(id, Window::of_messages(window).unwrap());
        let (queue, given, held, served) = (queue.clone(), Vec::new(), BTreeMap::new(), self.clock);
        self.consumers.insert(id, Consumer { queue, window, given, held, served });
    }

    fn leave(&mut self, id: ConsumerId) {
        let Consumer { queue, held, given, .. } = self.consumers.remove(&id).unwrap();
        self.past.push((queue.clone(), given));
        let attempts = self.dispatchers.get_mut(&queue).unwrap().leave(id);
        let released: Vec<_> = attempts.iter().map(|attempt| attempt.message).collect();
        assert_eq!(released, held.into_keys().collect::<Vec<_>>(), "all that it held is released");
        if !attempts.is_empty() {
            self.pending.push_back(Command::Release { queue, attempts });
        }
    }

    fn acknowledge(&mut self, consumer: usize, picks: &[usize]) {
        let Some(id) = self.pick(consumer) else { return };
        // Now and then it means what a consumer of before was given: it has come back.
        let known = &self.consumers[&id];
        let past = self.past.iter().rev().find(|(queue, given)| *queue == known.queue && !given.is_empty());
        let given = match past {
            Some((_, given)) if consumer.is_multiple_of(5) => given,
            Some(_) | None => &known.given,
        };
        let messages: Vec<_> = picks.iter().filter_map(|pick| given.get(pick % given.len().max(1))).copied().collect();
        self.acknowledge_these(id, &messages);
    }

    fn acknowledge_these(&mut self, id: ConsumerId, messages: &[MessageId]) {
        let known = self.consumers.get_mut(&id).unwrap();
        let queue = known.queue.clone();
        let dispatcher = self.dispatchers.get_mut(&queue).unwrap();
        let named = dispatcher.acknowledge(self.queues.queue(&queue).unwrap(), id, messages);
        known.held.retain(|id, _| !messages.contains(id));
        self.pending.push_back(Command::Acknowledge { queue, messages: named });
    }

    fn fail(&mut self, consumer: usize, pick: usize, delay: u32) {
        let Some(id) = self.pick(consumer) else { return };
        let known = self.consumers.get_mut(&id).unwrap();
        let Some(&message) = known.given.get(pick % known.given.len().max(1)) else { return };
        let attempt = self.dispatchers.get_mut(&known.queue).unwrap().fail(id, message);
        assert_eq!(attempt.is_some(), known.held.remove(&message).is_some(), "fails what it holds");
        let failures: Vec<_> = attempt.into_iter().map(|attempt| failure(attempt, delay)).collect();
        self.pending.push_back(Command::Fail { queue: known.queue.clone(), failures });
    }

    fn expire(&mut self) {
        for (queue, dispatcher) in &mut self.dispatchers {
            let expired = dispatcher.expire(self.now);
            let ids: BTreeSet<_> = expired.iter().map(|attempt| attempt.message).collect();
            let mut late = BTreeSet::new();
            for consumer in self.consumers.values_mut().filter(|consumer| consumer.queue == *queue) {
                late.extend(consumer.held.iter().filter(|(_, until)| **until <= self.now).map(|(id, _)| *id));
                consumer.held.retain(|_, until| *until > self.now);
            }
            assert_eq!(ids, late, "what is late expires, and nothing else");
            let settings = *self.queues.queue(queue).unwrap().settings();
            let failures: Vec<_> = expired
                .into_iter()
                .map(|attempt| failure(attempt, settings.back_off(attempt.attempt, 1 << 31).millis()))
                .collect();
            if !failures.is_empty() {
                self.pending.push_back(Command::Fail { queue: queue.clone(), failures });
            }
        }
    }

    fn apply_next(&mut self) {
        let Some(command) = self.pending.pop_front() else { return };
        let mut effects = Effects::default();
        let outcome = self.queues.apply(self.now, command.clone(), &mut effects);
        if let Some(name) = command.queue() {
            if let Some(queue) = self.queues.queue(name) {
                let dispatcher = self.dispatchers.entry(name.clone()).or_insert_with(|| Dispatcher::new(queue));
                dispatcher.take_in(queue, &effects);
                let is_settled = |id: &MessageId| {
                    let again = effects.ready.iter().any(
                        |ready| matches!(ready, roster_core::queue::Ready::Again { message, .. } if message == id),
                    );
                    again || queue.message(*id).is_none_or(|stored| matches!(stored.place, Place::Dead { .. }))
                };
                for consumer in self.consumers.values_mut().filter(|consumer| consumer.queue == *name) {
                    consumer.held.retain(|id, _| !is_settled(id));
                }
            } else {
                self.dispatchers.remove(name);
                self.newest.remove(name);
                self.consumers.retain(|_, consumer| consumer.queue != *name);
                self.past.retain(|(queue, _)| queue != name);
            }
        }
        if let (Command::Publish { queue, origin: Some(origin), .. }, Outcome::Refused(refusal)) = (&command, &outcome)
        {
            // The producer goes back to what is missing.
            let next = if let Refusal::SequenceGap { expected, .. } = refusal { *expected } else { origin.first };
            self.sequences.insert((queue.clone(), origin.producer.clone()), next);
        }
        self.log.push(Applied { at: self.now, command, outcome, effects });
    }

    /// The disk is full, say: the command comes back, and what it was about is as it was.
    fn refuse(&mut self) {
        let ids = |attempts: &[Attempt]| attempts.iter().map(|attempt| attempt.message).collect();
        let (queue, messages): (_, Vec<_>) = match self.pending.back() {
            Some(Command::Acknowledge { queue, messages }) => (queue.clone(), messages.clone()),
            Some(Command::Release { queue, attempts }) => (queue.clone(), ids(attempts)),
            Some(Command::Fail { queue, failures }) => {
                (queue.clone(), failures.iter().map(|failure| failure.attempt.message).collect())
            }
            Some(
                Command::StartNode
                | Command::CreateQueue { .. }
                | Command::UpdateSettings { .. }
                | Command::DeleteQueue { .. }
                | Command::Publish { .. }
                | Command::Purge { .. }
                | Command::RequeueDead { .. }
                | Command::DropDead { .. },
            )
            | None => return,
        };
        self.pending.pop_back();
        if let (Some(known), Some(dispatcher)) = (self.queues.queue(&queue), self.dispatchers.get_mut(&queue)) {
            dispatcher.withdraw(known, &messages);
            self.exempt.extend(messages.into_iter().map(|id| (queue.clone(), id)));
        }
    }

    fn restart(&mut self) {
        self.pending.clear();
        let gone = std::mem::take(&mut self.consumers).into_values();
        self.past.extend(gone.map(|consumer| (consumer.queue, consumer.given)));
        self.newest.clear();
        let fresh = self.queues.queues(None).map(|(name, queue)| (name.clone(), Dispatcher::new(queue)));
        self.dispatchers = fresh.collect();
        self.pending.push_back(Command::StartNode);
    }

    fn deliver(&mut self) {
        let names: Vec<_> = self.dispatchers.keys().cloned().collect();
        for name in names {
            let queue = self.queues.queue(&name).unwrap().clone();
            let mut deliveries = Deliveries::new();
            self.dispatchers.get_mut(&name).unwrap().deliver(self.now, &queue, &mut deliveries);
            self.check_deliveries(&name, &queue, deliveries);
        }
    }

    fn pick(&self, consumer: usize) -> Option<ConsumerId> {
        self.consumers.keys().nth(consumer % self.consumers.len().max(1)).copied()
    }
}

fn dead(all: bool, pick: u64) -> DeadLetters {
    if all { DeadLetters::All } else { DeadLetters::These((pick..pick + 5).map(MessageId::new).collect()) }
}

fn failure(attempt: Attempt, delay: u32) -> Failure {
    Failure { attempt, delay: Delay::from_millis(delay).unwrap(), reason: Reason::new("no") }
}
