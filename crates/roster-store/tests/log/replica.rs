//! A log and its copy: byte for byte, through rebuilds, cuts and damage on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roster_core::Position;
use roster_store::tools::verify;
use roster_store::{
    Directories, Directory, Disk, FaultyDisk, FeedReader, LocalLog, LogSettings, OrderedLog, Piece, Replica,
    ReplicaError, RestoreError, Restored, restore,
};

use crate::support::{Memory, append, at, open, rebuild, rebuild_with_append};

pub(crate) const COPY: &str = "/backup";
const RESTORED: &str = "/restored";

/// A source with both directories and short segments.
pub(crate) fn settings() -> LogSettings {
    let mut settings = LogSettings::new("/var/roster");
    settings.switch_directory = Some("/mnt/roster".into());
    settings.segment_max = 600;
    settings
}

pub(crate) fn source(settings: &LogSettings) -> (FaultyDisk, LocalLog) {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&as_disk(&disk), settings).unwrap();
    (disk, log)
}

pub(crate) fn as_disk(disk: &FaultyDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

pub(crate) fn replica(disk: &FaultyDisk) -> Result<Replica<Directory>, ReplicaError> {
    Replica::open(as_disk(disk), COPY)
}

pub(crate) fn reader(log: &LocalLog, replica: &mut Replica<Directory>) -> FeedReader {
    log.feed().reader(replica.held().unwrap()).unwrap()
}

/// All pieces until the copy has caught up.
pub(crate) fn follow(reader: &mut FeedReader, replica: &mut Replica<Directory>) -> Result<(), ReplicaError> {
    while let Some(piece) = reader.next(at(500)).unwrap() {
        replica.take(piece)?;
    }
    Ok(())
}

pub(crate) fn restored(disk: &FaultyDisk) -> Result<(Restored, Memory), RestoreError> {
    let done = restore::<Directory>(disk, Path::new(COPY), &Directories::new(RESTORED.into(), None))?;
    let (log, memory) = open(&as_disk(disk), &LogSettings::new(RESTORED)).expect("what was restored opens");
    assert_eq!(log.next_position(), done.position.next());
    Ok((done, memory))
}

/// The files of a log in a directory, by name.
fn files(disk: &FaultyDisk, dirs: &[&str]) -> Vec<(String, Vec<u8>)> {
    let of_log = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "segment" || kind == "snapshot");
    let within = |path: &PathBuf| dirs.iter().any(|dir| path.parent() == Some(Path::new(dir)));
    let mut files: Vec<_> = disk
        .files()
        .into_iter()
        .filter(|(path, _)| of_log(path) && within(path))
        .map(|(path, bytes)| (path.file_name().unwrap().to_string_lossy().into_owned(), bytes))
        .collect();
    files.sort();
    files
}

fn assert_equal(source: &FaultyDisk, copy: &FaultyDisk) {
    // Without history, what the source has is what is live; the room behind it is not copied (L11).
    let mut live = files(source, &["/var/roster", "/mnt/roster"]);
    for (_, bytes) in &mut live {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
    }
    assert_eq!(live, files(copy, &[COPY]), "F69: byte for byte");
    let report = verify::<Directory>(copy, &Directories::new(COPY.into(), None)).unwrap();
    assert!(report.is_sound() && report.torn.is_none(), "{report:?}");
}

fn without_history() -> LogSettings {
    LogSettings { history: Duration::ZERO, ..settings() }
}

#[test]
fn a_copy_equals_its_source_byte_for_byte_through_rotations_and_rebuilds() {
    let (disk, mut log) = source(&without_history());
    let copy = FaultyDisk::new(2);
    let mut replica = replica(&copy).unwrap();
    let mut reader = reader(&log, &mut replica);
    for round in 1..=6 {
        for count in [1, 50, 2, 30] {
            append(&mut log, round, count);
            follow(&mut reader, &mut replica).unwrap();
            assert_equal(&disk, &copy);
        }
        rebuild_with_append(&mut log, round);
        follow(&mut reader, &mut replica).unwrap();
        assert_equal(&disk, &copy);
        rebuild(&mut log, round);
        follow(&mut reader, &mut replica).unwrap();
        assert_equal(&disk, &copy);
    }
    assert_eq!(replica.position().next(), log.next_position());
    drop(replica);
    let (done, memory) = restored(&copy).unwrap();
    assert_eq!(memory.whole(), log.next_position().get() - 1);
    assert_eq!(done.at, at(500), "when the copy had all that there was");
}

