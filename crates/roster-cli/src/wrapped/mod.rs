//! A process that the binary runs on behalf of a registration: started, waited for until it listens,
//! told to stop, and its end passed on.

mod child;
mod ready;
mod signals;

pub(crate) use child::Child;
pub(crate) use ready::{Readiness, accepts, listens};
pub(crate) use signals::{Heard, Signals, StopSignals};
