//! Data as each format version wrote it, kept for ever: it opens and means the same.
//!
//! `ROSTER_MUSEUM=write cargo test -p roster-store museum` makes the exhibit of the current version anew; only
//! for a version that was never released.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roster_core::directory::{Caller, Command, Instance, Liveness, StateItem, SuspectReason};
use roster_core::{
    Address, Cutover, Grace, Handover, InstanceId, Kind, Label, Metadata, Position, Registration, SecretHash,
    ServiceName, SessionId, Tags, Timestamp, Token,
};
use roster_store::{Disk, FaultyDisk, LocalLog, LogSettings, OrderedLog, Records};

use crate::support::{Memory, at};

const DATA: &str = "/data";
const SWITCH: &str = "/switch";

fn exhibit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("museum/v1")
}

fn label(text: &str) -> Label {
    Label::parse("label", text).unwrap()
}

fn registration(kind: Kind) -> Arc<Registration> {
    let registration = Registration {
        service: ServiceName::parse("team/orders").unwrap(),
        address: Address::parse("2001:db8::7", 8443).unwrap(),
        kind,
        node_index: 3,
        version: 12,
        weight: 250,
        zone: label("eu-1"),
        tags: Tags::parse(["canary", "blue"]).unwrap(),
        metadata: Metadata::parse([("commit", "9f3c"), ("owner", "Zoë"), ("empty", "")]).unwrap(),
    };
    Arc::new(registration.check().unwrap())
}

fn plain() -> Arc<Registration> {
    let registration = Registration {
        service: ServiceName::parse("a").unwrap(),
        address: Address::parse("localhost", 1).unwrap(),
        kind: Kind::Member,
        node_index: 0,
        version: 0,
        weight: 0,
        zone: Label::default(),
        tags: Tags::default(),
        metadata: Metadata::default(),
    };
    Arc::new(registration)
}

/// Every kind of command, with and without what is optional, and every reason.
fn commands() -> Vec<Command> {
    let session = SessionId::new(41);
    let service = ServiceName::parse("team/orders").unwrap();
    let attachment = Position::new(7);
    let instance = InstanceId::new(300);
    let secret = SecretHash([9; 16]);
    let mut commands = vec![
        Command::StartNode,
        Command::OpenSession { secret, grace: Grace::from_millis(0).unwrap(), client: label("orders/1.4") },
        Command::OpenSession { secret: SecretHash([0; 16]), grace: Grace::default(), client: Label::default() },
        Command::ResumeSession { session, secret },
        Command::ExpireSession { session, attachment },
        Command::CloseSession { session, attachment },
        Command::Register { session, registration: plain(), handover: Handover::default(), cutover: None },
        Command::Deregister { session, instance },
        Command::Drain { caller: Caller::Session(session), instance },
        Command::Drain { caller: Caller::Operator, instance },
        Command::SetCutover { service: service.clone(), cutover: None, author: label("ana") },
        Command::SetCutover {
            service: service.clone(),
            cutover: Some(Cutover::after(4).unwrap()),
            author: Label::default(),
        },
        Command::FinishHandover { service, pending: instance },
    ];
    for reason in [SuspectReason::StreamClosed, SuspectReason::PingTimeout, SuspectReason::CheckFailed] {
        commands.push(Command::SuspectSession { session, attachment, reason });
    }
    for kind in [Kind::Member, Kind::Main, Kind::Singleton] {
        commands.push(Command::Register {
            session,
            registration: registration(kind),
            handover: Handover::from_millis(5_000).unwrap(),
            cutover: Some(Cutover::SideBySide),
        });
    }
    // So many zeros that the frame is masked.
    let zeros = Metadata::parse([("zeros", "\0".repeat(600).as_str())]).unwrap();
    let registration = Arc::new(Registration { metadata: zeros, ..(*plain()).clone() });
    commands.push(Command::Register { session, registration, handover: Handover::default(), cutover: None });
    commands
}

