//! `roster bench`: how fast a node is, measured through its public API.
//!
//! Each workload is a file: `register`, `fanout`, `crash`. They speak bare gRPC, so that what is
//! measured is the node and not the SDK. Every wait is bounded, and what was registered is taken out again.

mod arguments;
mod cost;
mod crash;
mod fanout;
mod latencies;
mod node;
mod progress;
mod register;
mod session;

pub(crate) use arguments::{Bench, run};
