//! Full disks, retention, the alternation of directories, and when a rebuild is due.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roster_core::Position;
use roster_store::disk::{Operation, Survival};
use roster_store::{AppendError, Disk, Durability, FaultyDisk, LogSettings, OpenError, OrderedLog, SnapshotError};

use crate::support::{at, item, open, rebuild, records};

fn settings() -> LogSettings {
    LogSettings::new("/var/roster")
}

fn begin(settings: &LogSettings) -> (FaultyDisk, roster_store::LocalLog) {
    let disk = FaultyDisk::new(3);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = open(&shared, settings).unwrap().0;
    (disk, log)
}

fn reopened(disk: &FaultyDisk, settings: &LogSettings) -> u64 {
    let shared: Arc<dyn Disk> = Arc::new(disk.reboot(Survival::Kept));
    open(&shared, settings).unwrap().1.whole()
}

#[test]
fn a_full_disk_refuses_the_batch_whole_and_takes_it_when_there_is_room_again() {
    let (disk, mut log) = begin(&LogSettings { ahead_max: 0, ..settings() });
    log.append(at(1), &[records([1])]).unwrap();
    let used = disk.used_bytes();
    for room in 0..80 {
        disk.set_capacity(Some(used + room));
        let refused = log.append(at(2), &[records([2, 3])]).unwrap_err();
        assert!(matches!(refused, AppendError::Full { .. }), "{refused:?}");
        assert_eq!(disk.used_bytes(), used, "the part that was written is cut off");
        assert!(!log.has_room());
        assert_eq!(reopened(&disk, &settings()), 1);
    }
    disk.set_capacity(None);
    assert!(log.has_room());
    assert_eq!(log.append(at(3), &[records([2, 3])]).unwrap().get(), 2);
    assert_eq!(reopened(&disk, &settings()), 3);
    assert_eq!(log.status().counters.full, 80);
}

#[test]
fn a_disk_that_is_full_at_any_operation_stops_nothing_for_good() {
    let mut settings = settings();
    settings.segment_max = 200;
    settings.history = Duration::ZERO;
    for operation in 1..200 {
        let disk = FaultyDisk::new(operation);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut log, _) = open(&shared, &settings).unwrap();
        disk.fail_at(disk.operations() + operation, ErrorKind::StorageFull);
        let mut acknowledged = 0;
        let mut poisoned = false;
        for _ in 0..6 {
            let next = log.next_position().get();
            match log.append(at(next), &[records([next])]) {
                Ok(_) => acknowledged = next,
                // Only after a sync of which nobody knows what it did.
                Err(AppendError::Failed(_) | AppendError::Poisoned { .. }) => poisoned = true,
                Err(AppendError::Full { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
            if next == 3 && try_rebuild(&mut log).is_err() {
                log.abandon_snapshot();
                poisoned |= log.status().failed.is_some();
            }
        }
        disk.fail_at(0, ErrorKind::StorageFull);
        if !poisoned {
            let next = log.next_position().get();
            log.append(at(100), &[records([next])]).unwrap();
            try_rebuild(&mut log).unwrap();
            acknowledged = next;
        }
        assert!(reopened(&disk, &settings) >= acknowledged, "operation {operation}");
    }
}

fn try_rebuild(log: &mut roster_store::LocalLog) -> Result<(), SnapshotError> {
    let mut writer = log.begin_snapshot(at(50))?;
    for number in 1..=writer.position().get() {
        writer.push(&item(number))?;
    }
    let finished = writer.finish()?;
    log.commit_snapshot(finished, at(50)).map(|_| ())
}

#[test]
fn a_write_that_cannot_be_cut_off_again_stops_the_log() {
    let (disk, mut log) = begin(&settings());
    disk.fail(Operation::Write, 1, ErrorKind::StorageFull);
    disk.fail(Operation::Truncate, 1, ErrorKind::Other);
    assert!(matches!(log.append(at(1), &[records([1])]), Err(AppendError::Failed(_))));
    assert!(matches!(log.append(at(1), &[records([1])]), Err(AppendError::Poisoned { .. })));
    assert!(!log.has_room());
}

#[test]
fn a_full_disk_during_a_rebuild_gives_the_rebuild_up_and_keeps_serving() {
    let (disk, mut log) = begin(&settings());
    log.append(at(1), &[records(1..=50)]).unwrap();
    let mut writer = log.begin_snapshot(at(2)).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 200));
    (1..=50).try_for_each(|number| writer.push(&item(number))).unwrap();
    assert!(matches!(writer.finish(), Err(SnapshotError::Full { .. })));
    log.abandon_snapshot();
    log.append(at(3), &[records([51])]).unwrap();
    assert_eq!(reopened(&disk, &settings()), 51);
    disk.set_capacity(None);
    rebuild(&mut log, 4);
    assert_eq!(reopened(&disk, &settings()), 51);
}

