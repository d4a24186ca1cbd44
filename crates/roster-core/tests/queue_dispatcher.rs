//! What happens between a consumer's word and its command: the log lags behind, and may refuse.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use roster_core::Timestamp;
use roster_core::queue::{
    Attempt, Command, ConsumerId, Contents, DeadLetters, Delay, Deliveries, Dispatcher, Effects, Failure, Message,
    MessageId, QueueName, Queues, Reason, Settings, Window,
};

const ONE: ConsumerId = ConsumerId(1);
const TWO: ConsumerId = ConsumerId(2);

/// One queue, whose commands are applied when a test says so.
struct Desk {
    queues: Queues,
    dispatcher: Dispatcher,
}

impl Desk {
    /// With so many messages and nobody who consumes.
    fn with(messages: usize, attempts_max: u32) -> Self {
        let mut queues = Queues::new();
        let settings = Settings { attempts_max, ..Settings::default() };
        queues.apply(Timestamp::new(0), Command::CreateQueue { queue: jobs(), settings }, &mut Effects::default());
        let dispatcher = Dispatcher::new(queues.queue(&jobs()).unwrap());
        let mut desk = Self { queues, dispatcher };
        let messages = vec![Message::plain(Bytes::new()); messages];
        desk.apply(Command::Publish { queue: jobs(), origin: None, messages });
        desk
    }

    fn apply(&mut self, command: Command) {
        let mut effects = Effects::default();
        self.queues.apply(Timestamp::new(0), command, &mut effects);
        let queue = self.queues.queue(&jobs()).unwrap();
        self.dispatcher.take_in(queue, &effects);
        self.dispatcher.check_invariants(queue);
    }

    fn join(&mut self, consumer: ConsumerId) {
        self.dispatcher.join(consumer, Window::default());
    }

    /// What is delivered now, to whomever.
    fn deliver(&mut self, now: u64) -> Vec<(u64, u32)> {
        let queue = self.queues.queue(&jobs()).unwrap();
        let mut deliveries = Deliveries::new();
        self.dispatcher.deliver(Timestamp::new(now), queue, &mut deliveries);
        self.dispatcher.check_invariants(queue);
        deliveries.into_values().flatten().map(|delivery| (delivery.id.get(), delivery.attempt)).collect()
    }

    fn acknowledge(&mut self, consumer: ConsumerId, message: u64) -> Command {
        let queue = self.queues.queue(&jobs()).unwrap();
        let messages = self.dispatcher.acknowledge(queue, consumer, &[MessageId::new(message)]);
        self.dispatcher.check_invariants(queue);
        Command::Acknowledge { queue: jobs(), messages }
    }

    fn withdraw(&mut self, message: u64) {
        let queue = self.queues.queue(&jobs()).unwrap();
        self.dispatcher.withdraw(queue, &[MessageId::new(message)]);
        self.dispatcher.check_invariants(queue);
    }

    fn wake(&self) -> Option<u64> {
        self.dispatcher.next_wake(self.queues.queue(&jobs()).unwrap()).map(Timestamp::get)
    }
}

fn jobs() -> QueueName {
    QueueName::parse("jobs").unwrap()
}

fn fail(message: u64, attempt: u32, delay: u32) -> Command {
    let attempt = Attempt { message: MessageId::new(message), attempt };
    let failure = Failure { attempt, delay: Delay::from_millis(delay).unwrap(), reason: Reason::new("no") };
    Command::Fail { queue: jobs(), failures: vec![failure] }
}

#[test]
fn what_is_being_acknowledged_is_not_delivered_after_the_failure_before_it() {
    let mut desk = Desk::with(1, 9);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1)]);
    assert_eq!(desk.dispatcher.expire(Timestamp::new(30_000)), [Attempt { message: MessageId::new(1), attempt: 1 }]);
    // It was about to answer.
    let acknowledgement = desk.acknowledge(ONE, 1);
    desk.apply(fail(1, 1, 0));
    assert_eq!(desk.deliver(30_000), []);
    desk.apply(acknowledgement);
    assert_eq!(desk.dispatcher.traffic().settling, 0, "M-6");
    assert_eq!(desk.queues.queue(&jobs()).unwrap().counts().failed, 0);
}

