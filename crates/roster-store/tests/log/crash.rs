//! A power cut at every single operation, with several outcomes for what was not synced.

use std::sync::Arc;
use std::time::Duration;

use roster_store::disk::Survival;
use roster_store::{Disk, FaultyDisk, LogSettings, OpenError, OrderedLog, SnapshotError};

use crate::support::{at, item, open, rebuild, records};

/// Several of what may be left by a power cut at an operation.
fn outcomes(operation: u64) -> impl Iterator<Item = Survival> {
    [Survival::Lost, Survival::Kept].into_iter().chain((0..24).map(move |n| Survival::Torn(operation * 100 + n)))
}

/// What a run of the scenario got done before the power went.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    acknowledged: u64,
    attempted: u64,
}

fn settings() -> LogSettings {
    let mut settings = LogSettings::new("/var/roster");
    settings.switch_directory = Some("/mnt/roster".into());
    settings.segment_max = 600;
    settings.history = Duration::from_millis(25);
    settings
}

struct Run {
    log: roster_store::LocalLog,
    done: Done,
    now: u64,
}

impl Run {
    fn start(disk: &FaultyDisk, settings: &LogSettings, done: Done) -> Option<Self> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (log, memory) = match open(&disk, settings) {
            Ok(opened) => opened,
            Err(OpenError::Io(_)) => return None,
            Err(refused) => panic!("{refused}"),
        };
        let last = memory.whole();
        assert!(last >= done.acknowledged, "L6: {} were acknowledged and {last} are there", done.acknowledged);
        assert!(last <= done.attempted, "nothing is invented");
        // What was read is told to others, so it counts as acknowledged from here on.
        Some(Self { log, done: Done { acknowledged: last, attempted: last }, now: 10 })
    }

    fn append(&mut self, count: u64) -> Option<()> {
        let first = self.log.next_position().get();
        self.done.attempted = first + count - 1;
        self.now += 1;
        let position = self.log.append(at(self.now), &[records(first..first + count)]).ok()?;
        assert_eq!(position.get(), first);
        self.done.acknowledged = self.done.attempted;
        Some(())
    }

    fn rebuild_with_appends(&mut self) -> Option<()> {
        let mut writer = self.log.begin_snapshot(at(self.now)).ok()?;
        self.append(1)?;
        for number in 1..=writer.position().get() {
            writer.push(&item(number)).ok()?;
        }
        self.append(2)?;
        let finished = writer.finish().ok()?;
        self.append(1)?;
        self.log.commit_snapshot(finished, at(self.now)).ok()?;
        self.append(1)
    }

    fn sweep(&mut self) -> Option<()> {
        self.now += 25;
        self.log.sweep(at(self.now)).ok().map(|_| ())
    }
}

/// First start, appends, rotations, a rebuild with appends between its steps, a rebuild given up, sweeps, a
/// restart without a power cut, and another rebuild back into the first directory.
fn life(disk: &FaultyDisk, settings: &LogSettings, done: &mut Done) -> Option<()> {
    let mut run = Run::start(disk, settings, *done)?;
    let outcome = first_life(&mut run);
    *done = run.done;
    drop(run);
    outcome?;
    let mut run = Run::start(disk, settings, *done)?;
    let outcome = second_life(&mut run);
    *done = run.done;
    outcome
}

fn first_life(run: &mut Run) -> Option<()> {
    for count in [1, 3, 50, 2, 50, 1] {
        run.append(count)?;
    }
    run.rebuild_with_appends()?;
    run.sweep()?;
    let writer = run.log.begin_snapshot(at(run.now)).ok()?;
    run.append(1)?;
    drop(writer);
    run.log.abandon_snapshot();
    run.append(1)
}

fn second_life(run: &mut Run) -> Option<()> {
    run.append(30)?;
    run.append(1)?;
    run.rebuild_with_appends()?;
    run.sweep()
}