#[test]
fn a_rebuild_is_due_exactly_at_the_least_size_and_then_at_the_growth() {
    let mut settings = settings();
    let (_, mut log) = begin(&settings);
    log.append(at(1), &[records(1..=20)]).unwrap();
    let bytes = log.status().log_bytes;
    settings.rebuild_min = bytes;
    let (_, mut log) = begin(&settings);
    assert!(!log.wants_snapshot());
    log.append(at(1), &[records(1..=19)]).unwrap();
    assert!(!log.wants_snapshot());
    settings.rebuild_min = bytes;
    let (_, mut log) = begin(&settings);
    log.append(at(1), &[records(1..=20)]).unwrap();
    assert!(log.wants_snapshot(), "F19: at the least size");
    let writer = log.begin_snapshot(at(2)).unwrap();
    assert!(!log.wants_snapshot(), "one is under way");
    drop(writer);
    log.abandon_snapshot();
    assert!(!log.wants_snapshot(), "not again at once");

    settings.rebuild_min = 1;
    let (_, mut log) = begin(&settings);
    log.append(at(1), &[records(1..=20)]).unwrap();
    rebuild(&mut log, 2);
    let snapshot = log.status().snapshot_bytes;
    let mut steps = Vec::new();
    while log.status().log_bytes < 2 * snapshot {
        assert!(!log.wants_snapshot(), "F19: not before the log is twice the snapshot");
        let next = log.next_position().get();
        log.append(at(3), &[records([next])]).unwrap();
        steps.push(log.status().log_bytes);
    }
    assert!(log.wants_snapshot());

    // A growth that one of those sizes meets exactly.
    let exact = |bytes: &&u64| (**bytes as f64 / snapshot as f64) * snapshot as f64 == **bytes as f64;
    let met = *steps.iter().rev().find(exact).unwrap();
    settings.rebuild_growth = met as f64 / snapshot as f64;
    let (_, mut log) = begin(&settings);
    log.append(at(1), &[records(1..=20)]).unwrap();
    rebuild(&mut log, 2);
    while log.status().log_bytes < met {
        assert!(!log.wants_snapshot());
        let next = log.next_position().get();
        log.append(at(3), &[records([next])]).unwrap();
    }
    assert_eq!((log.status().log_bytes, log.wants_snapshot()), (met, true), "F19: at the growth");
}

#[test]
fn what_is_appended_during_a_rebuild_counts_towards_the_next() {
    let (_, mut log) = begin(&settings());
    log.append(at(1), &[records(1..=20)]).unwrap();
    let before = log.status().log_bytes;
    let mut writer = log.begin_snapshot(at(2)).unwrap();
    log.append(at(3), &[records(21..=25)]).unwrap();
    let during = log.status().log_bytes - before;
    (1..=20).try_for_each(|number| writer.push(&item(number))).unwrap();
    log.commit_snapshot(writer.finish().unwrap(), at(4)).unwrap();
    assert_eq!(log.status().log_bytes, during);
}

#[test]
fn generations_alternate_between_the_directories_and_leave_the_superseded_where_they_were() {
    let mut settings = settings();
    settings.switch_directory = Some("/mnt/roster".into());
    let (disk, mut log) = begin(&settings);
    let live_side = |disk: &FaultyDisk| {
        let manifest = disk.files().into_iter().find(|(path, _)| path.ends_with("MANIFEST")).unwrap().1;
        let text = String::from_utf8(manifest).unwrap();
        text.lines().find_map(|line| line.strip_prefix("snapshot ")?.split(' ').next().map(str::to_owned)).unwrap()
    };
    for side in ["switch", "data", "switch", "data"] {
        let next = log.next_position().get();
        log.append(at(next), &[records([next])]).unwrap();
        rebuild(&mut log, next);
        assert_eq!(live_side(&disk), side, "F21");
    }
    drop(log);
    assert_eq!(reopened(&disk, &settings), 4);
    settings.switch_directory = None;
    assert_eq!(reopened(&disk, &settings), 4, "the live generation is in the data directory");
}

