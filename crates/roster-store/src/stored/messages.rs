//! The messages as they are stored. Only [`to_stored`](super::to_stored) and
//! [`from_stored`](super::from_stored) know them.

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    #[prost(oneof = "CommandKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub(super) kind: Option<CommandKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum CommandKind {
    #[prost(message, tag = "1")]
    StartNode(StartNode),
    #[prost(message, tag = "2")]
    OpenSession(OpenSession),
    #[prost(message, tag = "3")]
    ResumeSession(ResumeSession),
    #[prost(message, tag = "4")]
    SuspectSession(SuspectSession),
    #[prost(message, tag = "5")]
    ExpireSession(EndSession),
    #[prost(message, tag = "6")]
    CloseSession(EndSession),
    #[prost(message, tag = "7")]
    Register(Register),
    #[prost(message, tag = "8")]
    Deregister(Deregister),
    #[prost(message, tag = "9")]
    Drain(Drain),
    #[prost(message, tag = "10")]
    SetCutover(SetCutover),
    #[prost(message, tag = "11")]
    FinishHandover(FinishHandover),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StartNode {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpenSession {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) secret: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) grace_millis: u32,
    #[prost(string, tag = "3")]
    pub(super) client: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResumeSession {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) secret: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SuspectSession {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(uint64, tag = "2")]
    pub(super) attachment: u64,
    #[prost(enumeration = "SuspectReason", tag = "3")]
    pub(super) reason: i32,
}

/// Of both [`CommandKind::ExpireSession`] and [`CommandKind::CloseSession`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct EndSession {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(uint64, tag = "2")]
    pub(super) attachment: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Register {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) registration: Option<Registration>,
    #[prost(uint32, tag = "3")]
    pub(super) handover_millis: u32,
    #[prost(message, optional, tag = "4")]
    pub(super) cutover: Option<Cutover>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Deregister {
    #[prost(uint64, tag = "1")]
    pub(super) session: u64,
    #[prost(uint64, tag = "2")]
    pub(super) instance: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Drain {
    /// None: the operator.
    #[prost(uint64, optional, tag = "1")]
    pub(super) session: Option<u64>,
    #[prost(uint64, tag = "2")]
    pub(super) instance: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetCutover {
    #[prost(string, tag = "1")]
    pub(super) service: String,
    #[prost(message, optional, tag = "2")]
    pub(super) cutover: Option<Cutover>,
    #[prost(string, tag = "3")]
    pub(super) author: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FinishHandover {
    #[prost(string, tag = "1")]
    pub(super) service: String,
    #[prost(uint64, tag = "2")]
    pub(super) pending: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Registration {
    #[prost(string, tag = "1")]
    pub(super) service: String,
    #[prost(string, tag = "2")]
    pub(super) host: String,
    #[prost(uint32, tag = "3")]
    pub(super) port: u32,
    #[prost(enumeration = "Kind", tag = "4")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "5")]
    pub(super) node_index: u32,
    #[prost(uint64, tag = "6")]
    pub(super) version: u64,
    #[prost(uint32, tag = "7")]
    pub(super) weight: u32,
    #[prost(string, tag = "8")]
    pub(super) zone: String,
    #[prost(string, repeated, tag = "9")]
    pub(super) tags: Vec<String>,
    #[prost(message, repeated, tag = "10")]
    pub(super) metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cutover {
    /// 0: side by side.
    #[prost(uint32, tag = "1")]
    pub(super) after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Unspecified = 0,
    Member = 1,
    Main = 2,
    Singleton = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum SuspectReason {
    Unspecified = 0,
    StreamClosed = 1,
    PingTimeout = 2,
    CheckFailed = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Liveness {
    Unspecified = 0,
    Up = 1,
    Unconfirmed = 2,
    SuspectStreamClosed = 3,
    SuspectPingTimeout = 4,
    SuspectCheckFailed = 5,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Item {
    #[prost(oneof = "ItemKind", tags = "1, 2, 3, 4")]
    pub(super) kind: Option<ItemKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum ItemKind {
    #[prost(message, tag = "1")]
    Counters(Counters),
    #[prost(message, tag = "2")]
    Session(Session),
    #[prost(message, tag = "3")]
    Service(Service),
    #[prost(message, tag = "4")]
    Instance(Box<Instance>),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Counters {
    #[prost(uint64, tag = "1")]
    pub(super) revision: u64,
    #[prost(uint64, tag = "2")]
    pub(super) last_session: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Session {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) secret: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(super) grace_millis: u32,
    #[prost(string, tag = "4")]
    pub(super) client: String,
    #[prost(uint64, tag = "5")]
    pub(super) attachment: u64,
    #[prost(enumeration = "Liveness", tag = "6")]
    pub(super) liveness: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Service {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, tag = "2")]
    pub(super) floor: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) cutover: Option<Cutover>,
    #[prost(message, optional, tag = "4")]
    pub(super) operator_cutover: Option<Cutover>,
    #[prost(string, tag = "5")]
    pub(super) operator: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Instance {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) registration: Option<Registration>,
    #[prost(uint64, tag = "3")]
    pub(super) session: u64,
    #[prost(enumeration = "Liveness", tag = "4")]
    pub(super) liveness: i32,
    #[prost(bool, tag = "5")]
    pub(super) draining: bool,
    #[prost(bool, tag = "6")]
    pub(super) pending: bool,
    #[prost(uint64, optional, tag = "7")]
    pub(super) token: Option<u64>,
    #[prost(uint64, tag = "8")]
    pub(super) registered: u64,
    #[prost(uint64, tag = "9")]
    pub(super) changed: u64,
    #[prost(uint64, tag = "10")]
    pub(super) place: u64,
    #[prost(uint32, tag = "11")]
    pub(super) handover_millis: u32,
}
