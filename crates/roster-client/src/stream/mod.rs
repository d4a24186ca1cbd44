//! One long-lived stream to one node at a time: the protocols that live on it are pure machines, and
//! this is the thin driver under them.
//!
//! A machine stands behind a lock that is held for the length of one input and never across an await.
//! A mailbox instead of the lock would have to be bounded, and then `drop` could find it full.

mod driver;
mod line;
mod protocol;

pub(crate) use driver::drive;
pub(crate) use protocol::{Loss, Opening, Protocol, Shared, Step};
