//! What a restore of queues refuses: each fault is an error that says what, and none is a panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use proptest::prelude::*;
use roster_core::queue::{
    Attempt, Command, Delay, Effects, Failure, Message, MessageId, Origin, ProducerId, QueueName, Queues, Reason,
    Restoration, RestoreError, Settings, StateItem,
};
use roster_core::{Position, Timestamp};

/// 0 counters; 1 `empty`; 2 `jobs`, 3 and 4 its producers, 5 and 6 fresh (4 and 5), 7 and 8 failed (2 and 3),
/// 9 dead (1).
fn good() -> Vec<StateItem> {
    let (mut queues, mut effects) = (Queues::new(), Effects::default());
    let mut apply = |command| drop(queues.apply(Timestamp::new(9), command, &mut effects));
    let jobs = || QueueName::parse("jobs").unwrap();
    let settings = Settings { attempts_max: 2, ..Settings::default() };
    apply(Command::CreateQueue { queue: jobs(), settings });
    apply(Command::CreateQueue { queue: QueueName::parse("empty").unwrap(), settings });
    for (producer, messages) in [("ada", 2), ("bob", 4)] {
        let origin = Some(Origin { producer: ProducerId::parse(producer).unwrap(), first: 1 });
        let messages = vec![Message::plain(Bytes::from_static(b"a")); messages];
        apply(Command::Publish { queue: jobs(), origin, messages });
    }
    for (message, attempt) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
        let attempt = Attempt { message: MessageId::new(message), attempt };
        let failures = vec![Failure { attempt, delay: Delay::default(), reason: Reason::new("no") }];
        apply(Command::Fail { queue: jobs(), failures });
    }
    apply(Command::Acknowledge { queue: jobs(), messages: vec![MessageId::new(6)] });
    queues.snapshot().items().collect()
}

fn fault(change: impl FnOnce(&mut Vec<StateItem>)) -> String {
    let mut items = good();
    change(&mut items);
    Queues::restore(items).unwrap_err().to_string()
}

/// The fault of the good list in which `jobs` is another.
fn queue_fault(change: impl FnOnce(&mut StateItem)) -> String {
    fault(|items| change(&mut items[2]))
}

fn set_id(item: &mut StateItem, number: u64) {
    match item {
        StateItem::Fresh { id, .. } | StateItem::Failed { id, .. } | StateItem::Dead { id, .. } => {
            *id = MessageId::new(number);
        }
        StateItem::Counters { .. } | StateItem::Queue { .. } | StateItem::Producer { .. } => panic!("no message"),
    }
}

#[test]
fn a_good_list_is_restored_as_it_is() {
    let items = good();
    assert_eq!(items.len(), 10);
    let restored = Queues::restore(items.clone()).unwrap();
    restored.check_invariants();
    assert!(restored.snapshot().items().eq(items));
    assert_eq!(restored.snapshot().revision(), Position::new(9));
}

#[test]
fn the_counters_stand_first_and_once() {
    let error = "the counters do not stand first and once";
    assert_eq!(fault(|items| drop(items.remove(0))), error);
    assert_eq!(fault(Vec::clear), error);
    assert_eq!(fault(|items| items.insert(3, items[0].clone())), error);
    assert_eq!(Restoration::new().finish().unwrap_err(), RestoreError::Counters);
}

