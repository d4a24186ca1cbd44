//! What is in the log of the queues: each command, and each fact of a snapshot, as a sentence. Messages
//! are counted, not shown.

use roster_core::queue::{Command, Contents, DeadLetters, Message, MessageId, StateItem};
use roster_core::{Position, Timestamp};
use serde::Serialize;

use super::age;
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// A command as it was logged.
#[derive(Debug, Serialize)]
pub(crate) struct LoggedQueueLine {
    position: u64,
    at: String,
    command: &'static str,
    queue: Option<String>,
    sentence: String,
}

impl LoggedQueueLine {
    pub(crate) fn new(position: Position, at: Timestamp, command: &Command) -> Self {
        let (word, sentence) = match command {
            Command::StartNode => ("start-node", "a node is ready to serve".to_owned()),
            Command::CreateQueue { settings, .. } => {
                ("create-queue", format!("it is got or created with {settings:?}"))
            }
            Command::UpdateSettings { settings, .. } => {
                ("update-settings", format!("its settings become {settings:?}"))
            }
            Command::DeleteQueue { .. } => ("delete-queue", "it is removed with all its messages".to_owned()),
            Command::Publish { origin, messages, .. } => {
                let bytes: u64 = messages.iter().map(Message::bytes).sum();
                let mut sentence = format!("{} messages of {bytes} bytes", messages.len());
                if let Some(origin) = origin {
                    let first = origin.first;
                    sentence.push_str(&format!(", from sequence {first} of producer {:?}", origin.producer.as_str()));
                }
                ("publish", sentence)
            }
            Command::Acknowledge { messages, .. } => {
                ("acknowledge", format!("done: {}", listed(messages.iter().copied())))
            }
            Command::Fail { failures, .. } => {
                let first = failures.first().map(|failure| failure.reason.as_str()).unwrap_or_default();
                let ids = failures.iter().map(|failure| failure.attempt.message);
                ("fail", format!("failed: {}, the first with {first:?}", listed(ids)))
            }
            Command::Release { attempts, .. } => {
                ("release", format!("given back: {}", listed(attempts.iter().map(|attempt| attempt.message))))
            }
            Command::Purge { contents, .. } => ("purge", format!("{} messages are removed", part(*contents))),
            Command::RequeueDead { dead, .. } => ("requeue-dead", format!("to be delivered again: {}", letters(dead))),
            Command::DropDead { dead, .. } => ("drop-dead", format!("removed: {}", letters(dead))),
        };
        let queue = command.queue().map(ToString::to_string);
        Self { position: position.get(), at: age::stamp(at.get()), command: word, queue, sentence }
    }
}

impl Shown for LoggedQueueLine {
    fn table(&self, paint: Paint) -> String {
        let at = paint.text(Tone::Faint, &self.at);
        let queue = self.queue.as_deref().map(|queue| format!("{queue}: ")).unwrap_or_default();
        format!("{:>8}  {at}  {:<15}  {queue}{}\n", self.position, self.command, self.sentence)
    }

    fn text(&self) -> String {
        let queue = self.queue.as_deref().unwrap_or_default();
        format!("{}\t{}\t{}\t{queue}\t{}\n", self.position, self.at, self.command, self.sentence)
    }
}

/// A fact of a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct QueueFactLine {
    fact: &'static str,
    sentence: String,
}

impl QueueFactLine {
    pub(crate) fn new(item: &StateItem) -> Self {
        let (fact, sentence) = match item {
            StateItem::Counters { revision, deleted } => {
                ("counters", format!("the state at position {revision}; deleted queues went up to message {deleted}"))
            }
            StateItem::Queue { name, settings, last, totals } => {
                let published = totals.published;
                ("queue", format!("queue {name}: last message {last}, {published} published so far, {settings:?}"))
            }
            StateItem::Producer { producer, last, .. } => {
                ("producer", format!("producer {:?}: last sequence {last}", producer.as_str()))
            }
            StateItem::Fresh { id, message, .. } => ("waiting", format!("message {id} of {} bytes", message.bytes())),
            StateItem::Failed { id, attempts, reason, message, .. } => {
                ("failed", failed(*id, message, *attempts, reason.as_str()))
            }
            StateItem::Dead { id, attempts, reason, message, .. } => {
                ("dead", failed(*id, message, *attempts, reason.as_str()))
            }
        };
        Self { fact, sentence }
    }
}

impl Shown for QueueFactLine {
    fn table(&self, _paint: Paint) -> String {
        format!("{:<9} {}\n", self.fact, self.sentence)
    }

    fn text(&self) -> String {
        format!("{}\t{}\n", self.fact, self.sentence)
    }
}

fn failed(id: MessageId, message: &Message, attempts: u32, reason: &str) -> String {
    format!("message {id} of {} bytes, {attempts} attempts, {reason:?}", message.bytes())
}

fn part(contents: Contents) -> &'static str {
    match contents {
        Contents::Waiting => "waiting",
        Contents::Failed => "failed",
        Contents::Dead => "dead",
        Contents::All => "all",
    }
}

fn letters(dead: &DeadLetters) -> String {
    match dead {
        DeadLetters::All => "all dead letters".to_owned(),
        DeadLetters::These(ids) => listed(ids.iter().copied()),
    }
}

/// `7, 8 and 254 more`
fn listed(ids: impl ExactSizeIterator<Item = MessageId>) -> String {
    let more = ids.len().saturating_sub(2);
    let first: Vec<String> = ids.take(2).map(|id| id.to_string()).collect();
    let first = first.join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_not_shown() {
        let queue = roster_core::queue::QueueName::parse("orders").unwrap();
        let messages = vec![Message::plain("secret".into()), Message::plain("too".into())];
        let command = Command::Publish { queue: queue.clone(), origin: None, messages };
        let line = LoggedQueueLine::new(Position::new(7), Timestamp::new(0), &command).text();
        assert!(line.ends_with("\tpublish\torders\t2 messages of 9 bytes\n"), "{line}");
        let command = Command::Acknowledge { queue, messages: (1..=5).map(MessageId::new).collect() };
        let line = LoggedQueueLine::new(Position::new(8), Timestamp::new(0), &command).text();
        assert!(line.ends_with("\tdone: 1, 2 and 3 more\n"), "{line}");
    }
}
