//! Records gathered for the log, already encoded, and their way back.
//!
//! A record is its length as a protobuf varint and then its bytes, so that the body of a batch is
//! nothing but the buffers of its callers one after the other.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{Codec, InvalidRecord};
use crate::limits::RECORD_BYTES_MAX;
use crate::stored::Directory;

/// Records gathered for the log: already encoded, each one command.
pub struct Records<C: Codec = Directory> {
    count: usize,
    largest: usize,
    bytes: BytesMut,
    scratch: BytesMut,
    codec: PhantomData<C>,
}

impl<C: Codec> Records<C> {
    #[must_use]
    pub fn new() -> Self {
        Self { count: 0, largest: 0, bytes: BytesMut::new(), scratch: BytesMut::new(), codec: PhantomData }
    }

    /// Adds one command.
    pub fn push(&mut self, command: &C::Command) {
        let Some(length) = C::command_len(command) else { return self.push_by_way_of_scratch(command) };
        let prefix = self.bytes.len();
        self.bytes.reserve(length + prost::length_delimiter_len(length));
        prost::encoding::encode_varint(length as u64, &mut self.bytes);
        let begin = self.bytes.len();
        C::encode_command(command, &mut self.bytes);
        let record = self.bytes.get(begin..).unwrap_or_default();
        debug_assert_eq!(record.len(), length, "a command is as long as it says");
        if record.len() != length {
            // A wrong prefix would make all of the batch unreadable, under a checksum that is right.
            self.bytes.truncate(prefix);
            return self.push_by_way_of_scratch(command);
        }
        debug_assert_eq!(C::decode_command(record).as_ref(), Ok(command), "a command decodes to itself");
        self.count += 1;
        self.largest = self.largest.max(length);
    }

    fn push_by_way_of_scratch(&mut self, command: &C::Command) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        C::encode_command(command, &mut scratch);
        debug_assert_eq!(C::decode_command(&scratch).as_ref(), Ok(command), "a command decodes to itself");
        self.push_encoded(&scratch);
        self.scratch = scratch;
    }

    /// Adds one command that is encoded already.
    pub fn push_encoded(&mut self, record: &[u8]) {
        put_record(&mut self.bytes, record);
        self.count += 1;
        self.largest = self.largest.max(record.len());
    }

    /// Adds those of another, in their order.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
        self.largest = self.largest.max(other.largest);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their bytes in the log, length prefixes included.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all and keeps the memory for the next.
    pub fn clear(&mut self) {
        self.count = 0;
        self.largest = 0;
        self.bytes.clear();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of the longest record.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }
}

impl<C: Codec> Default for Records<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Codec> Clone for Records<C> {
    fn clone(&self) -> Self {
        Self {
            count: self.count,
            largest: self.largest,
            bytes: self.bytes.clone(),
            scratch: BytesMut::new(),
            codec: PhantomData,
        }
    }
}

impl<C: Codec> fmt::Debug for Records<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("count", &self.count).field("bytes", &self.bytes.len()).finish()
    }
}

pub(crate) fn put_record(into: &mut BytesMut, record: &[u8]) {
    prost::encoding::encode_varint(record.len() as u64, into);
    into.put_slice(record);
}

/// Takes the next record off the front of a body; `None` when nothing is left.
pub(crate) fn take_record(body: &mut Bytes) -> Option<Result<Bytes, InvalidRecord>> {
    if body.is_empty() {
        return None;
    }
    let Ok(length) = prost::encoding::decode_varint(body) else {
        return Some(Err(InvalidRecord::new("the length of a record is not a varint")));
    };
    match usize::try_from(length) {
        Ok(length) if length > RECORD_BYTES_MAX => {
            Some(Err(InvalidRecord::new(format!("a record of {length} bytes; {RECORD_BYTES_MAX} at most"))))
        }
        Ok(length) if length <= body.remaining() => Some(Ok(body.split_to(length))),
        Ok(_) | Err(_) => Some(Err(InvalidRecord::new("a record is longer than its batch"))),
    }
}
