//! From the words of queues to the stored messages. Cannot fail.

use roster_core::queue::{self, Command, StateItem};

use super::messages::Pair;
use super::queue_messages::{self as messages, CommandKind, ItemKind};

pub(super) fn command(command: &Command) -> messages::Command {
    let text = |queue: &queue::QueueName| queue.as_str().to_owned();
    let kind = match command {
        Command::StartNode => CommandKind::StartNode(messages::StartNode {}),
        Command::CreateQueue { queue, settings: set } => {
            CommandKind::CreateQueue(messages::QueueSettings { queue: text(queue), settings: Some(settings(set)) })
        }
        Command::UpdateSettings { queue, settings: set } => {
            CommandKind::UpdateSettings(messages::QueueSettings { queue: text(queue), settings: Some(settings(set)) })
        }
        Command::DeleteQueue { queue } => CommandKind::DeleteQueue(messages::OnlyQueue { queue: text(queue) }),
        Command::Publish { queue, origin, messages } => CommandKind::Publish(messages::Publish {
            queue: text(queue),
            producer: origin.as_ref().map(|origin| origin.producer.as_str().to_owned()).unwrap_or_default(),
            first: origin.as_ref().map_or(0, |origin| origin.first),
            messages: messages.iter().map(message).collect(),
        }),
        Command::Acknowledge { queue, messages: ids } => {
            CommandKind::Acknowledge(messages::Acknowledge { queue: text(queue), messages: numbers(ids) })
        }
        Command::Fail { queue, failures } => CommandKind::Fail(messages::Fail {
            queue: text(queue),
            failures: failures
                .iter()
                .map(|failure| messages::Failure {
                    message: failure.attempt.message.get(),
                    attempt: failure.attempt.attempt,
                    delay_millis: failure.delay.millis(),
                    reason: failure.reason.as_str().to_owned(),
                })
                .collect(),
        }),
        Command::Release { queue, attempts } => CommandKind::Release(messages::Release {
            queue: text(queue),
            attempts: attempts
                .iter()
                .map(|attempt| messages::Attempt { message: attempt.message.get(), attempt: attempt.attempt })
                .collect(),
        }),
        Command::Purge { queue, contents } => {
            let contents = match contents {
                queue::Contents::Waiting => messages::Contents::Waiting,
                queue::Contents::Failed => messages::Contents::Failed,
                queue::Contents::Dead => messages::Contents::Dead,
                queue::Contents::All => messages::Contents::All,
            };
            CommandKind::Purge(messages::Purge { queue: text(queue), contents: contents.into() })
        }
        Command::RequeueDead { queue, dead } => CommandKind::RequeueDead(dead_letters(text(queue), dead)),
        Command::DropDead { queue, dead } => CommandKind::DropDead(dead_letters(text(queue), dead)),
    };
    messages::Command { kind: Some(kind) }
}

pub(super) fn item(item: &StateItem) -> messages::Item {
    let kind = match item {
        StateItem::Counters { revision, deleted } => {
            ItemKind::Counters(messages::Counters { revision: revision.get(), deleted: deleted.get() })
        }
        StateItem::Queue { name, settings: set, last, totals } => ItemKind::Queue(messages::Queue {
            name: name.as_str().to_owned(),
            settings: Some(settings(set)),
            last: last.get(),
            published: totals.published,
            duplicates: totals.duplicates,
            acknowledged: totals.acknowledged,
            failures: totals.failures,
            discarded: totals.discarded,
            deaths: totals.deaths,
        }),
        StateItem::Producer { producer, last, used, position } => ItemKind::Producer(messages::Producer {
            producer: producer.as_str().to_owned(),
            last: *last,
            used: used.get(),
            position: position.get(),
        }),
        StateItem::Fresh { id, enqueued, message: what } => ItemKind::Fresh(messages::Kept {
            id: id.get(),
            enqueued: enqueued.get(),
            message: Some(message(what)),
            ..Default::default()
        }),
        StateItem::Failed { id, enqueued, attempts, due, reason, message: what } => ItemKind::Failed(messages::Kept {
            id: id.get(),
            enqueued: enqueued.get(),
            message: Some(message(what)),
            attempts: *attempts,
            when: due.get(),
            reason: reason.as_str().to_owned(),
        }),
        StateItem::Dead { id, enqueued, attempts, since, reason, message: what } => ItemKind::Dead(messages::Kept {
            id: id.get(),
            enqueued: enqueued.get(),
            message: Some(message(what)),
            attempts: *attempts,
            when: since.get(),
            reason: reason.as_str().to_owned(),
        }),
    };
    messages::Item { kind: Some(kind) }
}

fn message(message: &queue::Message) -> messages::QueueMessage {
    messages::QueueMessage {
        payload: message.payload().clone(),
        content_type: message.content_type().to_owned(),
        headers: message.headers().map(|(key, value)| Pair { key: key.to_owned(), value: value.to_owned() }).collect(),
    }
}

fn dead_letters(queue: String, dead: &queue::DeadLetters) -> messages::DeadLetters {
    match dead {
        queue::DeadLetters::All => messages::DeadLetters { queue, all: true, messages: Vec::new() },
        queue::DeadLetters::These(ids) => messages::DeadLetters { queue, all: false, messages: numbers(ids) },
    }
}

fn settings(settings: &queue::Settings) -> messages::Settings {
    messages::Settings {
        in_flight_max: settings.in_flight_max,
        ack_timeout_millis: settings.ack_timeout_millis,
        attempts_max: settings.attempts_max,
        back_off_first_millis: settings.back_off_first_millis,
        back_off_last_millis: settings.back_off_last_millis,
        message_bytes_max: settings.message_bytes_max,
        waiting_max: settings.waiting_max,
        waiting_bytes_max: settings.waiting_bytes_max,
    }
}

fn numbers(ids: &[queue::MessageId]) -> Vec<u64> {
    ids.iter().map(|id| id.get()).collect()
}
