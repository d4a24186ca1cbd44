//! Sequences of commands in which hand-overs, cutovers and resumes happen often: few names, few
//! addresses, few versions. A step is resolved against the directory that it meets, so that it mostly
//! means something that is there, and sometimes something that is not.

use std::sync::Arc;

use proptest::prelude::*;
use roster_core::directory::{Caller, Command, Directory, Liveness, SuspectReason};
use roster_core::{
    Address, Cutover, Grace, Handover, InstanceId, Kind, Label, Metadata, Position, Registration, SecretHash, Selector,
    ServiceName, SessionId, Tags,
};

const SERVICES: [&str; 4] = ["orders", "team/mailer", "team/scheduler", "zoo"];

#[derive(Debug, Clone)]
pub(crate) struct Step {
    kind: StepKind,
    /// Picks a session, an instance or a service among those that are there.
    pick: usize,
    /// Whether it names what is current: the right secret, the newest stream, the owner.
    current: bool,
}

#[derive(Debug, Clone)]
enum StepKind {
    StartNode,
    Open { grace: u32 },
    Resume,
    Suspect,
    Expire,
    Close,
    Register(Facts),
    Deregister,
    Drain { operator: bool },
    SetCutover { service: usize, cutover: Option<Cutover> },
    FinishHandover,
}

#[derive(Debug, Clone)]
struct Facts {
    service: usize,
    port: u32,
    node: u32,
    kind: Kind,
    version: u64,
    weight: u32,
    handover: u32,
    cutover: Option<Cutover>,
}

/// Begins with two sessions, for without any hardly a step means something.
pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let open = || Step { kind: StepKind::Open { grace: 3000 }, pick: 0, current: true };
    prop::collection::vec(step(), 1..most).prop_map(move |steps| [open(), open()].into_iter().chain(steps).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        1 => Just(StepKind::StartNode),
        4 => prop_oneof![4 => Just(3000), 1 => Just(0)].prop_map(|grace| StepKind::Open { grace }),
        4 => Just(StepKind::Resume),
        5 => Just(StepKind::Suspect),
        2 => Just(StepKind::Expire),
        2 => Just(StepKind::Close),
        30 => facts().prop_map(StepKind::Register),
        4 => Just(StepKind::Deregister),
        4 => any::<bool>().prop_map(|operator| StepKind::Drain { operator }),
        2 => (0..SERVICES.len(), prop::option::of(cutover()))
            .prop_map(|(service, cutover)| StepKind::SetCutover { service, cutover }),
        3 => Just(StepKind::FinishHandover),
    ];
    (kind, any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(kind, pick, current)| Step { kind, pick, current })
}

/// The scheduler is mostly for singletons and the others mostly for clusters, but not always.
fn facts() -> impl Strategy<Value = Facts> {
    let service = 0..SERVICES.len();
    let kind = prop_oneof![1 => Just(Kind::Singleton), 2 => Just(Kind::Main), 4 => Just(Kind::Member)];
    let usual = prop::bool::weighted(0.85);
    let handover = prop_oneof![1 => Just(0_u32), 3 => Just(5000)];
    let numbers = (
        1..4_u32,
        prop_oneof![6 => Just(0_u32), 1 => Just(1)],
        prop_oneof![Just(0_u64), Just(1), Just(1), Just(2), Just(2), Just(3)],
        1..3_u32,
    );
    (service, kind, usual, numbers, handover, prop::option::weighted(0.25, cutover())).prop_map(
        |(service, kind, usual, (port, node, version, weight), handover, cutover)| {
            let kind = match (usual, SERVICES[service] == "team/scheduler", kind) {
                (true, true, _) => Kind::Singleton,
                (true, false, Kind::Singleton) => Kind::Member,
                (_, _, kind) => kind,
            };
            Facts { service, port, node, kind, version, weight, handover, cutover }
        },
    )
}

fn cutover() -> impl Strategy<Value = Cutover> {
    prop_oneof![
        3 => (1..4_u32).prop_map(|instances| Cutover::after(instances).unwrap()),
        1 => Just(Cutover::SideBySide),
    ]
}