#[test]
fn what_is_being_acknowledged_is_not_delivered_after_its_death_and_a_requeue() {
    let mut desk = Desk::with(1, 1);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1)]);
    desk.dispatcher.expire(Timestamp::new(30_000)).pop().unwrap();
    let acknowledgement = desk.acknowledge(ONE, 1);
    desk.apply(fail(1, 1, 0));
    desk.apply(Command::RequeueDead { queue: jobs(), dead: DeadLetters::All });
    assert_eq!(desk.deliver(30_000), []);
    desk.apply(acknowledgement);
    assert_eq!(desk.dispatcher.traffic().settling, 0);
}

#[test]
fn what_the_log_refuses_is_delivered_again() {
    let mut desk = Desk::with(2, 9);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1), (2, 1)]);
    drop(desk.acknowledge(ONE, 1));
    assert_eq!(desk.dispatcher.fail(ONE, MessageId::new(2)).map(|failed| failed.attempt), Some(1));
    assert_eq!(desk.deliver(0), []);
    desk.withdraw(1);
    desk.withdraw(2);
    // Nothing was logged: it is the same attempt.
    assert_eq!(desk.deliver(0), [(1, 1), (2, 1)]);
    desk.withdraw(1);
    assert_eq!(desk.deliver(0), [], "K8: what is in flight is not settling");
}

#[test]
fn a_refused_word_about_what_was_never_delivered_leaves_it_in_its_place() {
    let mut desk = Desk::with(3, 9);
    // A consumer of before the restart.
    drop(desk.acknowledge(TWO, 2));
    desk.withdraw(2);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1), (2, 1), (3, 1)]);
}

#[test]
fn a_late_acknowledgement_keeps_what_is_ahead_from_being_delivered() {
    let mut desk = Desk::with(3, 9);
    let acknowledgement = desk.acknowledge(TWO, 2);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1), (3, 1)]);
    desk.apply(acknowledgement);
}

#[test]
fn a_failure_that_nobody_here_reported_moves_what_is_due() {
    let mut desk = Desk::with(1, 9);
    desk.join(ONE);
    desk.apply(fail(1, 1, 500));
    assert_eq!(desk.wake(), Some(500));
    desk.apply(fail(1, 2, 900));
    assert_eq!((desk.dispatcher.traffic().due, desk.wake()), (1, Some(900)));
    assert_eq!((desk.deliver(899), desk.deliver(900)), (vec![], vec![(1, 3)]));
    // It is in flight, and that ends too.
    desk.apply(fail(1, 3, 0));
    assert_eq!((desk.dispatcher.traffic().in_flight, desk.deliver(900)), (0, vec![(1, 4)]));
}

#[test]
fn it_wakes_for_what_is_due_only_when_somebody_is_free() {
    let mut desk = Desk::with(1, 9);
    desk.apply(fail(1, 1, 500));
    assert_eq!(desk.wake(), None);
    desk.dispatcher.join(ONE, Window::of_messages(0).unwrap());
    assert_eq!(desk.wake(), None);
    desk.join(ONE);
    assert_eq!(desk.wake(), Some(500));
    assert_eq!(desk.deliver(700), [(1, 2)]);
    assert_eq!(desk.wake(), Some(30_700));
}

#[test]
fn a_standstill_moves_the_deadline_of_what_is_in_flight() {
    let mut desk = Desk::with(1, 9);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1)]);
    assert!(desk.dispatcher.is_in_flight(MessageId::new(1)));
    desk.dispatcher.postpone(5_000);
    assert_eq!(desk.wake(), Some(35_000));
    assert_eq!(desk.dispatcher.expire(Timestamp::new(34_999)), []);
    assert_eq!(desk.dispatcher.expire(Timestamp::new(35_000)).len(), 1);
    assert!(!desk.dispatcher.is_in_flight(MessageId::new(1)));
}

