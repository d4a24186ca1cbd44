//! Files that are not as they were written: cut, flipped, missing. Never wrong data, never silent loss.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roster_core::Position;
use roster_store::disk::Survival;
use roster_store::tools::{RepairError, RepairMode, RepairReport, inspect, repair, verify};
use roster_store::{Directory, Disk, FaultyDisk, LogSettings, OpenError, OrderedLog, RecoveryNote};

use crate::support::{at, open, rebuild, records};

fn settings() -> LogSettings {
    let mut settings = LogSettings::new("/var/roster");
    settings.switch_directory = Some("/mnt/roster".into());
    settings.segment_max = 300;
    settings
}

/// Three generations: a snapshot up to 27 in force, and 40 commands in all in several segments.
fn written() -> FaultyDisk {
    let disk = FaultyDisk::new(7);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = open(&shared, &settings()).unwrap();
    for batch in 0..40 {
        let first = log.next_position().get();
        log.append(at(10 + batch), &[records(first..=first)]).unwrap();
        if batch == 11 || batch == 26 {
            rebuild(&mut log, 100);
        }
    }
    disk
}

fn live_files(disk: &FaultyDisk, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let manifest = disk.files().into_iter().find(|(path, _)| path.ends_with("MANIFEST")).unwrap().1;
    let manifest = String::from_utf8(manifest).unwrap();
    let named = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(extension) && manifest.lines().any(|line| !line.starts_with("history") && line.ends_with(name))
    };
    disk.files().into_iter().filter(|(path, _)| named(path)).collect()
}

/// What a start gives: how many commands, or the refusal.
fn start(disk: &FaultyDisk) -> Result<u64, OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    open(&shared, &settings()).map(|(_, memory)| memory.whole())
}

fn mend(disk: &FaultyDisk, mode: RepairMode) -> Result<RepairReport, RepairError> {
    repair::<Directory>(disk, &settings().directories(), mode, at(1000))
}

#[test]
fn a_last_batch_cut_at_any_byte_is_cut_off_kept_aside_and_reported() {
    let disk = written();
    let (path, whole) = live_files(&disk, ".segment").pop().unwrap();
    let last_frame = (0..whole.len()).rev().find(|&at| whole[at..].starts_with(b"RFrm")).unwrap();
    for len in last_frame..whole.len() {
        let disk = disk.reboot(Survival::Kept);
        disk.put(&path, &whole[..len]);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut log, memory) = open(&shared, &settings()).unwrap();
        assert_eq!(memory.whole(), 39);
        match &log.report().notes[..] {
            [] => assert_eq!(len, last_frame, "a cut between frames leaves nothing to see"),
            [RecoveryNote::TornTail { file, offset, bytes, kept, .. }] => {
                assert_eq!((file, *offset, *bytes), (&path, last_frame as u64, (len - last_frame) as u64));
                let copy = disk.files().into_iter().find(|(path, _)| path == kept).unwrap().1;
                assert_eq!(copy, &whole[last_frame..len], "L10: what was cut is kept");
                assert_eq!(log.status().history_files, 1 + history_files(), "and swept with the history");
            }
            notes => panic!("{notes:?}"),
        }
        log.append(at(2000), &[records([40])]).unwrap();
        drop(log);
        assert_eq!(start(&disk).unwrap(), 40);
    }
}

fn history_files() -> usize {
    let shared: Arc<dyn Disk> = Arc::new(written().reboot(Survival::Kept));
    open(&shared, &settings()).unwrap().0.status().history_files
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let disk = written();
    let (path, mut bytes) = live_files(&disk, ".segment").pop().unwrap();
    bytes.resize(bytes.len() + 5000, 0);
    let disk = disk.reboot(Survival::Kept);
    disk.put(&path, &bytes);
    assert_eq!(start(&disk).unwrap(), 40);
    assert_eq!(start(&disk).unwrap(), 40);
}

#[test]
fn one_flipped_bit_anywhere_gives_the_whole_log_or_a_refusal_that_names_the_file() {
    let disk = written();
    let mut files = live_files(&disk, ".segment");
    files.extend(live_files(&disk, ".snapshot"));
    files.extend(disk.files().into_iter().filter(|(path, _)| path.ends_with("MANIFEST")));
    for (path, bytes) in files {
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            let disk = disk.reboot(Survival::Kept);
            disk.put(&path, &flipped);
            match start(&disk) {
                Err(OpenError::Damaged { damage, .. }) => {
                    assert_eq!(damage.file, path, "byte {index}");
                    assert!(damage.offset <= index as u64, "byte {index} is at or after {}", damage.offset);
                    let found = verify::<Directory>(&disk, &settings().directories()).unwrap();
                    assert!(found.problems.contains(&damage), "verify sees it too: {:?}", found.problems);
                }
                other => panic!("byte {index} of {}: {other:?}", path.display()),
            }
        }
    }
}

