//! From the stored messages to the words of queues, by the core's own parsing: what does not parse is an
//! error, never a value.

use roster_core::queue::{
    Attempt, Command, Contents, DeadLetters, Delay, Failure, Message, MessageId, Origin, ProducerId, QueueName, Reason,
    Settings, StateItem, Totals,
};
use roster_core::{Label, Metadata, Position, Timestamp};

use super::queue_messages::{self as messages, CommandKind, ItemKind};
use crate::codec::InvalidRecord;

type Result<T> = std::result::Result<T, InvalidRecord>;

pub(super) fn command(stored: messages::Command) -> Result<Command> {
    let kind = stored.kind.ok_or_else(|| InvalidRecord::new("a command of no known kind"))?;
    let name = |text: &str| QueueName::parse(text);
    Ok(match kind {
        CommandKind::StartNode(messages::StartNode {}) => Command::StartNode,
        CommandKind::CreateQueue(stored) => {
            Command::CreateQueue { queue: name(&stored.queue)?, settings: settings(stored.settings)? }
        }
        CommandKind::UpdateSettings(stored) => {
            Command::UpdateSettings { queue: name(&stored.queue)?, settings: settings(stored.settings)? }
        }
        CommandKind::DeleteQueue(stored) => Command::DeleteQueue { queue: name(&stored.queue)? },
        CommandKind::Publish(stored) => Command::Publish {
            queue: name(&stored.queue)?,
            origin: match (stored.producer.as_str(), stored.first) {
                ("", 0) => None,
                (producer, first) => Some(Origin { producer: ProducerId::parse(producer)?, first }),
            },
            messages: stored.messages.into_iter().map(message).collect::<Result<_>>()?,
        },
        CommandKind::Acknowledge(stored) => {
            Command::Acknowledge { queue: name(&stored.queue)?, messages: ids(stored.messages) }
        }
        CommandKind::Fail(stored) => Command::Fail {
            queue: name(&stored.queue)?,
            failures: stored.failures.into_iter().map(failure).collect::<Result<_>>()?,
        },
        CommandKind::Release(stored) => Command::Release {
            queue: name(&stored.queue)?,
            attempts: stored
                .attempts
                .into_iter()
                .map(|stored| Attempt { message: MessageId::new(stored.message), attempt: stored.attempt })
                .collect(),
        },
        CommandKind::Purge(stored) => Command::Purge {
            queue: name(&stored.queue)?,
            contents: match stored.contents() {
                messages::Contents::Waiting => Contents::Waiting,
                messages::Contents::Failed => Contents::Failed,
                messages::Contents::Dead => Contents::Dead,
                messages::Contents::All => Contents::All,
                messages::Contents::Unspecified => {
                    return Err(InvalidRecord::new("a part of a queue of no known number"));
                }
            },
        },
        CommandKind::RequeueDead(stored) => {
            Command::RequeueDead { queue: name(&stored.queue)?, dead: dead_letters(stored)? }
        }
        CommandKind::DropDead(stored) => Command::DropDead { queue: name(&stored.queue)?, dead: dead_letters(stored)? },
    })
}

