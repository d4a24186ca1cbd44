//! A power cut, or a killed process, at every operation of a copy.

use roster_core::Position;
use roster_store::disk::Survival;
use roster_store::{FaultyDisk, LocalLog, OrderedLog, ReplicaError};

use crate::replica::{follow, reader, replica, restored, settings, source};
use crate::support::{append, rebuild_with_append};

/// A life of a source, in steps between which it is copied.
fn step(log: &mut LocalLog, step: u64) -> bool {
    match step {
        0 => append(log, 1, 3),
        1 => {
            append(log, 1, 1);
            append(log, 1, 50);
            append(log, 1, 2);
        }
        2 => append(log, 2, 20),
        3 => rebuild_with_append(log, 2),
        4 => {
            append(log, 3, 1);
            append(log, 3, 1);
            append(log, 3, 60);
            append(log, 3, 1);
        }
        5 => rebuild_with_append(log, 3),
        6 => append(log, 4, 4),
        _ => return false,
    }
    true
}

/// Copies the life until the disk of the copy fails; up to where it was durable, and whether it ended before.
fn crashed_life(copy: &FaultyDisk, log: &mut LocalLog) -> Option<Position> {
    let mut told = Position::default();
    let ended = |error| match error {
        ReplicaError::Io(_) => {}
        error => panic!("{error}"),
    };
    let mut held = match replica(copy) {
        Ok(held) => held,
        Err(error) => {
            ended(error);
            return Some(told);
        }
    };
    let mut reader = reader(log, &mut held);
    for number in 0.. {
        if !step(log, number) {
            return None;
        }
        let followed = follow(&mut reader, &mut held);
        told = told.max(held.position());
        if let Err(error) = followed {
            ended(error);
            return Some(told);
        }
    }
    None
}

/// What is left restores, and goes on to equal the source.
fn assert_goes_on(copy: &FaultyDisk, log: &LocalLog, told: Position, when: &str) {
    let restored = restored(&copy.reboot(Survival::Kept));
    match restored {
        Ok((done, memory)) => {
            assert!(done.position >= told, "Y4: {when}: {told} was durable, {} was restored", done.position);
            assert_eq!(memory.whole(), done.position.get());
        }
        Err(error) => assert_eq!(told, Position::default(), "Y4: {when}: {error}"),
    }
    let mut held = replica(copy).unwrap_or_else(|error| panic!("Y4: {when}: {error}"));
    follow(&mut reader(log, &mut held), &mut held).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(held.position().next(), log.next_position(), "{when}");
}

#[test]
fn a_power_cut_at_any_operation_of_a_copy_leaves_one_that_restores_and_goes_on() {
    let mut operations = 0;
    for operation in 1.. {
        let copy = FaultyDisk::new(operation);
        copy.limit_writes(300);
        copy.crash_at(operation);
        let (_, mut log) = source(&settings());
        let Some(told) = crashed_life(&copy, &mut log) else { break };
        operations = operation;
        let torn = (0..12).map(|number| Survival::Torn(operation * 100 + number));
        for outcome in [Survival::Lost, Survival::Kept].into_iter().chain(torn) {
            let when = format!("after a power cut at operation {operation} with {outcome:?}");
            assert_goes_on(&copy.reboot(outcome), &log, told, &when);
        }
    }
    assert!(operations > 60, "the life had {operations} operations");
}

#[test]
fn a_process_killed_at_any_operation_of_a_copy_leaves_one_that_restores_and_goes_on() {
    for operation in 1.. {
        let copy = FaultyDisk::new(operation);
        copy.crash_at(operation);
        let (_, mut log) = source(&settings());
        let Some(told) = crashed_life(&copy, &mut log) else { break };
        copy.restart_process();
        assert_goes_on(&copy, &log, told, &format!("after a kill at operation {operation}"));
    }
}
