//! How what a log holds becomes bytes, so that the log itself need not know what it holds.

use std::fmt::Debug;

use bytes::BytesMut;

/// What one kind of log holds. The directory is one, the queues of a node are another.
pub trait Codec: Debug + Send + Sync + 'static {
    type Command: Debug + Clone + PartialEq + Send;
    type Item: Debug + Clone + PartialEq + Send;

    /// Stands in every file, so that a log of one kind is never read as another.
    const CONTENT: u8;
    /// The same for people.
    const CONTENT_NAME: &'static str;

    /// Appends the bytes of one command.
    fn encode_command(command: &Self::Command, into: &mut BytesMut);
    /// The length of those bytes, where it is known before they are made: then they are made in their place.
    fn command_len(_command: &Self::Command) -> Option<usize> {
        None
    }
    /// # Errors
    /// [`InvalidRecord`] when the bytes are no command.
    fn decode_command(bytes: &[u8]) -> Result<Self::Command, InvalidRecord>;
    /// Appends the bytes of one item of a snapshot.
    fn encode_item(item: &Self::Item, into: &mut BytesMut);
    /// # Errors
    /// [`InvalidRecord`] when the bytes are no item.
    fn decode_item(bytes: &[u8]) -> Result<Self::Item, InvalidRecord>;
}

/// Why bytes are not the record that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidRecord {
    pub why: String,
}

impl InvalidRecord {
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}