#[test]
fn nothing_lies_beyond_a_counter() {
    let huge = MessageId::new(u64::MAX);
    let counters = |revision, deleted| {
        fault(|items| items[0] = StateItem::Counters { revision: Position::new(revision), deleted })
    };
    assert_eq!(counters(3, MessageId::new(0)), "the position of a producer is 4, beyond 3");
    assert!(counters(u64::MAX, MessageId::new(0)).starts_with("the revision is 18446744073709551615, beyond"));
    assert!(counters(9, huge).starts_with("the last id of deleted queues is 18446744073709551615, beyond"));
    let last = |number: u64| {
        queue_fault(|item| {
            if let StateItem::Queue { last, .. } = item {
                *last = MessageId::new(number);
            }
        })
    };
    assert_eq!(last(5), "the messages published is 6, beyond 5");
    assert!(last(u64::MAX).starts_with("the last message id is 18446744073709551615, beyond"));
    assert_eq!(fault(|items| set_id(&mut items[6], 7)), "a message is 7, beyond 6");
    let sequence = fault(|items| {
        if let StateItem::Producer { last, .. } = &mut items[3] {
            *last = u64::MAX;
        }
    });
    assert!(sequence.starts_with("the sequence of a producer is 18446744073709551615, beyond"));
    let total = queue_fault(|item| {
        if let StateItem::Queue { totals, .. } = item {
            totals.failures = u64::MAX;
        }
    });
    assert!(total.starts_with("a total is 18446744073709551615, beyond"));
}

#[test]
fn facts_stand_in_their_order_and_once() {
    let what = |what: &str| format!("{what} stands after what should follow it, or twice");
    assert_eq!(fault(|items| items.insert(2, items[1].clone())), what("queue empty"));
    assert_eq!(fault(|items| items.push(items[1].clone())), what("queue empty"));
    assert_eq!(fault(|items| items.insert(4, items[3].clone())), what("producer \"ada\""));
    assert_eq!(fault(|items| items.swap(3, 4)), what("producer \"ada\""));
    assert_eq!(fault(|items| items.swap(4, 5)), what("producer \"bob\""));
    assert_eq!(fault(|items| items.swap(5, 6)), what("message 4"));
    assert_eq!(fault(|items| items.swap(6, 7)), what("message 5"));
    assert_eq!(fault(|items| items.swap(7, 8)), what("message 2"));
    assert_eq!(fault(|items| items.swap(8, 9)), what("message 3"));
    assert_eq!(fault(|items| set_id(&mut items[7], 4)), what("message 4"));
    assert_eq!(fault(|items| set_id(&mut items[9], 2)), what("message 2"));
    assert_eq!(fault(|items| set_id(&mut items[9], 0)), what("message 0"));
}

#[test]
fn a_message_belongs_to_a_queue() {
    assert_eq!(fault(|items| drop(items.drain(1..5))), "message 4 belongs to no queue");
    assert_eq!(fault(|items| drop(items.drain(1..3))), "producer \"ada\" belongs to no queue");
}

#[test]
fn a_queue_obeys_the_rules() {
    let why = "queue jobs breaks a rule: what was published is not what is kept, acknowledged or discarded";
    assert_eq!(fault(|items| drop(items.pop())), why);
    assert_eq!(fault(|items| drop(items.remove(5))), why);
    let settings = queue_fault(|item| {
        if let StateItem::Queue { settings, .. } = item {
            settings.attempts_max = 0;
        }
    });
    assert_eq!(settings, "the settings of queue jobs are not possible");
}

proptest! {
    #[test]
    fn no_list_of_facts_makes_it_panic(picks in prop::collection::vec((1..10_usize, 0..9_u64, any::<bool>()), 0..14)) {
        let good = good();
        let mut items = vec![good[0].clone()];
        items.extend(picks.into_iter().map(|(pick, number, altered)| {
            let mut item = good[pick].clone();
            match &mut item {
                StateItem::Queue { totals, .. } if altered => totals.published = number,
                StateItem::Fresh { id, .. } | StateItem::Failed { id, .. } | StateItem::Dead { id, .. } if altered => {
                    *id = MessageId::new(number);
                }
                StateItem::Producer { position, .. } if altered => *position = Position::new(number),
                StateItem::Counters { .. } | StateItem::Queue { .. } | StateItem::Producer { .. }
                | StateItem::Fresh { .. } | StateItem::Failed { .. } | StateItem::Dead { .. } => {}
            }
            item
        }));
        if let Ok(queues) = Queues::restore(items) {
            queues.check_invariants();
        }
    }
}