#[test]
fn after_a_repair_the_log_opens_with_everything_before_the_damage_and_says_what_is_lost() {
    let disk = written();
    for (path, bytes) in live_files(&disk, ".segment") {
        for index in (0..bytes.len()).step_by(5) {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0x10;
            let disk = disk.reboot(Survival::Kept);
            disk.put(&path, &flipped);
            let planned = mend(&disk, RepairMode::DryRun).unwrap();
            assert!(start(&disk).is_err(), "a dry run changes nothing");
            let done = mend(&disk, RepairMode::Apply).unwrap();
            assert_eq!((&planned.actions, planned.lost), (&done.actions, done.lost));
            let last = start(&disk).unwrap();
            assert_eq!(last + 1, done.next_position.get());
            let lost = done.lost.map_or(0, |lost| lost.last.get() - lost.first.get() + 1);
            assert_eq!(last + lost, 40, "{last} and {lost} lost with byte {index} of {}", path.display());
            assert!(verify::<Directory>(&disk, &settings().directories()).unwrap().is_sound());
            assert_eq!(mend(&disk, RepairMode::Apply).unwrap().actions, [], "a second repair has nothing to do");
        }
    }
}

#[test]
fn a_damaged_or_missing_snapshot_is_made_up_for_by_the_history() {
    let disk = written();
    for (path, bytes) in live_files(&disk, ".snapshot") {
        for missing in [true, false] {
            let disk = disk.reboot(Survival::Kept);
            disk.take(&path);
            if !missing {
                disk.put(&path, &bytes[..bytes.len() - 1]);
            }
            assert!(matches!(start(&disk), Err(OpenError::Damaged { .. })));
            let done = mend(&disk, RepairMode::Apply).unwrap();
            assert_eq!(done.lost, None);
            assert_eq!(start(&disk).unwrap(), 40);
        }
    }
}

#[test]
fn a_missing_segment_is_refused_and_a_repair_keeps_what_stands_before_it() {
    let disk = written();
    let segments = live_files(&disk, ".segment");
    assert!(segments.len() > 2);
    for (path, _) in &segments {
        let disk = disk.reboot(Survival::Kept);
        disk.take(path);
        let Err(OpenError::Damaged { damage, .. }) = start(&disk) else { panic!("refused") };
        assert_eq!(damage.file, *path);
        let done = mend(&disk, RepairMode::Apply).unwrap();
        assert_eq!(start(&disk).unwrap() + 1, done.next_position.get());
    }
}

#[test]
fn an_empty_start_is_refused_while_there_is_history_without_its_manifest() {
    let disk = written().reboot(Survival::Kept);
    disk.take(Path::new("/var/roster/MANIFEST"));
    let refused = start(&disk).unwrap_err();
    assert!(matches!(refused, OpenError::NoManifest { .. }));
    assert!(refused.to_string().contains("roster log repair --data-dir /var/roster"), "{refused}");
    let done = mend(&disk, RepairMode::Apply).unwrap();
    assert_eq!((done.lost, done.next_position.get()), (None, 41));
    assert_eq!(start(&disk).unwrap(), 40);
}

#[test]
fn an_old_manifest_put_back_is_refused_rather_than_losing_what_came_after() {
    let disk = FaultyDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = open(&shared, &settings()).unwrap();
    let manifest = disk.files().into_iter().find(|(path, _)| path.ends_with("MANIFEST")).unwrap();
    for number in 1..=40 {
        log.append(at(number), &[records([number])]).unwrap();
    }
    drop(log);
    let disk = disk.reboot(Survival::Kept);
    disk.put(&manifest.0, &manifest.1);
    assert!(matches!(start(&disk), Err(OpenError::Damaged { .. })), "L3");
    mend(&disk, RepairMode::Apply).unwrap();
    assert_eq!(start(&disk).unwrap(), 40);
}

