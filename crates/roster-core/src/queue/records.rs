//! The messages that failed, and the dead letters: few beside those that never did.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fresh::Slot;
use super::ids::MessageId;
use super::message::Reason;
use crate::words::Timestamp;

/// A message after its first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) slot: Slot,
    /// Deliveries that ended without an acknowledgement.
    pub(super) attempts: u32,
    /// When it may be delivered again; of a dead letter, when it died.
    pub(super) when: Timestamp,
    /// Why the last delivery failed.
    pub(super) reason: Reason,
}

/// Records by id. A copy for a snapshot shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    by_id: BTreeMap<MessageId, Arc<Record>>,
    bytes: u64,
}

impl Records {
    pub(super) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn insert(&mut self, id: MessageId, record: Record) {
        self.bytes += record.slot.message.bytes();
        let before = self.by_id.insert(id, Arc::new(record));
        debug_assert!(before.is_none(), "K2: message {id} was there already");
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Record> {
        let record = Arc::unwrap_or_clone(self.by_id.remove(&id)?);
        self.bytes -= record.slot.message.bytes();
        Some(record)
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Record> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    pub(super) fn first(&self) -> Option<&Record> {
        self.by_id.first_key_value().map(|(_, record)| record.as_ref())
    }

    pub(super) fn last_id(&self) -> Option<MessageId> {
        self.by_id.last_key_value().map(|(&id, _)| id)
    }

    /// By ascending id, from `from` on.
    pub(super) fn from(&self, from: MessageId) -> impl Iterator<Item = (MessageId, &Record)> {
        self.by_id.range(from..).map(|(&id, record)| (id, record.as_ref()))
    }

    /// # Panics
    /// When what is counted is not what is there.
    pub(super) fn check_invariants(&self) {
        let bytes: u64 = self.by_id.values().map(|record| record.slot.message.bytes()).sum();
        assert_eq!(bytes, self.bytes, "K3: bytes of records");
    }
}
