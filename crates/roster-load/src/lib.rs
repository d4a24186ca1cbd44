//! Unary gRPC calls with as little of a client as can be.
//!
//! A benchmark shares its processors with the server that it measures, so that a client which works for each call
//! hides what the server can do. One task has a whole connection: it sends what all calls under way have to send
//! at once and reads what has come at once, and no call wakes another task. The same calls are put on Roster
//! (`roster bench get`) and on its peers.

mod connection;
mod error;

pub use connection::{Caller, Connection, Method};
pub use error::CallError;
