//! The log of the queues as each format version wrote it, kept for ever: it opens and means the same. And what
//! any command or item of queues becomes on the disk.
//!
//! `ROSTER_MUSEUM=write cargo test -p roster-store museum` makes the exhibit of the current version anew; only
//! for a version that was never released.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use roster_core::queue::{
    Attempt, Command, Contents, DeadLetters, Delay, Failure, Message, MessageId, Origin, ProducerId, QueueName, Reason,
    Settings, StateItem, Totals,
};
use roster_core::{Label, Metadata, Position, Timestamp};
use roster_store::{Codec, Disk, FaultyDisk, LocalLog, LogSettings, OrderedLog, Queues, Records, Recover};

use crate::support::at;

fn exhibit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("museum/v1-queues")
}

fn name() -> QueueName {
    QueueName::parse("team/mail").unwrap()
}

fn settings() -> Settings {
    Settings {
        in_flight_max: 1,
        ack_timeout_millis: 2,
        attempts_max: 3,
        back_off_first_millis: 4,
        back_off_last_millis: 5,
        message_bytes_max: 6,
        waiting_max: 7,
        waiting_bytes_max: 1 << 40,
    }
}

fn described() -> Message {
    let headers = Metadata::parse([("trace", "9f3c"), ("from", "Zoë"), ("empty", "")]).unwrap();
    Message::described(Bytes::from_static(b"{}"), Label::parse("type", "application/json").unwrap(), headers)
}

fn plain(payload: &'static [u8]) -> Message {
    Message::plain(Bytes::from_static(payload))
}

fn attempt(message: u64, attempt: u32) -> Attempt {
    Attempt { message: MessageId::new(message), attempt }
}

/// Every kind of command, with and without what is optional.
fn commands() -> Vec<Command> {
    let queue = name();
    let producer = ProducerId::parse("billing-1").unwrap();
    let ids: Vec<_> = [1, 300, u64::MAX].map(MessageId::new).into();
    let delay = Delay::from_millis(100).unwrap();
    let mut commands = vec![
        Command::StartNode,
        Command::CreateQueue { queue: queue.clone(), settings: Settings::default() },
        Command::UpdateSettings { queue: queue.clone(), settings: settings() },
        Command::DeleteQueue { queue: queue.clone() },
        Command::Publish { queue: queue.clone(), origin: None, messages: vec![] },
        Command::Publish {
            queue: queue.clone(),
            origin: Some(Origin { producer, first: 300 }),
            messages: vec![plain(b"one"), plain(b""), described()],
        },
        // So many zeros that the frame is masked.
        Command::Publish { queue: queue.clone(), origin: None, messages: vec![plain(&[0; 600])] },
        Command::Acknowledge { queue: queue.clone(), messages: ids.clone() },
        Command::Fail {
            queue: queue.clone(),
            failures: vec![
                Failure { attempt: attempt(1, 1), delay, reason: Reason::new("no subject") },
                Failure { attempt: attempt(300, 16), delay: Delay::default(), reason: Reason::default() },
            ],
        },
        Command::Release { queue: queue.clone(), attempts: vec![attempt(1, 2), attempt(2, 1)] },
        Command::RequeueDead { queue: queue.clone(), dead: DeadLetters::All },
        Command::RequeueDead { queue: queue.clone(), dead: DeadLetters::These(ids.clone()) },
        Command::DropDead { queue: queue.clone(), dead: DeadLetters::All },
        Command::DropDead { queue: queue.clone(), dead: DeadLetters::These(vec![]) },
    ];
    for contents in [Contents::Waiting, Contents::Failed, Contents::Dead, Contents::All] {
        commands.push(Command::Purge { queue: queue.clone(), contents });
    }
    commands
}

/// Every kind of item.
fn items() -> Vec<StateItem> {
    let totals = Totals { published: 9, duplicates: 1, acknowledged: 2, failures: 3, deaths: 4, discarded: 5 };
    let (enqueued, when) = (Timestamp::new(1_700_000_000_000), Timestamp::new(1_700_000_000_100));
    let id = MessageId::new;
    vec![
        StateItem::Counters { revision: Position::new(20), deleted: id(7) },
        StateItem::Queue { name: name(), settings: settings(), last: id(400), totals },
        StateItem::Producer {
            producer: ProducerId::parse("billing-1").unwrap(),
            last: 302,
            used: enqueued,
            position: Position::new(6),
        },
        StateItem::Fresh { id: id(300), enqueued, message: plain(b"one") },
        StateItem::Fresh { id: id(301), enqueued, message: described() },
        StateItem::Failed {
            id: id(302),
            enqueued,
            attempts: 2,
            due: when,
            reason: Reason::new("no subject"),
            message: plain(b""),
        },
        StateItem::Dead {
            id: id(303),
            enqueued,
            attempts: 16,
            since: when,
            reason: Reason::default(),
            message: described(),
        },
    ]
}

