//! The directory as a list of facts: what a snapshot holds, and what a restore takes.

use crate::words::{Cutover, Grace, Handover, Label, Position, SecretHash, ServiceName, SessionId};

use super::{Instance, Liveness};

/// One fact of the state. A snapshot is the list of all of them, in this order of kinds, each kind by
/// ascending id or name; a restore takes them in that order and gives exactly the same machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateItem {
    /// First and once.
    Counters { revision: Position, last_session: SessionId },
    /// Every session.
    Session { id: SessionId, secret: SecretHash, grace: Grace, client: Label, attachment: Position, liveness: Liveness },
    /// Every service: its version floor and its policies.
    Service { name: ServiceName, floor: u64, cutover: Cutover, operator_cutover: Option<(Cutover, Label)> },
    /// Every instance, pending ones included. `place` orders the instances of one kind in a service: it
    /// is the id of the first of a chain of replacements of that kind. `handover` is that of a pending
    /// one. The liveness is that of its session; a restore takes it from there.
    Instance { instance: Instance, place: u64, handover: Handover },
}