/// Every kind of item, with and without what is optional, and every liveness.
fn items() -> Vec<StateItem> {
    let mut items = vec![StateItem::Counters { revision: Position::new(20), last_session: SessionId::new(41) }];
    let all = [
        Liveness::Up,
        Liveness::Unconfirmed,
        Liveness::Suspect(SuspectReason::StreamClosed),
        Liveness::Suspect(SuspectReason::PingTimeout),
        Liveness::Suspect(SuspectReason::CheckFailed),
    ];
    for (number, liveness) in (1..).zip(all) {
        items.push(StateItem::Session {
            id: SessionId::new(number),
            secret: SecretHash([number as u8; 16]),
            grace: Grace::from_millis(300_000).unwrap(),
            client: label("billing"),
            attachment: Position::new(number + 1),
            liveness,
        });
    }
    for (name, operator_cutover) in [("a", None), ("b", Some((Cutover::SideBySide, label("ana"))))] {
        let name = ServiceName::parse(name).unwrap();
        items.push(StateItem::Service { name, floor: 12, cutover: Cutover::default(), operator_cutover });
    }
    for (number, liveness) in (1..).zip(all) {
        let instance = Instance {
            id: InstanceId::new(number),
            registration: if number == 1 { plain() } else { registration(Kind::Singleton) },
            session: SessionId::new(number),
            liveness,
            draining: number == 2,
            pending: number == 3,
            token: (number == 4).then(|| Token::new(77)),
            registered: Timestamp::new(1_700_000_000_000 + number),
            changed: Position::new(18),
        };
        items.push(StateItem::Instance { instance, place: number, handover: Handover::default() });
    }
    items
}

/// Writes what the exhibit holds: a history, a snapshot, and two live segments.
fn write() -> FaultyDisk {
    let disk = FaultyDisk::new(20);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = LocalLog::open(shared, settings(), at(1_700_000_000_000), &mut Memory::default()).unwrap();
    append(&mut log, 1_700_000_000_001);
    let mut writer = log.begin_snapshot(at(1_700_000_000_002)).unwrap();
    items().iter().try_for_each(|item| writer.push(item)).unwrap();
    let finished = writer.finish().unwrap();
    log.commit_snapshot(finished, at(1_700_000_000_003)).unwrap();
    append(&mut log, 1_700_000_000_004);
    append(&mut log, 1_700_000_000_005);
    disk
}

fn append(log: &mut LocalLog, now: u64) {
    let mut records = Records::new();
    commands().iter().for_each(|command| records.push(command));
    log.append(at(now), &[records]).unwrap();
}

fn settings() -> LogSettings {
    let mut settings = LogSettings::new(DATA);
    settings.switch_directory = Some(SWITCH.into());
    settings.segment_max = 600;
    settings.history = Duration::from_secs(1_000_000_000);
    settings
}

fn transcript(memory: &Memory) -> String {
    let mut text = String::new();
    for item in &memory.items {
        writeln!(text, "item {item:?}").unwrap();
    }
    writeln!(text, "snapshot up to {:?}", memory.snapshot_end.map(Position::get)).unwrap();
    for (position, at, command) in &memory.commands {
        writeln!(text, "{position} at {at} {command:?}").unwrap();
    }
    text
}

fn read(disk: &FaultyDisk) -> Memory {
    let mut memory = Memory::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = LocalLog::open(shared, settings(), at(1_700_000_000_006), &mut memory).unwrap();
    assert_eq!(log.report().notes, []);
    memory
}

#[test]
fn the_museum_of_version_1_opens_and_means_what_it_meant() {
    if std::env::var_os("ROSTER_MUSEUM").is_some() {
        make_exhibit();
    }
    let disk = FaultyDisk::new(1);
    for side in ["data", "switch"] {
        let mut entries: Vec<_> = fs::read_dir(exhibit().join(side)).unwrap().map(|entry| entry.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            disk.put(&Path::new("/").join(side).join(entry.file_name()), &fs::read(entry.path()).unwrap());
        }
    }
    let memory = read(&disk);
    assert_eq!(transcript(&memory), fs::read_to_string(exhibit().join("content.txt")).unwrap());
    let decoded: Vec<Command> = memory.commands.into_iter().map(|(_, _, command)| command).collect();
    assert_eq!((memory.items, decoded), (items(), [commands(), commands()].concat()));
}

#[test]
fn the_program_writes_the_bytes_of_the_museum() {
    for (path, bytes) in write().files() {
        let kept = fs::read(exhibit().join(path.strip_prefix("/").unwrap())).unwrap_or_default();
        assert!(bytes == kept, "{} differs: a change of the format needs a new format version", path.display());
    }
}

fn make_exhibit() {
    let disk = write();
    for (path, bytes) in disk.files() {
        let path = exhibit().join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(exhibit().join("content.txt"), transcript(&read(&disk))).unwrap();
}
