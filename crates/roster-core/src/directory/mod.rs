//! The directory: which instances stand behind which service, and since which revision.

mod command;
mod event;
mod outcome;
mod state;

pub use command::{Caller, Command};
pub use event::{Effects, Event, Instance, Liveness, Notice, OfflineReason, RemovedCause, SuspectReason};
pub use outcome::{Outcome, Refusal};
pub use state::StateItem;
