//! Limits, and that no command's work grows with what it does not touch.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use roster_core::directory::{Command, Counts, Directory, Effects, Outcome, Refusal};
use roster_core::limits::{INSTANCES_PER_SESSION_MAX, SESSIONS_MAX};
use roster_core::{
    Address, Cutover, Grace, Handover, InstanceId, Kind, Label, Metadata, Position, Registration, SecretHash,
    ServiceName, SessionId, Tags, Timestamp,
};

struct Many {
    directory: Directory,
    effects: Effects,
}

impl Many {
    fn new() -> Self {
        Self { directory: Directory::new(), effects: Effects::default() }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.directory.apply(Timestamp::new(1), command, &mut self.effects)
    }

    fn open(&mut self) -> Outcome {
        let secret = SecretHash([1; 16]);
        self.apply(Command::OpenSession { secret, grace: Grace::default(), client: Label::default() })
    }

    fn register(&mut self, session: u64, service: &str, host: u32, version: u64, cutover: Option<Cutover>) -> Outcome {
        let host = std::net::Ipv4Addr::from(0x0a00_0000 + host).to_string();
        self.apply(Command::Register {
            session: SessionId::new(session),
            registration: Arc::new(Registration {
                service: ServiceName::parse(service).unwrap(),
                address: Address::parse(&host, 80).unwrap(),
                kind: Kind::Member,
                node_index: 0,
                version,
                weight: 100,
                zone: Label::default(),
                tags: Tags::default(),
                metadata: Metadata::default(),
            }),
            handover: Handover::default(),
            cutover,
        })
    }
}

#[test]
fn a_session_has_no_more_instances_than_its_limit() {
    let mut many = Many::new();
    many.open();
    let most = INSTANCES_PER_SESSION_MAX as u32;
    for host in 1..=most {
        many.register(1, "orders", host, 0, None);
    }
    let refused = Outcome::Refused(Refusal::LimitExceeded { limit: "instances per session", max: u64::from(most) });
    assert_eq!(many.register(1, "orders", most + 1, 0, None), refused);
    // What takes no room is no matter of room.
    assert!(matches!(many.register(1, "orders", 7, 0, None), Outcome::Active { changed, .. } if changed.get() == 8));
    many.apply(Command::Deregister { session: SessionId::new(1), instance: InstanceId::new(2) });
    assert!(matches!(many.register(1, "orders", most + 1, 0, None), Outcome::Active { .. }));

    // Each of these touches one of 200 000: were the work of one in step with the rest, it would not end.
    let started = std::time::Instant::now();
    for host in 2..20_000 {
        let instance = InstanceId::new(u64::from(host) + 1);
        assert_eq!(many.apply(Command::Deregister { session: SessionId::new(1), instance }), Outcome::Done);
        many.register(1, "orders", host, 0, None);
    }
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());

    many.apply(Command::CloseSession { session: SessionId::new(1), attachment: Position::new(1) });
    assert_eq!(many.directory.counts(), Counts::default(), "R-11");
}

#[test]
fn there_are_no_more_sessions_than_the_limit() {
    let mut many = Many::new();
    for _ in 0..SESSIONS_MAX {
        many.open();
    }
    let refused = Outcome::Refused(Refusal::LimitExceeded { limit: "sessions", max: SESSIONS_MAX as u64 });
    assert_eq!(many.open(), refused);
    let gone = Command::CloseSession { session: SessionId::new(5), attachment: Position::new(5) };
    assert_eq!(many.apply(gone), Outcome::Done);
    assert_eq!(many.open(), Outcome::Opened { session: SessionId::new(SESSIONS_MAX as u64 + 1) });
}

#[test]
fn many_sessions_of_many_services_expire_one_after_another() {
    let mut many = Many::new();
    let sessions = 20_000;
    for session in 1..=sessions {
        many.open();
        many.register(session, &format!("team/{session}"), 1, 1, None);
        many.register(session, "all", session as u32, 1, None);
    }
    many.apply(Command::StartNode);
    let started = std::time::Instant::now();
    for session in 1..=sessions {
        let attachment = Position::new(3 * session - 2);
        assert_eq!(many.apply(Command::ExpireSession { session: SessionId::new(session), attachment }), Outcome::Done);
    }
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    assert_eq!(many.directory.counts(), Counts::default(), "R-11");
}

#[test]
fn a_service_of_many_versions_settles_without_a_look_at_each() {
    let mut many = Many::new();
    many.open();
    // None of the high versions has the two instances that it takes; each low one takes over in turn.
    let high = 20_000;
    for version in 1..=high {
        many.register(1, "orders", version, 1_000_000 + u64::from(version), Some(Cutover::after(2).unwrap()));
    }
    let started = std::time::Instant::now();
    for version in 1..=10_000 {
        many.register(1, "orders", high + 2 * version, u64::from(version), None);
        many.register(1, "orders", high + 2 * version + 1, u64::from(version), None);
    }
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    let last = many.directory.services(&roster_core::Selector::All, None, 1).remove(0);
    assert_eq!((last.floor, last.up), (10_000, high + 2));
}
