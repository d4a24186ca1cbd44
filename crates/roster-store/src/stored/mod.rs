//! The stored form of the directory: one protobuf message for each command and each item of a snapshot.
//!
//! Field numbers are for ever. A message may gain optional fields only together with a new format
//! version, since an older program would drop what it does not know.

mod directory;
mod from_stored;
mod messages;
mod to_stored;

pub use directory::Directory;