#[test]
fn a_repair_interrupted_at_any_operation_can_be_repeated() {
    let written = written();
    let segments = live_files(&written, ".segment");
    let (path, bytes) = &segments[segments.len() / 2];
    let mut flipped = bytes.clone();
    flipped[200] ^= 1;
    written.put(path, &flipped);
    let whole = written.reboot(Survival::Kept);
    mend(&whole, RepairMode::Apply).unwrap();
    let expected = start(&whole).unwrap();
    for operation in 1.. {
        let disk = written.reboot(Survival::Kept);
        disk.crash_at(operation);
        if mend(&disk, RepairMode::Apply).is_ok() {
            break;
        }
        for outcome in [Survival::Lost, Survival::Kept, Survival::Torn(operation), Survival::Torn(operation + 99)] {
            let disk = disk.reboot(outcome);
            mend(&disk, RepairMode::Apply).unwrap();
            assert_eq!(start(&disk).unwrap(), expected, "after operation {operation} with {outcome:?}");
        }
    }
}

#[test]
fn a_sound_log_has_nothing_to_repair_and_can_be_inspected_from_the_first_command() {
    let disk = written();
    let report = verify::<Directory>(&disk, &settings().directories()).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!((report.torn, report.next_position.get()), (None, 41));
    let rebooted = disk.reboot(Survival::Kept);
    assert_eq!(mend(&rebooted, RepairMode::Apply).unwrap().actions, []);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let batches = inspect::<Directory>(&shared, &settings().directories(), Position::new(1)).unwrap();
    let positions: Vec<u64> = batches.map(|batch| batch.unwrap().position.get()).collect();
    assert_eq!(positions, (1..=40).collect::<Vec<_>>(), "the history reaches back to the begin");
}

#[test]
fn another_format_version_is_refused_and_not_taken_for_damage() {
    let disk = written().reboot(Survival::Kept);
    let (path, mut bytes) = live_files(&disk, ".segment").pop().unwrap();
    bytes[8] = 9;
    let sum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    disk.put(&path, &bytes);
    let refused = start(&disk).unwrap_err();
    assert!(matches!(refused, OpenError::Version { found: 9, readable: 1, .. }), "{refused}");
    assert!(mend(&disk, RepairMode::Apply).is_err(), "and a repair leaves it alone");
}

#[test]
fn a_snapshot_with_a_frame_too_few_or_too_much_behind_its_end_is_refused() {
    let disk = written();
    let (path, bytes) = live_files(&disk, ".snapshot").pop().unwrap();
    let trailer = (0..bytes.len()).rev().find(|&at| bytes[at..].starts_with(b"RFrm")).unwrap();
    let without_items = [&bytes[..64], &bytes[trailer..]].concat();
    let with_two_ends = [&bytes[..], &bytes[trailer..]].concat();
    for changed in [without_items, with_two_ends] {
        let disk = disk.reboot(Survival::Kept);
        disk.put(&path, &changed);
        let Err(OpenError::Damaged { damage, .. }) = start(&disk) else { panic!("L5: refused") };
        assert_eq!(damage.file, path);
    }
}

#[test]
fn a_segment_cut_between_two_frames_is_missed_by_the_one_that_follows_even_if_that_is_empty() {
    let disk = FaultyDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = open(&shared, &settings()).unwrap();
    for number in 1..=3 {
        log.append(at(number), &[records([number])]).unwrap();
    }
    drop(log.begin_snapshot(at(4)).unwrap());
    log.abandon_snapshot();
    drop(log);
    let segments = live_files(&disk, ".segment");
    assert_eq!((segments.len(), segments[0].1.len()), (2, 64), "the empty one is in the switch directory");
    let (path, bytes) = &segments[1];
    let last_frame = (0..bytes.len()).rev().find(|&at| bytes[at..].starts_with(b"RFrm")).unwrap();
    disk.put(path, &bytes[..last_frame]);
    let Err(OpenError::Damaged { damage, .. }) = start(&disk) else { panic!("L8: refused") };
    assert_eq!(damage.file, segments[0].0);
}

#[test]
fn a_repair_without_history_goes_on_from_the_snapshot_in_force() {
    let mut brief = settings();
    brief.history = std::time::Duration::ZERO;
    let disk = FaultyDisk::new(7);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) = open(&shared, &brief).unwrap();
    for number in 1..=6 {
        log.append(at(number), &[records([number])]).unwrap();
        if number == 3 {
            rebuild(&mut log, 3);
        }
    }
    drop(log);
    let (path, mut bytes) = live_files(&disk, ".segment").swap_remove(0);
    bytes[90] ^= 1;
    disk.put(&path, &bytes);
    let lost = mend(&disk, RepairMode::Apply).unwrap().lost.unwrap();
    assert_eq!((lost.first.get(), lost.last.get()), (4, 6));
    assert_eq!(start(&disk).unwrap(), 3);
}
