//! The messages of the log of the queues as they are stored. Only the files beside this one know them.

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

use super::messages::Pair;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    #[prost(oneof = "CommandKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub(super) kind: Option<CommandKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum CommandKind {
    #[prost(message, tag = "1")]
    StartNode(StartNode),
    #[prost(message, tag = "2")]
    CreateQueue(QueueSettings),
    #[prost(message, tag = "3")]
    UpdateSettings(QueueSettings),
    #[prost(message, tag = "4")]
    DeleteQueue(OnlyQueue),
    #[prost(message, tag = "5")]
    Publish(Publish),
    #[prost(message, tag = "6")]
    Acknowledge(Acknowledge),
    #[prost(message, tag = "7")]
    Fail(Fail),
    #[prost(message, tag = "8")]
    Release(Release),
    #[prost(message, tag = "9")]
    Purge(Purge),
    #[prost(message, tag = "10")]
    RequeueDead(DeadLetters),
    #[prost(message, tag = "11")]
    DropDead(DeadLetters),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StartNode {}

/// Of both [`CommandKind::CreateQueue`] and [`CommandKind::UpdateSettings`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct QueueSettings {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    #[prost(message, optional, tag = "2")]
    pub(super) settings: Option<Settings>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OnlyQueue {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
}

/// Written by [`queue_publish`](super::queue_publish), which must agree with it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Publish {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    /// Empty: none.
    #[prost(string, tag = "2")]
    pub(super) producer: String,
    #[prost(uint64, tag = "3")]
    pub(super) first: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) messages: Vec<QueueMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueueMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) payload: Bytes,
    #[prost(string, tag = "2")]
    pub(super) content_type: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) headers: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Acknowledge {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) messages: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Fail {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) failures: Vec<Failure>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Failure {
    #[prost(uint64, tag = "1")]
    pub(super) message: u64,
    #[prost(uint32, tag = "2")]
    pub(super) attempt: u32,
    #[prost(uint32, tag = "3")]
    pub(super) delay_millis: u32,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Release {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) attempts: Vec<Attempt>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Attempt {
    #[prost(uint64, tag = "1")]
    pub(super) message: u64,
    #[prost(uint32, tag = "2")]
    pub(super) attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Purge {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    #[prost(enumeration = "Contents", tag = "2")]
    pub(super) contents: i32,
}

/// Of both [`CommandKind::RequeueDead`] and [`CommandKind::DropDead`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeadLetters {
    #[prost(string, tag = "1")]
    pub(super) queue: String,
    #[prost(bool, tag = "2")]
    pub(super) all: bool,
    #[prost(uint64, repeated, tag = "3")]
    pub(super) messages: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Contents {
    Unspecified = 0,
    Waiting = 1,
    Failed = 2,
    Dead = 3,
    All = 4,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Settings {
    #[prost(uint32, tag = "1")]
    pub(super) in_flight_max: u32,
    #[prost(uint32, tag = "2")]
    pub(super) ack_timeout_millis: u32,
    #[prost(uint32, tag = "3")]
    pub(super) attempts_max: u32,
    #[prost(uint32, tag = "4")]
    pub(super) back_off_first_millis: u32,
    #[prost(uint32, tag = "5")]
    pub(super) back_off_last_millis: u32,
    #[prost(uint32, tag = "6")]
    pub(super) message_bytes_max: u32,
    #[prost(uint64, tag = "7")]
    pub(super) waiting_max: u64,
    #[prost(uint64, tag = "8")]
    pub(super) waiting_bytes_max: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Item {
    #[prost(oneof = "ItemKind", tags = "1, 2, 3, 4, 5, 6")]
    pub(super) kind: Option<ItemKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum ItemKind {
    #[prost(message, tag = "1")]
    Counters(Counters),
    #[prost(message, tag = "2")]
    Queue(Queue),
    #[prost(message, tag = "3")]
    Producer(Producer),
    #[prost(message, tag = "4")]
    Fresh(Kept),
    #[prost(message, tag = "5")]
    Failed(Kept),
    #[prost(message, tag = "6")]
    Dead(Kept),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Counters {
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(uint64, tag = "2")]
    pub(super) deleted: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Queue {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) settings: Option<Settings>,
    #[prost(uint64, tag = "3")]
    pub(super) last: u64,
    #[prost(uint64, tag = "4")]
    pub(super) published: u64,
    #[prost(uint64, tag = "5")]
    pub(super) duplicates: u64,
    #[prost(uint64, tag = "6")]
    pub(super) acknowledged: u64,
    #[prost(uint64, tag = "7")]
    pub(super) failures: u64,
    #[prost(uint64, tag = "8")]
    pub(super) discarded: u64,
    #[prost(uint64, tag = "9")]
    pub(super) deaths: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Producer {
    #[prost(string, tag = "1")]
    pub(super) producer: String,
    #[prost(uint64, tag = "2")]
    pub(super) last: u64,
    #[prost(uint64, tag = "3")]
    pub(super) used: u64,
    #[prost(uint64, tag = "4")]
    pub(super) position: u64,
}

/// A message in one of the three places. One that never failed has no attempts, time or reason.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Kept {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) enqueued: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) message: Option<QueueMessage>,
    #[prost(uint32, tag = "4")]
    pub(super) attempts: u32,
    /// When it is due or, of a dead letter, since when it is dead.
    #[prost(uint64, tag = "5")]
    pub(super) when: u64,
    #[prost(string, tag = "6")]
    pub(super) reason: String,
}