#[test]
fn history_is_removed_when_it_is_old_enough_or_too_much_and_at_once_when_none_is_wanted() {
    let mut settings = settings();
    settings.history = Duration::from_secs(900);
    let (disk, mut log) = begin(&settings);
    for generation in 0..3_u64 {
        let next = log.next_position().get();
        log.append(at(next), &[records([next])]).unwrap();
        rebuild(&mut log, 1_000_000 * generation);
    }
    assert_eq!(log.status().history_files, 5, "three segments and two snapshots");
    assert_eq!(log.sweep(at(899_999)).unwrap().files.len(), 0, "young ones are kept");
    assert_eq!(log.sweep(at(900_000)).unwrap().files.len(), 1, "F18: the one that was superseded at 0");
    assert_eq!(log.sweep(at(1_900_000)).unwrap().files.len(), 2);
    assert_eq!(disk.files().len(), 1 + 2 + 2, "the manifest, two live files, two of the history");
    drop(log);
    assert_eq!(reopened(&disk, &settings), 3);

    settings.history_max = 0;
    let (disk, mut log) = begin(&settings);
    log.append(at(1), &[records([1])]).unwrap();
    rebuild(&mut log, 2);
    assert_eq!(log.sweep(at(2)).unwrap().files.len(), 1, "beyond history-max");
    drop((disk, log));

    settings.history = Duration::ZERO;
    let (disk, mut log) = begin(&settings);
    log.append(at(1), &[records([1])]).unwrap();
    rebuild(&mut log, 2);
    assert_eq!(disk.files().len(), 1 + 2, "nothing superseded is left");
    assert!(log.tail(Position::new(1)).is_err(), "and what is gone is not shown as empty");
}

#[test]
fn a_group_of_callers_costs_one_write_and_one_sync() {
    let (disk, mut log) = begin(&settings());
    log.append(at(1), &[records([0])]).unwrap(); // and makes room
    let before = disk.operations();
    let callers: Vec<_> = (1..=100).map(|number| records([number])).collect();
    log.append(at(1), &callers).unwrap();
    assert_eq!(disk.operations() - before, 2, "F61");
    assert_eq!(log.append(at(1), &[]).unwrap().get(), 102);
    assert_eq!(disk.operations() - before, 2, "nothing costs nothing");
}

#[test]
fn the_time_of_a_batch_never_runs_backwards_not_even_over_a_rebuild_and_a_restart() {
    let (disk, mut log) = begin(&settings());
    log.append(at(500), &[records([1])]).unwrap();
    log.append(at(400), &[records([2])]).unwrap();
    assert_eq!(log.last_at(), at(500), "L9");
    rebuild(&mut log, 1);
    drop(log);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let (mut log, _) = open(&shared, &settings()).unwrap();
    assert_eq!(log.last_at(), at(500));
    log.append(at(3), &[records([3])]).unwrap();
    assert_eq!(log.last_at(), at(500));
}

#[test]
fn without_durability_no_file_is_written_and_a_directory_with_a_log_is_refused() {
    let mut settings = settings();
    settings.durability = Durability::None;
    let (disk, mut log) = begin(&settings);
    assert_eq!(log.append(at(1), &[records([1, 2])]).unwrap().get(), 1);
    assert_eq!(log.next_position().get(), 3);
    assert_eq!(disk.files(), []);
    assert!(matches!(log.begin_snapshot(at(1)), Err(SnapshotError::NoFiles)));
    drop(log);
    disk.put(Path::new("/var/roster/MANIFEST"), b"");
    let shared: Arc<dyn Disk> = Arc::new(disk);
    assert!(matches!(open(&shared, &settings), Err(OpenError::HoldsLog { .. })));
}

#[test]
fn with_durability_os_a_killed_process_loses_nothing_and_no_batch_is_synced() {
    let mut settings = settings();
    settings.durability = Durability::Os;
    let (disk, mut log) = begin(&settings);
    for number in 1..=3 {
        log.append(at(number), &[records([number])]).unwrap();
    }
    assert_eq!(log.status().counters.syncs, 0);
    drop(log);
    assert_eq!(reopened(&disk, &settings), 3);
}

#[test]
fn a_batch_beyond_the_limits_is_refused_and_changes_nothing() {
    let (_, mut log) = begin(&settings());
    let mut big = roster_store::Records::new();
    big.push_encoded(&vec![7; roster_store::limits::RECORD_BYTES_MAX + 1]);
    assert!(matches!(log.append(at(1), &[big]), Err(AppendError::TooLarge { .. })));
    assert_eq!(log.append(at(1), &[records([1])]).unwrap().get(), 1);
}

#[test]
fn what_is_lost_by_a_wrong_switch_directory_is_named() {
    let mut settings = settings();
    settings.switch_directory = Some("/mnt/roster".into());
    let (disk, mut log) = begin(&settings);
    log.append(at(1), &[records([1])]).unwrap();
    rebuild(&mut log, 2);
    drop(log);
    settings.switch_directory = None;
    let shared: Arc<dyn Disk> = Arc::new(disk);
    assert!(matches!(open(&shared, &settings), Err(OpenError::NoSwitchDirectory { .. })));
}
