//! Sequences of what can happen to queues and their consumers, in which full queues, late words, dead
//! letters and restarts happen often: few queues, small windows, few attempts. A step is resolved against
//! the node that it meets, so that it mostly means something that is there.

use proptest::prelude::*;
use roster_core::queue::Contents;

/// One thing that happens. Numbers pick among what is there.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Create {
        queue: usize,
        attempts: u32,
    },
    Update {
        queue: usize,
        attempts: u32,
        in_flight: u32,
    },
    Delete {
        queue: usize,
    },
    /// `producer` picks one or, with `None`, none; `back` is how much of its last batches it sends again.
    Publish {
        queue: usize,
        messages: usize,
        bytes: usize,
        producer: Option<(usize, u64)>,
    },
    Join {
        queue: usize,
        window: u32,
    },
    Reopen {
        consumer: usize,
        window: u32,
    },
    Leave {
        consumer: usize,
    },
    /// Any of what it was ever given.
    Acknowledge {
        consumer: usize,
        picks: Vec<usize>,
    },
    Fail {
        consumer: usize,
        pick: usize,
        delay: u32,
    },
    Extend {
        consumer: usize,
        pick: usize,
        millis: u64,
    },
    Wait {
        millis: u64,
    },
    /// The log takes so many commands.
    Apply {
        commands: usize,
    },
    /// The log does not take the newest command.
    Refuse,
    /// The node dies with what the log has not taken, and comes back.
    Restart,
    /// The state goes through a snapshot.
    Rebuild,
    Purge {
        queue: usize,
        contents: Contents,
    },
    Requeue {
        queue: usize,
        all: bool,
        pick: u64,
    },
    Drop {
        queue: usize,
        all: bool,
        pick: u64,
    },
    /// A word that no consumer said, about any id and attempt.
    Stray {
        queue: usize,
        id: u64,
        attempt: u32,
        word: usize,
    },
}

/// Begins with a queue that somebody consumes.
pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let begin = [
        Step::Create { queue: 0, attempts: 2 },
        Step::Create { queue: 1, attempts: 2 },
        Step::Apply { commands: 2 },
        Step::Join { queue: 0, window: 3 },
        Step::Join { queue: 0, window: 2 },
        Step::Publish { queue: 0, messages: 4, bytes: 1, producer: Some((0, 0)) },
    ];
    prop::collection::vec(step(), 1..most).prop_map(move |steps| begin.iter().cloned().chain(steps).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let queue = || prop_oneof![5 => Just(0_usize), 1 => Just(1)];
    let number = any::<usize>;
    let window = || prop_oneof![1 => Just(0_u32), 8 => 1..6_u32];
    let delay = || prop_oneof![Just(0_u32), Just(30), Just(500)];
    let contents =
        prop_oneof![Just(Contents::Waiting), Just(Contents::Failed), Just(Contents::Dead), Just(Contents::All)];
    let producer = prop::option::of((0..3_usize, prop_oneof![5 => Just(0_u64), 2 => 1..4_u64, 1 => Just(u64::MAX)]));
    prop_oneof![
        1 => (queue(), 2..4_u32).prop_map(|(queue, attempts)| Step::Create { queue, attempts }),
        1 => (queue(), 1..4_u32, 1..9_u32)
            .prop_map(|(queue, attempts, in_flight)| Step::Update { queue, attempts, in_flight }),
        1 => queue().prop_map(|queue| Step::Delete { queue }),
        22 => (queue(), 0..7_usize, prop_oneof![9 => 0..3_usize, 1 => Just(3)], producer)
            .prop_map(|(queue, messages, bytes, producer)| Step::Publish { queue, messages, bytes, producer }),
        8 => (queue(), window()).prop_map(|(queue, window)| Step::Join { queue, window }),
        3 => (number(), window()).prop_map(|(consumer, window)| Step::Reopen { consumer, window }),
        5 => number().prop_map(|consumer| Step::Leave { consumer }),
        20 => (number(), prop::collection::vec(number(), 1..4))
            .prop_map(|(consumer, picks)| Step::Acknowledge { consumer, picks }),
        12 => (number(), number(), delay()).prop_map(|(consumer, pick, delay)| Step::Fail { consumer, pick, delay }),
        4 => (number(), number(), 0..3000_u64).prop_map(|(consumer, pick, millis)| Step::Extend { consumer, pick, millis }),
        10 => prop_oneof![4 => 0..200_u64, 2 => 500..1500_u64].prop_map(|millis| Step::Wait { millis }),
        40 => (1..5_usize).prop_map(|commands| Step::Apply { commands }),
        2 => Just(Step::Refuse),
        2 => Just(Step::Restart),
        2 => Just(Step::Rebuild),
        2 => (queue(), contents).prop_map(|(queue, contents)| Step::Purge { queue, contents }),
        3 => (queue(), any::<bool>(), 1..40_u64).prop_map(|(queue, all, pick)| Step::Requeue { queue, all, pick }),
        4 => (queue(), any::<bool>(), 1..40_u64).prop_map(|(queue, all, pick)| Step::Drop { queue, all, pick }),
        4 => (queue(), 0..40_u64, 0..4_u32, number())
            .prop_map(|(queue, id, attempt, word)| Step::Stray { queue, id, attempt, word }),
    ]
}
