//! Room made in advance: what it looks like to a start, a tool and a full disk.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roster_store::disk::{Operation, Survival};
use roster_store::tools::{FileRole, RepairMode, repair, verify};
use roster_store::{Directory, Disk, FaultyDisk, LocalLog, LogSettings, OpenError, OrderedLog, RecoveryNote};

use crate::support::{Memory, append, at, open, rebuild, records};

const AHEAD: u64 = 4096;

fn settings() -> LogSettings {
    LogSettings { ahead_max: AHEAD, ..LogSettings::new("/var/roster") }
}

fn start(disk: &FaultyDisk) -> Result<(LocalLog, Memory), OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    open(&shared, &settings())
}

fn last_segment(disk: &FaultyDisk) -> (PathBuf, Vec<u8>) {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    disk.files().into_iter().rfind(|(path, _)| is_segment(path)).unwrap()
}

fn content_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// A log of two batches whose process was killed, its last segment with its room, and where the second batch begins.
fn killed() -> (FaultyDisk, PathBuf, Vec<u8>, usize) {
    let disk = FaultyDisk::new(7);
    let (mut log, _) = start(&disk).unwrap();
    append(&mut log, 1, 3);
    let begin = content_len(&last_segment(&disk).1);
    append(&mut log, 2, 20);
    let disk = disk.reboot(Survival::Lost);
    let (path, bytes) = last_segment(&disk);
    assert!(bytes.len() > content_len(&bytes) + 100 && content_len(&bytes) > begin + 600, "L11: there is room");
    (disk, path, bytes, begin)
}

#[test]
fn the_room_of_a_killed_process_is_no_content_to_anybody() {
    let (disk, path, bytes, _) = killed();
    let directories = settings().directories();
    let report = verify::<Directory>(&disk, &directories).unwrap();
    assert!(report.is_sound() && report.torn.is_none(), "{report:?}");
    let segment = report.files.iter().find(|file| file.role == FileRole::Segment).unwrap();
    assert_eq!(segment.bytes, content_len(&bytes) as u64, "L11");
    let mended = repair::<Directory>(&disk, &directories, RepairMode::DryRun, at(9)).unwrap();
    assert_eq!(mended.actions, []);
    let (log, memory) = start(&disk).unwrap();
    assert_eq!((memory.whole(), &log.report().notes[..]), (23, &[][..]));
    assert_eq!(last_segment(&disk), (path, bytes[..content_len(&bytes)].to_vec()), "L11: a start cuts it off");
}

#[test]
fn a_batch_that_stopped_at_any_byte_of_the_room_is_cut_off_and_kept_aside() {
    let (disk, path, bytes, begin) = killed();
    let end = content_len(&bytes);
    for stop in begin + 1..end {
        let disk = disk.reboot(Survival::Kept);
        let mut torn = bytes.clone();
        torn[stop..].fill(0);
        disk.put(&path, &torn);
        let (log, memory) = start(&disk).unwrap_or_else(|refused| panic!("stopped at byte {stop}: {refused}"));
        assert_eq!(memory.whole(), 3, "stopped at byte {stop}");
        let [RecoveryNote::TornTail { offset, bytes, .. }] = &log.report().notes[..] else { panic!("byte {stop}") };
        assert!(*offset == begin as u64 && *bytes < (stop - begin + 512) as u64, "L11: the room is not kept aside");
    }
}

#[test]
fn a_batch_of_which_a_sector_did_not_reach_the_room_is_cut_off() {
    let (disk, path, bytes, begin) = killed();
    let end = content_len(&bytes);
    for sector in begin / 512..end.div_ceil(512) {
        let disk = disk.reboot(Survival::Kept);
        let mut lost = bytes.clone();
        lost[(sector * 512).max(begin)..((sector + 1) * 512).min(end)].fill(0);
        disk.put(&path, &lost);
        assert_eq!(start(&disk).unwrap().1.whole(), 3, "sector {sector}");
    }
}

#[test]
fn one_flipped_bit_before_the_room_is_damage_and_one_in_it_loses_nothing_silently() {
    let (disk, path, bytes, begin) = killed();
    let end = content_len(&bytes);
    for index in begin..end {
        let disk = disk.reboot(Survival::Kept);
        let mut flipped = bytes.clone();
        flipped[index] ^= 1 << (index % 8);
        disk.put(&path, &flipped);
        assert!(matches!(start(&disk), Err(OpenError::Damaged { .. })), "byte {index}");
    }
    for index in [end, end + 39, end + 40, end + 700] {
        let disk = disk.reboot(Survival::Kept);
        let mut flipped = bytes.clone();
        flipped[index] ^= 1;
        disk.put(&path, &flipped);
        match start(&disk) {
            Ok((log, memory)) => {
                assert_eq!(memory.whole(), 23, "byte {index}");
                assert!(matches!(log.report().notes[..], [RecoveryNote::TornTail { .. }]), "byte {index} is kept");
            }
            Err(refused) => assert!(matches!(refused, OpenError::Damaged { .. }), "byte {index}"),
        }
    }
}