#[derive(Debug, Default)]
struct Memory {
    items: Vec<StateItem>,
    commands: Vec<Command>,
}

impl Recover<Queues> for Memory {
    fn snapshot_item(&mut self, item: StateItem) -> Result<(), String> {
        self.items.push(item);
        Ok(())
    }

    fn snapshot_end(&mut self, _position: Position) -> Result<(), String> {
        Ok(())
    }

    fn command(&mut self, _position: Position, _at: Timestamp, command: Command) -> Result<(), String> {
        self.commands.push(command);
        Ok(())
    }
}

fn log_settings() -> LogSettings {
    LogSettings { history: Duration::from_secs(1_000_000_000), ..LogSettings::new("/data") }
}

fn open(disk: &FaultyDisk, now: u64) -> (LocalLog<Queues>, Memory) {
    let mut memory = Memory::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = LocalLog::open(shared, log_settings(), at(now), &mut memory).unwrap();
    (log, memory)
}

/// Writes what the exhibit holds: a history, a snapshot, and a live segment.
fn write() -> FaultyDisk {
    let disk = FaultyDisk::new(21);
    let (mut log, _) = open(&disk, 1_700_000_000_000);
    let append = |log: &mut LocalLog<Queues>, now| {
        let mut records = Records::new();
        commands().iter().for_each(|command| records.push(command));
        log.append(at(now), &[records]).unwrap();
    };
    append(&mut log, 1_700_000_000_001);
    let mut writer = log.begin_snapshot(at(1_700_000_000_002)).unwrap();
    items().iter().try_for_each(|item| writer.push(item)).unwrap();
    let finished = writer.finish().unwrap();
    log.commit_snapshot(finished, at(1_700_000_000_003)).unwrap();
    append(&mut log, 1_700_000_000_004);
    disk
}

fn transcript(memory: &Memory) -> String {
    let mut text = String::new();
    for item in &memory.items {
        writeln!(text, "item {item:?}").unwrap();
    }
    for command in &memory.commands {
        writeln!(text, "{command:?}").unwrap();
    }
    text
}

fn make_exhibit() {
    let disk = write();
    for (path, bytes) in disk.files() {
        let path = exhibit().join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(exhibit().join("content.txt"), transcript(&open(&disk, 1_700_000_000_006).1)).unwrap();
}

#[test]
fn the_museum_of_the_queues_of_version_1_opens_and_means_what_it_meant() {
    if std::env::var_os("ROSTER_MUSEUM").is_some() {
        make_exhibit();
    }
    let disk = FaultyDisk::new(1);
    for entry in fs::read_dir(exhibit().join("data")).unwrap() {
        let entry = entry.unwrap();
        disk.put(&Path::new("/data").join(entry.file_name()), &fs::read(entry.path()).unwrap());
    }
    let (log, memory) = open(&disk, 1_700_000_000_006);
    assert_eq!(log.report().notes, []);
    assert_eq!(transcript(&memory), fs::read_to_string(exhibit().join("content.txt")).unwrap());
    assert_eq!((memory.items, memory.commands), (items(), commands()));
}

#[test]
fn the_program_writes_the_bytes_of_the_museum_of_queues() {
    for (path, bytes) in write().files() {
        let kept = fs::read(exhibit().join(path.strip_prefix("/").unwrap())).unwrap_or_default();
        assert!(bytes == kept, "{} differs: a change of the format needs a new format version", path.display());
    }
}

#[test]
fn a_log_of_queues_is_not_read_as_a_directory() {
    let disk = write();
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let opened = LocalLog::open(shared, log_settings(), at(1), &mut crate::support::Memory::default());
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("queues") && error.contains("directory"), "{error}");
}

fn encoded(command: &Command) -> BytesMut {
    let mut bytes = BytesMut::new();
    Queues::encode_command(command, &mut bytes);
    bytes
}

