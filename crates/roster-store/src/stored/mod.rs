//! The stored form of the directory and of the queues: one protobuf message for each command and each
//! item of a snapshot.
//!
//! Field numbers are for ever. A message may gain optional fields only together with a new format
//! version, since an older program would drop what it does not know.

mod directory;
mod fields;
mod from_stored;
mod messages;
mod queue_from_stored;
mod queue_messages;
mod queue_publish;
mod queue_to_stored;
mod queues;
mod registration;
mod to_stored;

pub use directory::Directory;
pub use queues::Queues;
