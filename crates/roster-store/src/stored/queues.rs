//! The codec of the log of the queues.

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use roster_core::queue::{Command, StateItem};

use super::{queue_from_stored, queue_messages, queue_publish, queue_to_stored};
use crate::codec::{Codec, InvalidRecord};

/// The queues of a node: their commands, and their state as a list of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queues {}

impl Codec for Queues {
    type Command = Command;
    type Item = StateItem;

    const CONTENT: u8 = 2;
    const CONTENT_NAME: &'static str = "queues";

    fn encode_command(command: &Command, into: &mut BytesMut) {
        let encoded = match command {
            Command::Publish { queue, origin, messages } => {
                return queue_publish::encode(queue, origin.as_ref(), messages, into);
            }
            Command::StartNode
            | Command::CreateQueue { .. }
            | Command::UpdateSettings { .. }
            | Command::DeleteQueue { .. }
            | Command::Acknowledge { .. }
            | Command::Fail { .. }
            | Command::Release { .. }
            | Command::Purge { .. }
            | Command::RequeueDead { .. }
            | Command::DropDead { .. } => queue_to_stored::command(command).encode(into),
        };
        // A BytesMut grows, which is the only way in which encoding could fail.
        debug_assert!(encoded.is_ok(), "a growing buffer has room");
    }

    fn command_len(command: &Command) -> Option<usize> {
        let Command::Publish { queue, origin, messages } = command else { return None };
        Some(queue_publish::len(queue, origin.as_ref(), messages))
    }

    fn decode_command(bytes: &[u8]) -> Result<Command, InvalidRecord> {
        // The messages of one command share one copy of its bytes, as they shared the request they came in.
        let shared = Bytes::copy_from_slice(bytes);
        let stored = queue_messages::Command::decode(shared).map_err(|error| InvalidRecord::new(error.to_string()))?;
        queue_from_stored::command(stored)
    }

    fn encode_item(item: &StateItem, into: &mut BytesMut) {
        let encoded = queue_to_stored::item(item).encode(into);
        debug_assert!(encoded.is_ok(), "a growing buffer has room");
    }

    fn decode_item(bytes: &[u8]) -> Result<StateItem, InvalidRecord> {
        let stored = queue_messages::Item::decode(bytes).map_err(|error| InvalidRecord::new(error.to_string()))?;
        queue_from_stored::item(stored)
    }
}
