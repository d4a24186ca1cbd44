//! What holds for queues whatever happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod queue_node;
mod queue_sequence;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use roster_core::queue::{Command, Effects, MessageId, Outcome, Place, QueueName, Queues, Ready};

use queue_node::{Applied, Node};
use queue_sequence::{Step, steps};

fn run(steps: &[Step]) -> Node {
    let mut node = Node::default();
    steps.iter().for_each(|step| node.step(step));
    node
}

fn again(queues: &mut Queues, applied: &Applied) -> Applied {
    // What an earlier command told must not shine through.
    let mut effects =
        Effects { ready: vec![Ready::Fresh { first: MessageId::new(9), messages: 9 }], ..Effects::default() };
    let outcome = queues.apply(applied.at, applied.command.clone(), &mut effects);
    Applied { at: applied.at, command: applied.command.clone(), outcome, effects }
}

fn is_same(one: &Queues, other: &Queues) -> bool {
    one.snapshot().items().eq(other.snapshot().items())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// The node checks each delivery and each state; see there.
    #[test]
    fn every_message_ends_acknowledged_dead_or_discarded(steps in steps(150)) {
        run(&steps).finish();
    }

    #[test]
    fn a_replay_gives_the_same_state_outcomes_and_effects(steps in steps(100)) {
        let node = run(&steps);
        let mut replayed = Queues::new();
        for applied in &node.log {
            let before = replayed.revision();
            prop_assert_eq!(&again(&mut replayed, applied), applied);
            prop_assert_eq!(replayed.revision(), before.next(), "K1");
        }
        prop_assert!(is_same(&replayed, &node.queues));
    }

    #[test]
    fn restored_queues_go_on_like_the_whole_log(steps in steps(100), share in 0.0..1.0_f64) {
        let node = run(&steps);
        let (head, tail) = node.log.split_at((node.log.len() as f64 * share) as usize);
        let mut original = Queues::new();
        head.iter().for_each(|applied| drop(again(&mut original, applied)));
        let snapshot = original.snapshot();
        let items: Vec<_> = snapshot.items().collect();
        let mut restored = Queues::restore(items.clone()).unwrap();
        restored.check_invariants();
        for applied in tail {
            prop_assert_eq!(&again(&mut restored, applied), applied);
            again(&mut original, applied);
        }
        prop_assert!(is_same(&restored, &node.queues));
        // What happened since the snapshot was taken has not reached into it.
        prop_assert!(is_same(&original, &node.queues));
        prop_assert!(snapshot.items().eq(items));
        for (name, queue) in node.queues.queues(None) {
            let other = restored.queue(name).unwrap();
            prop_assert_eq!((other.counts(), other.oldest()), (queue.counts(), queue.oldest()));
        }
    }

    #[test]
    fn what_is_refused_changes_and_tells_nothing(steps in steps(100)) {
        let mut queues = Queues::new();
        for applied in &run(&steps).log {
            let before = queues.clone();
            again(&mut queues, applied);
            if let Outcome::Refused(_) = applied.outcome {
                prop_assert_eq!(&applied.effects, &Effects::default());
                prop_assert!(before.snapshot().items().skip(1).eq(queues.snapshot().items().skip(1)));
            }
        }
    }

    #[test]
    fn no_id_is_given_out_twice(steps in steps(100)) {
        let mut last = BTreeMap::<QueueName, u64>::new();
        for applied in &run(&steps).log {
            if let (Command::Publish { queue, .. }, Outcome::Published { first, stored, .. }) =
                (&applied.command, &applied.outcome)
            {
                let last = last.entry(queue.clone()).or_default();
                prop_assert!(first.get() > *last, "K4");
                *last = (*last).max(first.get() + stored - 1);
            }
        }
    }

    /// By the sequences alone, without a look at how the machine remembers them.
    #[test]
    fn each_sequence_of_a_producer_is_stored_once(steps in steps(100)) {
        let mut stored = BTreeMap::new();
        for applied in &run(&steps).log {
            match (&applied.command, &applied.outcome) {
                (Command::DeleteQueue { queue }, _) => stored.retain(|(known, _), _| known != queue),
                (Command::Publish { queue, origin: Some(origin), messages }, Outcome::Published { stored: new, .. }) => {
                    let seen: &mut BTreeSet<u64> = stored.entry((queue.clone(), origin.producer.clone())).or_default();
                    let sent = origin.first..origin.first + messages.len() as u64;
                    let unseen = sent.filter(|sequence| seen.insert(*sequence)).count() as u64;
                    prop_assert_eq!(*new, unseen);
                    prop_assert_eq!(seen.len() as u64, seen.last().copied().unwrap_or(0), "a gap");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_message_dies_with_its_last_attempt_and_not_before(steps in steps(120)) {
        let mut queues = Queues::new();
        for applied in &run(&steps).log {
            let attempts_max = |queues: &Queues| {
                Some(queues.queue(applied.command.queue()?)?.settings().attempts_max)
            };
            let most = attempts_max(&queues);
            again(&mut queues, applied);
            let (Command::Fail { queue, .. } | Command::Release { queue, .. }, Some(most)) = (&applied.command, most)
            else { continue };
            let queue = queues.queue(queue).unwrap();
            for gone in &applied.effects.gone {
                let dead = queue.message(gone.message).unwrap();
                prop_assert!(matches!(dead.place, Place::Dead { .. }) && dead.attempts >= most, "M-8: {:?}", dead);
            }
            for ready in &applied.effects.ready {
                let Ready::Again { message, .. } = ready else { panic!("{ready:?} of a failure") };
                let failed = queue.message(*message).unwrap();
                prop_assert!(matches!(failed.place, Place::Failed { .. }) && failed.attempts < most, "M-8: {:?}", failed);
            }
        }
    }
}

/// The laws above prove little about what the sequences never reach.
#[test]
fn the_sequences_reach_every_rule() {
    let (mut runner, strategy) = (TestRunner::deterministic(), steps(150));
    let mut reached = BTreeMap::<String, usize>::new();
    let (mut deliveries, mut shared) = (0, 0);
    for _ in 0..150 {
        let node = run(&strategy.new_tree(&mut runner).unwrap().current());
        (deliveries, shared) = (deliveries + node.deliveries, shared.max(node.most_shared));
        for Applied { command, outcome, .. } in node.log {
            let first = |text: String| text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
            let command = first(format!("{command:?}"));
            let mut count = |what: String| *reached.entry(what).or_default() += 1;
            match outcome {
                Outcome::Refused(refusal) => count(format!("{command} refused {}", first(format!("{refusal:?}")))),
                Outcome::Published { stored: 0, duplicates: 1.., .. } => count("all duplicates".into()),
                Outcome::Published { duplicates: 1.., .. } => count("some duplicates".into()),
                Outcome::Acknowledged { removed: 0, unknown: 1.. } => count("nothing acknowledged".into()),
                Outcome::Ended { dead: 1.., .. } => count(format!("{command} dead")),
                Outcome::Ended { stale: 1.., .. } => count(format!("{command} stale")),
                Outcome::Moved { messages: 1.., .. } => count(format!("{command} some")),
                Outcome::Done
                | Outcome::Created
                | Outcome::Exists
                | Outcome::Published { .. }
                | Outcome::Acknowledged { .. }
                | Outcome::Ended { .. }
                | Outcome::Moved { .. } => count(format!("{command} {}", first(format!("{outcome:?}")))),
            }
        }
    }
    let rare: Vec<_> = [
        "StartNode Done",
        "CreateQueue Created",
        "CreateQueue Exists",
        "CreateQueue refused SettingsDiffer",
        "UpdateSettings Done",
        "DeleteQueue some",
        "Publish Published",
        "Publish refused QueueFull",
        "Publish refused MessageTooLarge",
        "Publish refused SequenceGap",
        "Publish refused UnknownQueue",
        "all duplicates",
        "some duplicates",
        "Acknowledge Acknowledged",
        "nothing acknowledged",
        "Fail Ended",
        "Fail dead",
        "Fail stale",
        "Release Ended",
        "Release dead",
        "Release stale",
        "Purge some",
        "RequeueDead some",
        "DropDead some",
    ]
    .into_iter()
    .filter(|what| reached.get(*what).is_none_or(|&times| times < 3))
    .collect();
    assert!(rare.is_empty(), "hardly ever reached: {rare:?} in {reached:#?}");
    assert!(deliveries > 1500 && shared >= 3, "{deliveries} deliveries, {shared} consumers at once");
}