#[test]
fn a_copy_can_be_restored_after_every_single_piece_and_goes_on_from_there() {
    let (disk, mut log) = source(&without_history());
    let copy = FaultyDisk::new(2);
    append(&mut log, 1, 120);
    append(&mut log, 1, 40);
    let mut told = Position::default();
    let mut pieces = 0;
    for round in 2.. {
        // A new process and a new connection for each piece.
        let mut replica = replica(&copy).unwrap();
        assert!(replica.position() >= told, "Y5: {told} was copied, {} is left", replica.position());
        let mut reader = reader(&log, &mut replica);
        let list = reader.next(at(round)).unwrap().unwrap();
        replica.take(list).unwrap();
        let piece = reader.next(at(round)).unwrap().unwrap();
        let is_last = matches!(piece, Piece::CaughtUp { .. });
        replica.take(piece).unwrap();
        told = replica.position();
        let is_restorable = replica.is_restorable();
        drop(replica);
        if is_restorable {
            let snapshot = copy.reboot(roster_store::disk::Survival::Kept);
            let (done, memory) = restored(&snapshot).unwrap_or_else(|error| panic!("Y4: {error}"));
            assert!(done.position >= told, "Y4");
            assert_eq!(memory.whole(), done.position.get(), "the same commands as in the source");
        }
        pieces += 1;
        match pieces {
            3 | 9 => rebuild_with_append(&mut log, round),
            5 => append(&mut log, round, 60),
            _ if is_last && pieces > 12 => break,
            _ => {}
        }
    }
    assert_equal(&disk, &copy);
}

#[test]
fn a_rebuild_in_the_middle_of_a_copy_sends_the_new_generation() {
    let (disk, mut log) = source(&without_history());
    for _ in 0..8 {
        append(&mut log, 1, 40);
    }
    let copy = FaultyDisk::new(2);
    let mut replica = replica(&copy).unwrap();
    let mut reader = reader(&log, &mut replica);
    for _ in 0..3 {
        let piece = reader.next(at(1)).unwrap().unwrap();
        replica.take(piece).unwrap();
    }
    // Y2: the files that were being read are removed at once, and nothing holds them.
    let before = disk.used_bytes();
    rebuild(&mut log, 2);
    assert!(disk.used_bytes() < before, "Y2: a reader keeps nothing from being removed");
    follow(&mut reader, &mut replica).unwrap();
    assert_equal(&disk, &copy);
}

#[test]
fn a_feed_shows_no_byte_that_was_not_told() {
    let (disk, mut log) = source(&settings());
    append(&mut log, 1, 3);
    let copy = FaultyDisk::new(2);
    let mut replica = replica(&copy).unwrap();
    let mut reader = reader(&log, &mut replica);
    follow(&mut reader, &mut replica).unwrap();
    disk.fail(roster_store::disk::Operation::Sync, 1, std::io::ErrorKind::Other);
    assert!(log.append(at(2), &[crate::support::records([4])]).is_err());
    assert_eq!(reader.next(at(2)).unwrap(), None, "Y1: what was not synced is not shown");
    assert_eq!(replica.position(), Position::new(3));
}

/// The first chunk of a kind of file, and everything before it taken in.
fn up_to_chunk(reader: &mut FeedReader, replica: &mut Replica<Directory>, kind: &str) -> (String, u64, Bytes) {
    loop {
        match reader.next(at(1)).unwrap().unwrap() {
            Piece::Chunk { file, offset, bytes } if file.ends_with(kind) => return (file, offset, bytes),
            piece => replica.take(piece).unwrap(),
        }
    }
}

#[test]
fn a_chunk_with_one_flipped_bit_is_refused_and_nothing_of_its_frame_is_written() {
    let (source_disk, mut log) = source(&without_history());
    append(&mut log, 1, 20);
    rebuild(&mut log, 1);
    append(&mut log, 2, 3);
    append(&mut log, 2, 3);
    for kind in ["snapshot", "segment"] {
        let copy = FaultyDisk::new(2);
        let mut replica = replica(&copy).unwrap();
        let mut reader = reader(&log, &mut replica);
        let (file, offset, bytes) = up_to_chunk(&mut reader, &mut replica, kind);
        for byte in (0..bytes.len()).step_by(7) {
            let mut flipped = BytesMut::from(&bytes[..]);
            flipped[byte] ^= 1 << (byte % 8);
            let piece = Piece::Chunk { file: file.clone(), offset, bytes: flipped.freeze() };
            let taken = replica.take(piece);
            // A flipped length may make a frame wait for more; then nothing of it is written either.
            let refused = taken
                .as_ref()
                .is_err_and(|error| error.is_worth_another_try() || matches!(error, ReplicaError::Read(_)));
            assert!(refused, "Y3: byte {byte} of {file}: {taken:?}");
            let written: usize =
                files(&copy, &[COPY]).iter().filter(|(name, _)| *name == file).map(|f| f.1.len()).sum();
            assert_eq!(written, 0, "Y3: nothing of {file} is written");
        }
        // And then it comes as it should.
        let mut again = crate::replica::reader(&log, &mut replica);
        follow(&mut again, &mut replica).unwrap();
        assert_equal(&source_disk, &copy);
    }
}