#[test]
fn a_purge_forgets_what_was_handed_back_and_keeps_what_failed() {
    let mut desk = Desk::with(3, 9);
    desk.join(ONE);
    assert_eq!(desk.deliver(0), [(1, 1), (2, 1), (3, 1)]);
    let queue = desk.queues.queue(&jobs()).unwrap();
    desk.dispatcher.hand_back(queue, ONE, &[MessageId::new(1)]);
    assert!(desk.dispatcher.fail(ONE, MessageId::new(2)).is_some());
    desk.apply(fail(2, 1, 500));
    desk.apply(Command::Purge { queue: jobs(), contents: Contents::Waiting });
    assert_eq!((desk.dispatcher.traffic().due, desk.dispatcher.traffic().in_flight), (1, 0));
    assert_eq!(desk.deliver(500), [(2, 2)]);
    desk.apply(fail(2, 2, 500));
    desk.apply(Command::Purge { queue: jobs(), contents: Contents::Failed });
    assert_eq!(desk.dispatcher.traffic().due, 0);
}

/// Of a thousand messages that came in one buffer, one that fails must not keep that buffer.
#[test]
fn a_failed_message_lets_go_of_the_buffer_it_came_in() {
    let mut desk = Desk::with(0, 9);
    let buffer = Bytes::from(vec![7; 10_000]);
    let messages = vec![Message::plain(buffer.slice(..10)), Message::plain(buffer.slice(10..))];
    desk.apply(Command::Publish { queue: jobs(), origin: None, messages });
    desk.apply(fail(1, 1, 0));
    desk.apply(Command::Acknowledge { queue: jobs(), messages: vec![MessageId::new(2)] });
    assert!(buffer.is_unique());
    let kept = desk.queues.queue(&jobs()).unwrap().message(MessageId::new(1)).unwrap().message.clone();
    assert_eq!(kept.payload(), &buffer[..10]);
}

#[test]
fn what_is_handed_back_goes_to_another_and_counts_as_no_attempt() {
    let mut desk = Desk::with(2, 1);
    desk.join(ONE);
    assert_eq!(desk.deliver(1), [(1, 1), (2, 1)]);
    desk.dispatcher.join(ONE, Window::of_messages(0).unwrap());
    let queue = desk.queues.queue(&jobs()).unwrap();
    desk.dispatcher.hand_back(queue, TWO, &[MessageId::new(1)]);
    desk.dispatcher.hand_back(queue, ONE, &[MessageId::new(1), MessageId::new(2), MessageId::new(99)]);
    desk.dispatcher.check_invariants(queue);
    assert!(desk.dispatcher.leave(ONE).is_empty(), "it holds nothing");
    desk.join(TWO);
    assert_eq!(desk.deliver(1), [(1, 1), (2, 1)]);
}

/// Nor must those few of them that are with a consumer for long.
#[test]
fn messages_that_stay_behind_let_go_of_the_buffer_they_came_in() {
    let mut desk = Desk::with(0, 9);
    let buffer = Bytes::from(vec![7; 128 * 100]);
    let messages = (0..128).map(|at| Message::plain(buffer.slice(at * 100..(at + 1) * 100))).collect();
    desk.apply(Command::Publish { queue: jobs(), origin: None, messages });
    let acknowledge = |ids: std::ops::RangeInclusive<u64>| {
        let messages = ids.map(MessageId::new).filter(|id| id.get() != 50).collect();
        Command::Acknowledge { queue: jobs(), messages }
    };
    desk.apply(acknowledge(1..=112));
    assert!(!buffer.is_unique(), "an eighth of them is left, and more");
    desk.apply(acknowledge(113..=114));
    assert!(buffer.is_unique());
    let queue = desk.queues.queue(&jobs()).unwrap();
    assert_eq!(queue.message(MessageId::new(50)).unwrap().message.payload(), &buffer[..100]);
    desk.queues.check_invariants();
    desk.apply(acknowledge(115..=128));
    assert_eq!(desk.queues.queue(&jobs()).unwrap().counts().waiting, 1);
}