impl Step {
    pub(crate) fn resolve(&self, directory: &Directory) -> Command {
        let session = self.session(directory);
        match &self.kind {
            StepKind::StartNode => Command::StartNode,
            StepKind::Open { grace } => Command::OpenSession {
                secret: SecretHash([1; 16]),
                grace: Grace::from_millis(*grace).unwrap(),
                client: Label::default(),
            },
            StepKind::Resume => {
                Command::ResumeSession { session, secret: SecretHash([if self.current { 1 } else { 2 }; 16]) }
            }
            StepKind::Suspect => {
                let reasons = [SuspectReason::StreamClosed, SuspectReason::PingTimeout, SuspectReason::CheckFailed];
                let reason = reasons[self.pick % reasons.len()];
                Command::SuspectSession { session, attachment: self.attachment(directory, session), reason }
            }
            StepKind::Expire => Command::ExpireSession { session, attachment: self.attachment(directory, session) },
            StepKind::Close => Command::CloseSession { session, attachment: self.attachment(directory, session) },
            StepKind::Register(facts) => Command::Register {
                session: if self.current { self.connected(directory) } else { session },
                registration: Arc::new(facts.registration()),
                handover: Handover::from_millis(facts.handover).unwrap(),
                cutover: facts.cutover,
            },
            StepKind::Deregister => {
                let (instance, owner) = self.instance(directory);
                Command::Deregister { session: if self.current { owner } else { session }, instance }
            }
            StepKind::Drain { operator } => {
                let (instance, owner) = self.instance(directory);
                let owner = Caller::Session(if self.current { owner } else { session });
                Command::Drain { caller: if *operator { Caller::Operator } else { owner }, instance }
            }
            StepKind::SetCutover { service, cutover } => Command::SetCutover {
                service: name(*service),
                cutover: *cutover,
                author: Label::parse("author", "ada").unwrap(),
            },
            StepKind::FinishHandover => {
                let waiting = directory.handovers();
                let (instance, _) = self.instance(directory);
                let (service, pending) = match waiting.get(self.pick % waiting.len().max(1)) {
                    Some((service, pending, _)) if self.current => (service.clone(), *pending),
                    Some(_) | None => (name(self.pick % SERVICES.len()), instance),
                };
                Command::FinishHandover { service, pending }
            }
        }
    }

    fn session(&self, directory: &Directory) -> SessionId {
        let known: Vec<_> = directory.sessions().map(|known| known.session).collect();
        // Sometimes one that was never opened, or is long gone.
        if known.is_empty() || self.pick % 31 == 30 {
            return SessionId::new(self.pick as u64 % 40);
        }
        known[self.pick % known.len()]
    }

    fn connected(&self, directory: &Directory) -> SessionId {
        let connected = directory.sessions().filter(|known| known.liveness == Liveness::Up);
        let connected: Vec<_> = connected.map(|known| known.session).collect();
        if connected.is_empty() { self.session(directory) } else { connected[self.pick % connected.len()] }
    }

    fn attachment(&self, directory: &Directory, session: SessionId) -> Position {
        let newest = directory.session(session).map(|known| known.attachment).unwrap_or_default();
        if self.current { newest } else { Position::new(newest.get().saturating_sub(1)) }
    }

    fn instance(&self, directory: &Directory) -> (InstanceId, SessionId) {
        let known = directory.instances(&Selector::All, None, usize::MAX);
        match known.get(self.pick % known.len().max(1)) {
            Some(known) if self.pick % 29 != 28 => (known.id, known.session),
            Some(_) | None => (InstanceId::new(self.pick as u64 % 90), self.session(directory)),
        }
    }
}

impl Facts {
    fn registration(&self) -> Registration {
        Registration {
            service: name(self.service),
            address: Address::parse("10.0.0.1", self.port).unwrap(),
            kind: self.kind,
            node_index: self.node,
            version: self.version,
            weight: self.weight,
            zone: Label::default(),
            tags: Tags::default(),
            metadata: Metadata::default(),
        }
    }
}

fn name(service: usize) -> ServiceName {
    ServiceName::parse(SERVICES[service]).unwrap()
}
