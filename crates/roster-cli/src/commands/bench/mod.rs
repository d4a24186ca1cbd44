//! `roster bench`: how fast a node is, measured through its public API.
//!
//! Each workload is a file: `register`, `fanout`, `crash`, `restart`, `memory`, `get`, `queue`, `growth`,
//! `overload`. They speak bare gRPC, so that what is measured is the node and not the SDK; only queues are used
//! through the SDK. What the SDK itself costs is measured by `client`, in processes of its own. Every wait is bounded,
//! and what was registered is taken out again.

mod arguments;
mod client;
mod consuming;
mod cost;
mod crash;
mod fanout;
mod flood;
mod get;
mod growth;
mod growth_queue;
mod growth_sessions;
mod growth_watches;
mod latencies;
mod memory;
mod node;
mod overload;
mod probes;
mod progress;
mod publishing;
mod queue;
mod register;
mod registering;
mod restart;
mod session;
mod standing;
mod watching;

pub(crate) use arguments::{Bench, run};
