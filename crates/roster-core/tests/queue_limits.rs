//! What there can be too many of, beside what the conversations show.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use roster_core::Timestamp;
use roster_core::limits::{MESSAGES_PER_COMMAND_MAX, QUEUES_MAX};
use roster_core::queue::{
    Attempt, Command, DeadLetters, Delay, Effects, Failure, Message, MessageId, Outcome, QueueName, Queues, Reason,
    Refusal, Settings,
};

fn create(queues: &mut Queues, name: &str) -> Outcome {
    let command = Command::CreateQueue { queue: QueueName::parse(name).unwrap(), settings: Settings::default() };
    queues.apply(Timestamp::new(1), command, &mut Effects::default())
}

#[test]
fn there_are_no_more_queues_than_the_limit() {
    let mut queues = Queues::new();
    for number in 0..QUEUES_MAX {
        assert_eq!(create(&mut queues, &format!("q{number}")), Outcome::Created);
    }
    let refused = Outcome::Refused(Refusal::LimitExceeded { limit: "queues", max: QUEUES_MAX as u64 });
    assert_eq!(create(&mut queues, "one-more"), refused);
    // Getting one takes no room.
    assert_eq!(create(&mut queues, "q7"), Outcome::Exists);
    let delete = Command::DeleteQueue { queue: QueueName::parse("q7").unwrap() };
    queues.apply(Timestamp::new(1), delete, &mut Effects::default());
    assert_eq!(create(&mut queues, "one-more"), Outcome::Created);
    assert_eq!(queues.queues(Some(&QueueName::parse("q99998").unwrap())).count(), 1);
}

#[test]
fn a_command_names_no_more_messages_than_the_limit() {
    let mut queues = Queues::new();
    create(&mut queues, "jobs");
    let jobs = || QueueName::parse("jobs").unwrap();
    let attempt = Attempt { message: MessageId::new(1), attempt: 1 };
    let failure = Failure { attempt, delay: Delay::default(), reason: Reason::default() };
    let commands = |count: usize| {
        let ids = vec![MessageId::new(1); count];
        [
            Command::Publish { queue: jobs(), origin: None, messages: vec![Message::plain(Bytes::new()); count] },
            Command::Fail { queue: jobs(), failures: vec![failure.clone(); count] },
            Command::Release { queue: jobs(), attempts: vec![attempt; count] },
            Command::RequeueDead { queue: jobs(), dead: DeadLetters::These(ids.clone()) },
            Command::DropDead { queue: jobs(), dead: DeadLetters::These(ids.clone()) },
            Command::Acknowledge { queue: jobs(), messages: ids },
        ]
    };
    let max = MESSAGES_PER_COMMAND_MAX as u64;
    let refused = Outcome::Refused(Refusal::LimitExceeded { limit: "messages of one command", max });
    let mut apply = |command| queues.apply(Timestamp::new(1), command, &mut Effects::default());
    for command in commands(MESSAGES_PER_COMMAND_MAX + 1) {
        assert_eq!(apply(command), refused);
    }
    for command in commands(MESSAGES_PER_COMMAND_MAX) {
        assert!(!matches!(apply(command), Outcome::Refused(_)));
    }
}
