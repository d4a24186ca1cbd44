//! The codec of the directory's log.

use bytes::BytesMut;
use prost::Message;
use roster_core::directory::{Command, StateItem};

use super::{from_stored, messages, registration, to_stored};
use crate::codec::{Codec, InvalidRecord};

/// The directory: its commands, and its state as a list of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {}

impl Codec for Directory {
    type Command = Command;
    type Item = StateItem;

    const CONTENT: u8 = 1;
    const CONTENT_NAME: &'static str = "directory";

    fn encode_command(command: &Command, into: &mut BytesMut) {
        match command {
            Command::Register { session, registration: facts, handover, cutover } => {
                registration::encode_register(*session, facts, *handover, *cutover, into);
            }
            Command::StartNode
            | Command::OpenSession { .. }
            | Command::ResumeSession { .. }
            | Command::SuspectSession { .. }
            | Command::ExpireSession { .. }
            | Command::CloseSession { .. }
            | Command::Deregister { .. }
            | Command::Drain { .. }
            | Command::SetCutover { .. }
            | Command::FinishHandover { .. } => encode(&to_stored::command(command), into),
        }
    }

    fn decode_command(bytes: &[u8]) -> Result<Command, InvalidRecord> {
        from_stored::command(decode(bytes)?)
    }

    fn encode_item(item: &StateItem, into: &mut BytesMut) {
        match item {
            StateItem::Instance { instance, place, handover } => {
                registration::encode_instance(instance, *place, *handover, into);
            }
            StateItem::Counters { .. } | StateItem::Session { .. } | StateItem::Service { .. } => {
                encode(&to_stored::item(item), into);
            }
        }
    }

    fn decode_item(bytes: &[u8]) -> Result<StateItem, InvalidRecord> {
        from_stored::item(decode::<messages::Item>(bytes)?)
    }
}

fn encode(message: &impl Message, into: &mut BytesMut) {
    // A BytesMut grows, which is the only way in which encoding could fail.
    let encoded = message.encode(into);
    debug_assert!(encoded.is_ok(), "a growing buffer has room");
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, InvalidRecord> {
    M::decode(bytes).map_err(|error| InvalidRecord::new(error.to_string()))
}
