//! What an applied command tells the dispatcher of its queue.

use super::backlog::Discarded;
use super::command::Contents;
use super::ids::MessageId;
use crate::words::Timestamp;

/// What one command tells. The caller empties and reuses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// To be delivered.
    pub ready: Vec<Ready>,
    /// Not to be delivered any more.
    pub gone: Vec<Gone>,
    /// All of this part of the queue is gone, too.
    pub emptied: Option<Contents>,
    /// What a purge or a deletion took out, perhaps millions of messages: drop it on a thread that has time.
    pub discarded: Discarded,
}

impl Effects {
    /// As if nothing had been told.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.gone.clear();
        self.emptied = None;
        self.discarded = Discarded::default();
    }
}

/// What is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// `messages` new ones, their ids from `first` on without gaps.
    Fresh { first: MessageId, messages: u64 },
    /// One that was delivered before, from `due` on; `before` is when it was due until this command.
    Again { message: MessageId, due: Timestamp, before: Option<Timestamp> },
}

/// What is not to be delivered any more: acknowledged, dropped, or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    pub message: MessageId,
    /// Of one that failed before: when it was due.
    pub due: Option<Timestamp>,
    pub fate: Fate,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The queue does not keep it any more.
    Removed,
    /// It is a dead letter; it may be acknowledged or requeued.
    Dead,
}
