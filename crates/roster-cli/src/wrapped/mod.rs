//! Processes that the binary runs: one on behalf of a registration, started, waited for until it listens,
//! told to stop, and its end passed on; or one per message, with the message on its standard input.

mod child;
mod job;
mod ready;
mod signals;

pub(crate) use child::Child;
pub(crate) use job::{Job, JobEnd};
pub(crate) use ready::{Readiness, accepts, listens};
pub(crate) use signals::{Heard, Signals, StopSignals};