/// Runs the life with a power cut at `operation`; `None` when it ended before.
fn crashed_life(seed: u64, operation: u64) -> Option<(FaultyDisk, Done)> {
    let disk = FaultyDisk::new(seed);
    disk.limit_writes(300);
    disk.crash_at(operation);
    let mut done = Done::default();
    let lived = life(&disk, &settings(), &mut done);
    // Whoever drops a log does not learn that its room could not be given back.
    assert!(lived.is_some() || disk.has_crashed(), "only the power cut stops it");
    disk.has_crashed().then_some((disk, done))
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_acknowledged_and_the_log_goes_on() {
    let mut operations = 0;
    for operation in 1.. {
        let Some((disk, done)) = crashed_life(operation, operation) else { break };
        operations = operation;
        for outcome in outcomes(operation) {
            let disk = disk.reboot(outcome);
            let mut run = Run::start(&disk, &settings(), done)
                .unwrap_or_else(|| panic!("L4: opens after a power cut at operation {operation} with {outcome:?}"));
            run.append(1).unwrap();
            goes_on(&disk, run);
        }
    }
    assert!(operations > 100, "the life had {operations} operations");
}

/// After a power cut that loses what it can, and after a rebuild and another such power cut.
fn goes_on(disk: &FaultyDisk, run: Run) {
    let done = run.done;
    drop(run);
    let disk = disk.reboot(Survival::Lost);
    let mut run = Run::start(&disk, &settings(), done).unwrap();
    run.rebuild_with_appends().unwrap();
    run.sweep().unwrap();
    let done = run.done;
    drop(run);
    Run::start(&disk.reboot(Survival::Lost), &settings(), done).unwrap();
}

#[test]
fn a_process_killed_at_any_operation_leaves_nothing_that_a_later_power_cut_could_take() {
    for operation in 1.. {
        let Some((disk, done)) = crashed_life(operation, operation) else { break };
        disk.restart_process();
        let mut run = Run::start(&disk, &settings(), done).unwrap();
        run.append(1).unwrap();
        goes_on(&disk, run);
    }
}

#[test]
fn a_power_cut_at_any_operation_of_a_recovery_loses_nothing_either() {
    for operation in 1.. {
        let Some((disk, done)) = crashed_life(operation, operation) else { break };
        for outcome in [Survival::Lost, Survival::Torn(operation), Survival::Torn(operation + 1)] {
            let crashed = disk.reboot(outcome);
            for recovery_operation in 1.. {
                let disk = crashed.reboot(Survival::Kept);
                disk.crash_at(recovery_operation);
                let opened = Run::start(&disk, &settings(), done).is_some();
                if opened && !disk.has_crashed() {
                    break;
                }
                for outcome in [Survival::Lost, Survival::Kept, Survival::Torn(recovery_operation)] {
                    let run = Run::start(&disk.reboot(outcome), &settings(), done);
                    assert!(run.is_some(), "opens after {operation}, then {recovery_operation}, with {outcome:?}");
                }
            }
        }
    }
}

#[test]
fn what_a_killed_process_had_not_synced_is_synced_before_it_is_told() {
    // The process ends between the write and the sync of its last batch; the page cache lives on.
    let disk = FaultyDisk::new(1);
    let mut run = Run::start(&disk, &settings(), Done::default()).unwrap();
    run.append(1).unwrap();
    disk.fail(roster_store::disk::Operation::Sync, 1, std::io::ErrorKind::Other);
    assert!(run.append(1).is_none());
    let attempted = Done { acknowledged: 1, attempted: 2 };
    drop(run);
    let run = Run::start(&disk, &settings(), attempted).unwrap();
    assert_eq!(run.done.acknowledged, 2, "the page cache still had it, and so it was told");
    drop(run);
    disk.crash();
    let run = Run::start(&disk.reboot(Survival::Lost), &settings(), Done { acknowledged: 2, attempted: 2 });
    assert!(run.is_some());
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    let disk = FaultyDisk::new(1);
    let mut run = Run::start(&disk, &settings(), Done::default()).unwrap();
    disk.fail(roster_store::disk::Operation::Sync, 1, std::io::ErrorKind::Other);
    assert!(run.append(1).is_none());
    let again = run.log.append(at(99), &[records([1])]);
    assert!(matches!(again, Err(roster_store::AppendError::Poisoned { .. })), "L7: {again:?}");
    assert!(matches!(run.log.begin_snapshot(at(99)), Err(SnapshotError::Poisoned { .. })));
    assert!(run.log.status().failed.is_some());
}

#[test]
fn a_rebuild_is_refused_while_another_is_under_way_and_a_stale_one_is_not_put_in_force() {
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(1));
    let (mut log, _) = open(&disk, &settings()).unwrap();
    log.append(at(1), &[records([1])]).unwrap();
    let writer = log.begin_snapshot(at(2)).unwrap();
    assert!(matches!(log.begin_snapshot(at(2)), Err(SnapshotError::UnderWay)));
    log.abandon_snapshot();
    let mut second = log.begin_snapshot(at(2)).unwrap();
    let stale = writer.finish();
    assert!(stale.is_err() || matches!(log.commit_snapshot(stale.unwrap(), at(3)), Err(SnapshotError::Superseded)));
    second.push(&item(1)).unwrap();
    log.commit_snapshot(second.finish().unwrap(), at(3)).unwrap();
    rebuild(&mut log, 4);
    drop(log);
    assert_eq!(open(&disk, &settings()).unwrap().1.whole(), 1);
}