#[test]
fn room_is_given_back_at_an_orderly_end_and_before_the_next_segment() {
    let disk = FaultyDisk::new(7);
    let (mut log, _) = start(&disk).unwrap();
    append(&mut log, 1, 3);
    let (first, with_room) = last_segment(&disk);
    assert!(with_room.len() > content_len(&with_room));
    let log_bytes = log.status().log_bytes;
    rebuild(&mut log, 2);
    let (_, closed) = disk.files().into_iter().find(|(path, _)| *path == first).unwrap();
    assert_eq!((closed.len(), closed.len() as u64), (content_len(&with_room), 64 + log_bytes), "L11");
    assert_eq!(log.status().history_bytes, closed.len() as u64, "L11");
    append(&mut log, 3, 1);
    drop(log);
    let (second, ended) = last_segment(&disk);
    assert!(second != first && ended.len() == content_len(&ended), "L11");
    assert_eq!(start(&disk).unwrap().1.whole(), 4);
}

#[test]
fn a_disk_that_is_full_while_room_is_made_refuses_no_batch() {
    let disk = FaultyDisk::new(7);
    let (mut log, _) = start(&disk).unwrap();
    let before = disk.used_bytes();
    disk.limit_writes(100);
    disk.fail(Operation::Write, 3, ErrorKind::StorageFull);
    append(&mut log, 1, 1);
    let batch = disk.used_bytes() - before;
    assert!(batch < 100, "L12: what was written of the room is given back");
    (2..=10).for_each(|now| append(&mut log, now, 1));
    assert_eq!(start(&disk.reboot(Survival::Lost)).unwrap().1.whole(), 10, "L12");

    let disk = FaultyDisk::new(7);
    let (mut log, _) = start(&disk).unwrap();
    disk.limit_writes(100);
    disk.fail(Operation::Write, 3, ErrorKind::Other);
    disk.fail(Operation::Truncate, 1, ErrorKind::Other);
    (1..=10).for_each(|now| append(&mut log, now, 1));
    assert_eq!(start(&disk.reboot(Survival::Lost)).unwrap().1.whole(), 10, "L12");

    for more in 0..3 * AHEAD {
        let disk = FaultyDisk::new(7);
        let (mut log, _) = start(&disk).unwrap();
        disk.set_capacity(Some(disk.used_bytes() + batch + more));
        log.append(at(1), &[records([1])]).unwrap_or_else(|error| panic!("L12: {more} bytes more: {error}"));
        assert_eq!(disk.used_bytes(), before + batch, "a disk with little room is left alone");
    }
}

#[test]
fn a_log_that_was_written_without_room_goes_on_with_it_and_back() {
    let disk = FaultyDisk::new(7);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let without = LogSettings { ahead_max: 0, ..settings() };
    let mut written = 0;
    for (round, settings) in [&without, &settings(), &without, &settings()].into_iter().enumerate() {
        let (mut log, memory) = open(&shared, settings).unwrap();
        assert_eq!((memory.whole(), &log.report().notes[..]), (written, &[][..]));
        append(&mut log, 1 + round as u64, 5);
        written += 5;
        assert_eq!(last_segment(&disk).1.ends_with(&[0; 64]), settings.ahead_max > 0);
    }
}

#[test]
fn a_small_log_has_little_room_and_a_segment_is_never_made_longer_than_it_may_be() {
    let disk = FaultyDisk::new(7);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let settings = LogSettings { segment_max: 20_000, history: Duration::ZERO, ..settings() };
    let (mut log, _) = open(&shared, &settings).unwrap();
    let mut longest = 0;
    for now in 1..=400 {
        append(&mut log, now, 1);
        let (_, bytes) = last_segment(&disk);
        let (len, content) = (bytes.len(), content_len(&bytes));
        assert!(len - content <= content.max(AHEAD as usize / 16), "as much room as content, and some for the first");
        assert!(len <= 20_000 || len == content, "{len}");
        longest = longest.max(len);
    }
    assert!(longest > 19_000);
}