#[test]
fn what_comes_in_another_place_than_it_belongs_is_refused() {
    let (_, mut log) = source(&settings());
    append(&mut log, 1, 3);
    let copy = FaultyDisk::new(2);
    let mut replica = replica(&copy).unwrap();
    let mut reader = reader(&log, &mut replica);
    let list = reader.next(at(1)).unwrap().unwrap();
    let chunk = reader.next(at(1)).unwrap().unwrap();
    assert!(replica.take(chunk.clone()).is_err(), "bytes before the list");
    replica.take(list.clone()).unwrap();
    let Piece::Chunk { file, offset, bytes } = chunk else { panic!("{chunk:?} is no chunk") };
    for (file, offset) in [
        (file.clone(), offset + 1),
        ("../../etc/passwd".to_owned(), 0),
        ("MANIFEST".to_owned(), 0),
        ("g0000000009-p00000000000000000001.segment".to_owned(), 0),
        ("g0000000009-p00000000000000000001.snapshot".to_owned(), 0),
    ] {
        let taken = replica.take(Piece::Chunk { file, offset, bytes: bytes.clone() });
        assert!(matches!(taken, Err(ReplicaError::Refused { .. })), "{taken:?}");
    }
    let early = replica.take(Piece::CaughtUp { position: Position::new(3), at: at(1) });
    assert!(matches!(early, Err(ReplicaError::Refused { .. })), "{early:?}");
    let Piece::Files(mut set) = list else { panic!("{list:?} is no list") };
    set.segments = vec!["../g0000000000-p00000000000000000001.segment".into()];
    let taken = replica.take(Piece::Files(set));
    assert!(matches!(taken, Err(ReplicaError::Refused { .. })), "{taken:?}");
}

#[test]
fn a_copy_of_what_the_source_no_longer_has_is_kept_and_the_source_refused() {
    let (disk, mut log) = source(&settings());
    append(&mut log, 1, 3);
    let earlier = disk.reboot(roster_store::disk::Survival::Kept);
    let before_that = earlier.reboot(roster_store::disk::Survival::Kept);
    append(&mut log, 2, 3);
    let copy = FaultyDisk::new(2);
    let mut held = replica(&copy).unwrap();
    follow(&mut reader(&log, &mut held), &mut held).unwrap();
    let before = files(&copy, &[COPY]);

    // The source is back at what it was, and has gone another way: less far, and further.
    for count in [1, 30] {
        let (mut log, _) = open(&as_disk(&earlier), &settings()).unwrap();
        append(&mut log, 7, count);
        let ended = follow(&mut reader(&log, &mut held), &mut held);
        assert!(matches!(ended, Err(ReplicaError::Diverged { .. })), "{ended:?}");
    }
    // And with a generation that reaches less far than the copy.
    let (mut log, _) = open(&as_disk(&before_that), &settings()).unwrap();
    rebuild(&mut log, 9);
    let ended = follow(&mut reader(&log, &mut held), &mut held);
    assert!(matches!(ended, Err(ReplicaError::Diverged { .. })), "Y5: {ended:?}");
    drop(held);
    assert_eq!(files(&copy, &[COPY]), before, "Y5: what was held is held");

    let other = FaultyDisk::new(77);
    let (mut log, _) = open(&as_disk(&other), &settings()).unwrap();
    append(&mut log, 1, 9);
    let mut held = replica(&copy).unwrap();
    let ended = follow(&mut reader(&log, &mut held), &mut held);
    assert!(matches!(ended, Err(ReplicaError::OtherLog { .. })), "{ended:?}");
}

#[test]
fn a_directory_that_holds_something_else_is_no_copy_and_stays_as_it_is() {
    let (disk, mut log) = source(&settings());
    append(&mut log, 1, 3);
    drop(log);
    let before = disk.files();
    let opened = Replica::<Directory>::open(as_disk(&disk), "/var/roster");
    assert!(matches!(opened, Err(ReplicaError::NotABackup { .. })), "{opened:?}");
    assert_eq!(disk.files(), before);
}

