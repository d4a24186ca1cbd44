//! One instance as its callers see it.

use std::fmt;

use roster_core::directory::{Instance, Liveness};

/// The number of a member in its cluster; never given out twice by one, and ascending with the time at
/// which the instance was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(super) u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the registry says of a member, best first: a call goes to the best there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its session is connected.
    Up,
    /// Restored by a restart of the node, not back yet.
    Unconfirmed,
    /// It serves and is about to go.
    Draining,
    /// Its session is lost.
    Suspect,
}

impl Standing {
    pub(crate) fn of(instance: &Instance) -> Self {
        match instance.liveness {
            Liveness::Suspect(_) => Self::Suspect,
            Liveness::Up | Liveness::Unconfirmed if instance.draining => Self::Draining,
            Liveness::Up => Self::Up,
            Liveness::Unconfirmed => Self::Unconfirmed,
        }
    }
}

/// How far this process has got with a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No client yet.
    Connecting,
    /// Usable.
    Connected,
    /// So many attempts have failed in a row; it is tried again.
    Unreachable { failures: u32, why: String },
    /// The client was of no use any more; another one is being made.
    Closed { why: String },
}

/// One instance of a cluster, as of when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    pub instance: Instance,
    pub link: Link,
    /// It is replaced and only serves until the client of its successor is made.
    pub replaced: bool,
}

impl Member {
    /// What the registry says of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of(&self.instance)
    }
}

/// `10.0.0.7:8080 (instance 12): suspect; cannot be reached: connection refused`
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (instance {}): ", self.instance.registration.address, self.instance.id)?;
        match self.standing() {
            Standing::Up => {}
            Standing::Unconfirmed => f.write_str("unconfirmed; ")?,
            Standing::Draining => f.write_str("draining; ")?,
            Standing::Suspect => f.write_str("suspect; ")?,
        }
        match &self.link {
            Link::Connecting => f.write_str("connecting"),
            Link::Connected => f.write_str("connected, but its weight is 0"),
            Link::Unreachable { failures, why } => write!(f, "cannot be reached, {failures} times in a row: {why}"),
            Link::Closed { why } => write!(f, "closed: {why}"),
        }
    }
}
