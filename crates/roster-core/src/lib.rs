//! The rules of Roster, as pure machines: the words, the limits, the directory, the queues and the reader's view.
//!
//! Nothing here asks for the time, for luck, for a file or for a socket; whatever a machine needs
//! comes inside a command. The crate's dependency list is kept to an allow-list by `cargo xtask tidy`.

pub mod directory;
pub mod limits;
pub mod queue;
pub mod view;
mod words;

pub use words::{
    Address, Cutover, Grace, Handover, InstanceId, InvalidWord, Kind, Label, Metadata, Position, Registration,
    SecretHash, Selector, ServiceName, SessionId, Tags, Timestamp, Token,
};