#[test]
fn a_damaged_copy_is_neither_continued_nor_restored() {
    let (_, mut log) = source(&settings());
    append(&mut log, 1, 20);
    rebuild(&mut log, 1);
    append(&mut log, 2, 3);
    append(&mut log, 2, 40);
    append(&mut log, 2, 3);
    let copy = FaultyDisk::new(2);
    let mut held = replica(&copy).unwrap();
    follow(&mut reader(&log, &mut held), &mut held).unwrap();
    drop(held);
    for (name, bytes) in files(&copy, &[COPY]) {
        for byte in [bytes.len() / 3, bytes.len() - 2] {
            let damaged = copy.reboot(roster_store::disk::Survival::Kept);
            let mut flipped = bytes.clone();
            flipped[byte] ^= 4;
            damaged.put(&Path::new(COPY).join(&name), &flipped);
            let opened = replica(&damaged);
            assert!(matches!(opened, Err(ReplicaError::Damaged(_))), "byte {byte} of {name}: {opened:?}");
            let ended = restored(&damaged);
            assert!(matches!(ended, Err(RestoreError::Backup(ReplicaError::Damaged(_)))), "{ended:?}");
            assert!(open(&as_disk(&damaged), &LogSettings::new(RESTORED)).is_err(), "no node starts from the half");
        }
        // Blocks that were lost, and what a log in use would take for room.
        let emptied = copy.reboot(roster_store::disk::Survival::Kept);
        let mut zeros = bytes.clone();
        zeros[64..].fill(0);
        emptied.put(&Path::new(COPY).join(&name), &zeros);
        for _ in 0..2 {
            let opened = replica(&emptied);
            assert!(matches!(opened, Err(ReplicaError::Damaged(_))), "Y5: zeros at the end of {name}: {opened:?}");
        }
        let ended = restored(&emptied);
        assert!(matches!(ended, Err(RestoreError::Backup(ReplicaError::Damaged(_)))), "{name}: {ended:?}");
        // A file that has lost its end, just between two frames or anywhere.
        let short = copy.reboot(roster_store::disk::Survival::Kept);
        short.put(&Path::new(COPY).join(&name), &bytes[..64]);
        assert!(replica(&short).is_err() && restored(&short).is_err(), "{name} has lost its end");
        short.take(&Path::new(COPY).join(&name));
        assert!(replica(&short).is_err() && restored(&short).is_err(), "{name} is missing");
    }
}

#[test]
fn a_restore_refuses_what_is_no_backup_and_a_directory_with_files() {
    let (_, mut log) = source(&settings());
    append(&mut log, 1, 3);
    let copy = FaultyDisk::new(2);
    assert!(matches!(restored(&copy), Err(RestoreError::NoBackup { .. })));
    let mut held = replica(&copy).unwrap();
    let ended = restored(&copy);
    assert!(matches!(ended, Err(RestoreError::Backup(ReplicaError::Locked { .. }))), "it is at work: {ended:?}");
    drop(held);
    assert!(matches!(restored(&copy), Err(RestoreError::NothingYet { .. })));
    held = replica(&copy).unwrap();
    follow(&mut reader(&log, &mut held), &mut held).unwrap();
    drop(held);
    copy.create_dir_all(Path::new(RESTORED)).unwrap();
    copy.put(&Path::new(RESTORED).join("notes.txt"), b"mine");
    assert!(matches!(restored(&copy), Err(RestoreError::NotEmpty { .. })));
    copy.take(&Path::new(RESTORED).join("notes.txt"));
    assert_eq!(restored(&copy).unwrap().1.whole(), 3);
    assert!(matches!(restored(&copy), Err(RestoreError::NotEmpty { .. })), "it is a log now");
}

#[test]
fn a_restored_log_that_goes_on_can_be_copied_into_the_same_backup() {
    let (_, mut log) = source(&settings());
    append(&mut log, 1, 5);
    let copy = FaultyDisk::new(2);
    let mut held = replica(&copy).unwrap();
    follow(&mut reader(&log, &mut held), &mut held).unwrap();
    drop(held);
    restored(&copy).unwrap();
    let (mut log, _) = open(&as_disk(&copy), &LogSettings::new(RESTORED)).unwrap();
    append(&mut log, 3, 5);
    let mut held = replica(&copy).unwrap();
    follow(&mut reader(&log, &mut held), &mut held).unwrap();
    assert_eq!(held.position(), Position::new(10));
}

#[test]
fn a_log_without_files_has_nothing_to_copy() {
    let mut settings = settings();
    settings.durability = roster_store::Durability::None;
    let (_, log) = source(&settings);
    assert!(log.feed().reader(Vec::new()).is_err());
}
