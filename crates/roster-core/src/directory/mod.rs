//! The directory: which instances stand behind which service, and since which revision.

mod attendance;
mod command;
mod event;
mod invariants;
mod machine;
mod outcome;
mod pages;
mod query;
mod record;
mod registration;
mod restoration;
mod roll;
mod service;
mod services;
mod session;
mod settlement;
mod snapshot;
mod state;
mod tables;
mod turn;

pub use command::{Caller, Command};
pub use event::{Effects, Event, Instance, Liveness, Notice, OfflineReason, RemovedCause, SuspectReason};
pub use machine::Directory;
pub use outcome::{Outcome, Refusal};
pub use query::Counts;
pub use restoration::{Restoration, RestoreError};
pub use service::ServiceSummary;
pub use session::SessionSummary;
pub use snapshot::Snapshot;
pub use state::StateItem;
