//! `roster queue publish`: from the arguments or standard input into a queue, over one stream.
//!
//! ```text
//!  reader (a thread) ── some messages at a time ──► sender ──► producer of the SDK
//!                                                     ▲ receipts, in order
//! ```

mod arguments;
mod fullness;
mod reader;
mod sender;

pub(super) use arguments::{Publish, run};
