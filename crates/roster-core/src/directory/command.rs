//! What can be asked of the directory. A command is logged first and applied after; its fate is
//! decided when it is applied, by nothing but the state and what the command itself says.

use std::sync::Arc;

use crate::words::{
    Cutover, Grace, Handover, InstanceId, Label, Position, Registration, SecretHash, ServiceName, SessionId,
};

use super::SuspectReason;

/// One command. `attachment` is the position at which the meant stream opened or resumed its
/// session: a late word about an older stream changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A node is ready to serve: every session it restored must show itself again.
    StartNode,
    /// Opens a session, attached.
    OpenSession { secret: SecretHash, grace: Grace, client: Label },
    /// Attaches a new stream to a session.
    ResumeSession { session: SessionId, secret: SecretHash },
    /// The stream is lost or silent.
    SuspectSession { session: SessionId, attachment: Position, reason: SuspectReason },
    /// The grace of a suspect or unconfirmed session has passed.
    ExpireSession { session: SessionId, attachment: Position },
    /// Goodbye.
    CloseSession { session: SessionId, attachment: Position },
    /// Registers, or updates what is registered. `cutover` is the service's policy from here on, unless
    /// an operator has set one; with `None` it stays as it is.
    Register { session: SessionId, registration: Arc<Registration>, handover: Handover, cutover: Option<Cutover> },
    /// Removes one instance.
    Deregister { session: SessionId, instance: InstanceId },
    /// Marks an instance as draining, for as long as it is registered.
    Drain { caller: Caller, instance: InstanceId },
    /// Sets (or with `None` clears) an operator's cutover policy. The service need not exist: a policy
    /// keeps it, without instances too.
    SetCutover { service: ServiceName, cutover: Option<Cutover>, author: Label },
    /// The deadline of a hand-over has passed.
    FinishHandover { service: ServiceName, pending: InstanceId },
}

/// On whose behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The session that owns the instance.
    Session(SessionId),
    /// A person or a tool with a right to everything.
    Operator,
}
