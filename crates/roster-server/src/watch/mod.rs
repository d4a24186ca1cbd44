//! Watches: who is told what, and what each stream has not read yet.

mod hub;
mod outbox;
mod recent;
mod routes;
mod state_copy;

pub(crate) use hub::{Subscription, WatchHub, WatchSettings};
pub(crate) use outbox::{Outbox, Taken};

use std::fmt;

/// One watch stream of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