#[test]
fn what_is_no_command_or_item_of_queues_is_an_error() {
    let wrong: [(&[u8], &str); 7] = [
        (b"", "no known kind"),
        // A kind of tomorrow.
        (&[0x7a, 0], "no known kind"),
        // Publishing to a queue without a name.
        (&[0x2a, 0], "queue name"),
        // Settings that are missing.
        (&[0x12, 3, 0x0a, 1, b'a'], "settings"),
        // A purge of nothing that is known.
        (&[0x4a, 3, 0x0a, 1, b'a'], "part of a queue"),
        // All dead letters, and number 1.
        (&[0x52, 8, 0x0a, 1, b'a', 0x10, 1, 0x1a, 1, 1], "by name"),
        // A message that is longer than its record.
        (&[0x2a, 7, 0x0a, 1, b'a', 0x22, 2, 0x0a, 9], "buffer underflow"),
    ];
    for (bytes, word) in wrong {
        let error = Queues::decode_command(bytes).unwrap_err().to_string();
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
    let failure = Failure { attempt: attempt(1, 1), delay: Delay::default(), reason: Reason::new(&"x".repeat(512)) };
    let bytes = encoded(&Command::Fail { queue: name(), failures: vec![failure] });
    // One more letter than a reason may have: every length around it grows by one.
    let mut longer = bytes.to_vec();
    longer.push(b'x');
    let at = longer.iter().position(|byte| *byte == b'x').unwrap();
    longer[at - 2] += 1;
    assert!(Queues::decode_command(&longer).is_err());
    assert!(Queues::decode_item(&[0x22, 0]).unwrap_err().to_string().contains("no message"));
    // One that never failed, with an attempt.
    let error = Queues::decode_item(&[0x22, 4, 0x1a, 0, 0x20, 1]).unwrap_err().to_string();
    assert!(error.contains("never did"), "{error}");
}

prop_compose! {
    fn any_message()(
        payload in vec(any::<u8>(), 0..300),
        kind in "[a-z/]{0,20}",
        headers in proptest::collection::btree_map("[a-z]{1,10}", "[ -~]{0,40}", 0..4),
    ) -> Message {
        let headers = headers.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Message::described(payload.into(), Label::parse("type", &kind).unwrap(), Metadata::parse(headers).unwrap())
    }
}

fn any_name() -> impl Strategy<Value = QueueName> {
    "[a-z]{1,30}(/[a-z]{1,30}){0,3}".prop_map(|text| QueueName::parse(&text).unwrap())
}

fn any_origin() -> impl Strategy<Value = Option<Origin>> {
    let origin = ("[ -~]{1,128}", any::<u64>());
    proptest::option::of(
        origin.prop_map(|(producer, first)| Origin { producer: ProducerId::parse(&producer).unwrap(), first }),
    )
}

fn any_failure() -> impl Strategy<Value = Failure> {
    (any::<u64>(), any::<u32>(), 0..=604_800_000u32, "\\PC{0,600}").prop_map(|(message, number, delay, reason)| {
        Failure {
            attempt: attempt(message, number),
            delay: Delay::from_millis(delay).unwrap(),
            reason: Reason::new(&reason),
        }
    })
}

proptest! {
    #[test]
    fn every_command_of_queues_decodes_to_itself(
        queue in any_name(),
        origin in any_origin(),
        messages in vec(any_message(), 0..20),
        ids in vec(any::<u64>().prop_map(MessageId::new), 0..50),
        failures in vec(any_failure(), 0..5),
    ) {
        let attempts = failures.iter().map(|failure| failure.attempt).collect();
        let commands = [
            Command::Publish { queue: queue.clone(), origin, messages },
            Command::Acknowledge { queue: queue.clone(), messages: ids.clone() },
            Command::RequeueDead { queue: queue.clone(), dead: DeadLetters::These(ids) },
            Command::Fail { queue: queue.clone(), failures },
            Command::Release { queue, attempts },
        ];
        for command in commands {
            prop_assert_eq!(Queues::decode_command(&encoded(&command)).unwrap(), command);
        }
    }

    #[test]
    fn every_message_of_a_snapshot_decodes_to_itself(
        id in any::<u64>().prop_map(MessageId::new),
        message in any_message(),
        failure in any_failure(),
        times in any::<[u64; 2]>(),
    ) {
        let [enqueued, when] = times.map(Timestamp::new);
        let (attempts, reason) = (failure.attempt.attempt, failure.reason);
        let items = [
            StateItem::Fresh { id, enqueued, message: message.clone() },
            StateItem::Failed { id, enqueued, attempts, due: when, reason: reason.clone(), message: message.clone() },
            StateItem::Dead { id, enqueued, attempts, since: when, reason, message },
        ];
        for item in items {
            let mut bytes = BytesMut::new();
            Queues::encode_item(&item, &mut bytes);
            prop_assert_eq!(Queues::decode_item(&bytes).unwrap(), item);
        }
    }

    #[test]
    fn bytes_that_anybody_wrote_are_a_command_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Queues::decode_command(&bytes);
        let _ = Queues::decode_item(&bytes);
    }
}
