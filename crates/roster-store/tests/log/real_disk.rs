//! The log on the file system of the machine.

use std::sync::Arc;

use crate::support::{at, open, rebuild, records};
use roster_store::{Disk, LogSettings, OpenError, OrderedLog, RealDisk};

#[test]
fn what_was_appended_is_there_after_a_restart_with_and_without_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut settings = LogSettings::new(dir.path().join("not/yet/there"));
    settings.switch_directory = Some(dir.path().join("other"));
    {
        let (mut log, memory) = open(&disk, &settings).unwrap();
        assert_eq!(memory.whole(), 0);
        assert_eq!(log.append(at(5), &[records([1, 2]), records([3])]).unwrap().get(), 1);
        assert_eq!(log.append(at(6), &[records([4])]).unwrap().get(), 4);
        rebuild(&mut log, 7);
        assert_eq!(log.append(at(8), &[records([5])]).unwrap().get(), 5);
        let tail: Vec<_> = log.tail(roster_core::Position::new(2)).unwrap().map(Result::unwrap).collect();
        assert_eq!(tail.iter().map(|batch| batch.position.get()).collect::<Vec<_>>(), [2, 4, 5]);
    }
    let (log, memory) = open(&disk, &settings).unwrap();
    assert_eq!(memory.snapshot_end.unwrap().get(), 4);
    assert_eq!(memory.whole(), 5);
    assert_eq!(log.next_position().get(), 6);
    assert_eq!(log.report().notes, []);
}

#[test]
fn a_second_process_is_refused_while_the_first_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let settings = LogSettings::new(dir.path());
    let first = open(&disk, &settings).unwrap();
    assert!(matches!(open(&disk, &settings), Err(OpenError::Locked { .. })));
    drop(first);
    open(&disk, &settings).unwrap();
}
