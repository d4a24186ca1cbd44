//! Names and numbers of queues: the queue, its messages, who produces and who consumes.

use std::fmt;

use crate::limits::{WINDOW_MESSAGES_DEFAULT, WINDOW_MESSAGES_MAX};
use crate::words::{InvalidWord, Label, ServiceName};

/// The name of a queue; its rules are those of a [`ServiceName`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(ServiceName);

impl QueueName {
    /// # Errors
    /// [`InvalidWord`] when it could not be the name of a service either.
    pub fn parse(text: &str) -> Result<Self, InvalidWord> {
        ServiceName::parse(text).map(Self).map_err(|error| InvalidWord { what: "queue name", ..error })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message of one queue, from a counter that only grows. The first is 1 or, under a name that was
/// deleted before, above all that were given out then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MessageId(u64);

impl MessageId {
    /// The number as it travels and is stored.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id `messages` further on.
    #[must_use]
    pub const fn plus(self, messages: u64) -> Self {
        Self(self.0 + messages)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stream that consumes, numbered by the node; a number is never used for a second stream (M-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who publishes, in its own words: the same text after a reconnect or a restart is the same producer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(Label);

impl ProducerId {
    /// # Errors
    /// [`InvalidWord`] when empty, above 128 bytes, or with a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidWord> {
        if text.is_empty() {
            return Err(InvalidWord::new("producer id", text, "it is empty"));
        }
        Label::parse("producer id", text).map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// How many messages a consumer holds at most; with 0 it gets none until the window opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(u32);

impl Window {
    /// # Errors
    /// [`InvalidWord`] above 65 536.
    pub fn of_messages(messages: u32) -> Result<Self, InvalidWord> {
        if messages > WINDOW_MESSAGES_MAX {
            let why = format!("{WINDOW_MESSAGES_MAX} messages at most");
            return Err(InvalidWord::new("window", &messages.to_string(), why));
        }
        Ok(Self(messages))
    }

    /// In messages.
    #[must_use]
    pub fn messages(self) -> u32 {
        self.0
    }
}

impl Default for Window {
    fn default() -> Self {
        Self(WINDOW_MESSAGES_DEFAULT)
    }
}