pub(super) fn item(stored: messages::Item) -> Result<StateItem> {
    let kind = stored.kind.ok_or_else(|| InvalidRecord::new("an item of no known kind"))?;
    Ok(match kind {
        ItemKind::Counters(stored) => {
            StateItem::Counters { revision: Position::new(stored.revision), deleted: MessageId::new(stored.deleted) }
        }
        ItemKind::Queue(stored) => StateItem::Queue {
            name: QueueName::parse(&stored.name)?,
            settings: settings(stored.settings)?,
            last: MessageId::new(stored.last),
            totals: Totals {
                published: stored.published,
                duplicates: stored.duplicates,
                acknowledged: stored.acknowledged,
                failures: stored.failures,
                discarded: stored.discarded,
                deaths: stored.deaths,
            },
        },
        ItemKind::Producer(stored) => StateItem::Producer {
            producer: ProducerId::parse(&stored.producer)?,
            last: stored.last,
            used: Timestamp::new(stored.used),
            position: Position::new(stored.position),
        },
        ItemKind::Fresh(stored) => {
            let Kept { id, enqueued, message, attempts, when, reason } = kept(stored)?;
            if attempts != 0 || when != Timestamp::default() || reason != Reason::default() {
                return Err(InvalidRecord::new(format!("message {id} failed and is among those that never did")));
            }
            StateItem::Fresh { id, enqueued, message }
        }
        ItemKind::Failed(stored) => {
            let Kept { id, enqueued, message, attempts, when: due, reason } = kept(stored)?;
            StateItem::Failed { id, enqueued, attempts, due, reason, message }
        }
        ItemKind::Dead(stored) => {
            let Kept { id, enqueued, message, attempts, when: since, reason } = kept(stored)?;
            StateItem::Dead { id, enqueued, attempts, since, reason, message }
        }
    })
}

struct Kept {
    id: MessageId,
    enqueued: Timestamp,
    message: Message,
    attempts: u32,
    when: Timestamp,
    reason: Reason,
}

fn kept(stored: messages::Kept) -> Result<Kept> {
    let what = stored.message.ok_or_else(|| InvalidRecord::new("no message where one belongs"))?;
    Ok(Kept {
        id: MessageId::new(stored.id),
        enqueued: Timestamp::new(stored.enqueued),
        message: message(what)?,
        attempts: stored.attempts,
        when: Timestamp::new(stored.when),
        reason: reason(&stored.reason)?,
    })
}

fn message(stored: messages::QueueMessage) -> Result<Message> {
    if stored.content_type.is_empty() && stored.headers.is_empty() {
        return Ok(Message::plain(stored.payload));
    }
    let content_type = Label::parse("content type", &stored.content_type)?;
    let headers = Metadata::parse(stored.headers.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())))?;
    Ok(Message::described(stored.payload, content_type, headers))
}

fn failure(stored: messages::Failure) -> Result<Failure> {
    Ok(Failure {
        attempt: Attempt { message: MessageId::new(stored.message), attempt: stored.attempt },
        delay: Delay::from_millis(stored.delay_millis)?,
        reason: reason(&stored.reason)?,
    })
}

/// A reason was cut before it was stored: a longer one is not ours.
fn reason(text: &str) -> Result<Reason> {
    let reason = Reason::new(text);
    if reason.as_str() == text {
        return Ok(reason);
    }
    Err(InvalidRecord::new(format!("a reason of {} bytes", text.len())))
}

fn dead_letters(stored: messages::DeadLetters) -> Result<DeadLetters> {
    match (stored.all, stored.messages.is_empty()) {
        (true, true) => Ok(DeadLetters::All),
        (true, false) => Err(InvalidRecord::new("all dead letters, and some by name")),
        (false, _) => Ok(DeadLetters::These(ids(stored.messages))),
    }
}

fn settings(stored: Option<messages::Settings>) -> Result<Settings> {
    let stored = stored.ok_or_else(|| InvalidRecord::new("no settings where they belong"))?;
    // Whether a queue can have them the machine decides, when it applies the command.
    Ok(Settings {
        in_flight_max: stored.in_flight_max,
        ack_timeout_millis: stored.ack_timeout_millis,
        attempts_max: stored.attempts_max,
        back_off_first_millis: stored.back_off_first_millis,
        back_off_last_millis: stored.back_off_last_millis,
        message_bytes_max: stored.message_bytes_max,
        waiting_max: stored.waiting_max,
        waiting_bytes_max: stored.waiting_bytes_max,
    })
}

fn ids(numbers: Vec<u64>) -> Vec<MessageId> {
    numbers.into_iter().map(MessageId::new).collect()
}
