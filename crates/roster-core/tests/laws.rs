//! What holds for every sequence of commands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod sequence;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use roster_core::directory::{
    Command, Directory, Effects, Event, Instance, Liveness, Notice, Outcome, RemovedCause, StateItem,
};
use roster_core::view::{Change, Group, Told, View};
use roster_core::{InstanceId, Position, Selector, ServiceName, Timestamp};

use sequence::{Step, steps};

/// One applied command with all that came of it.
#[derive(Debug, Clone, PartialEq)]
struct Applied {
    at: Timestamp,
    command: Command,
    outcome: Outcome,
    effects: Effects,
}

/// Applies steps one by one; `look` sees the directory before and after each.
fn run(steps: &[Step], mut look: impl FnMut(&Directory, &Applied, &Directory)) -> (Directory, Vec<Applied>) {
    let (mut directory, mut log) = (Directory::new(), Vec::new());
    for (second, step) in steps.iter().enumerate() {
        let at = Timestamp::new(1000 * second as u64);
        let command = step.resolve(&directory);
        let before = directory.clone();
        let applied = apply(&mut directory, at, command);
        look(&before, &applied, &directory);
        log.push(applied);
    }
    (directory, log)
}

fn items(directory: &Directory) -> Vec<StateItem> {
    directory.snapshot().items().collect()
}

fn apply(directory: &mut Directory, at: Timestamp, command: Command) -> Applied {
    // What an earlier command told must not shine through.
    let mut effects = Effects {
        events: vec![Event::MainChanged { service: ServiceName::parse("stale").unwrap(), main: None }],
        notices: vec![Notice::Promoted {
            session: Default::default(),
            instance: Default::default(),
            token: Default::default(),
        }],
        unseen: vec![ServiceName::parse("stale").unwrap()],
    };
    let outcome = directory.apply(at, command.clone(), &mut effects);
    Applied { at, command, outcome, effects }
}

fn group(directory: &Directory, applied: &Applied, selector: &Selector) -> Group {
    let events = applied.effects.events.iter().filter(|event| selector.matches(event.service()));
    Group { position: directory.revision(), told: events.cloned().map(Told::Event).collect() }
}

fn reset(directory: &Directory, selector: &Selector) -> Group {
    let state = directory.visible(selector).into_iter().map(Told::Event);
    let told = [Told::Reset].into_iter().chain(state).chain([Told::Loaded]).collect();
    Group { position: directory.revision(), told }
}

/// What a reader should see. Whether a session is confirmed after a restart is not pushed.
fn seen<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Vec<Instance> {
    let confirmed = |instance: &Instance| match instance.liveness {
        Liveness::Up | Liveness::Unconfirmed => Instance { liveness: Liveness::Up, ..instance.clone() },
        Liveness::Suspect(_) => instance.clone(),
    };
    instances.into_iter().filter(|instance| !instance.pending).map(confirmed).collect()
}

fn assert_sees(view: &View, directory: &Directory, selector: &Selector) {
    let instances = directory.instances(selector, None, usize::MAX);
    assert_eq!(seen(view.all()), seen(&instances));
    for service in directory.services(selector, None, usize::MAX) {
        let main = view.main(&service.name).map(|main| main.id);
        assert_eq!(main, directory.main(&service.name).map(|main| main.id), "the main of {}", service.name);
    }
    view.services().for_each(|(_, service)| assert!(!service.is_empty(), "a view keeps an empty service"));
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![Just(""), Just("team/"), Just("orders"), Just("team/scheduler")]
        .prop_map(|text| Selector::parse(text).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_each_command(steps in steps(100)) {
        run(&steps, |before, _, after| {
            after.check_invariants();
            assert_eq!(after.revision(), before.revision().next(), "D1");
        });
    }

    #[test]
    fn what_is_refused_or_stale_changes_and_tells_nothing(steps in steps(80)) {
        run(&steps, |before, applied, after| {
            if matches!(applied.outcome, Outcome::Refused(_) | Outcome::Stale) {
                assert_eq!(applied.effects, Effects::default());
                assert_eq!(items(before)[1..], items(after)[1..]);
            }
        });
    }

    #[test]
    fn whatever_reads_otherwise_after_a_command_is_named_by_its_effects(steps in steps(100)) {
        run(&steps, |before, applied, after| {
            let named: BTreeSet<&ServiceName> = applied.effects.services().collect();
            let read = |directory: &Directory| -> BTreeMap<ServiceName, (Vec<Instance>, Option<Instance>)> {
                let services = directory.services(&Selector::All, None, usize::MAX);
                let read = services.into_iter().map(|summary| {
                    let selector = Selector::Service(summary.name.clone());
                    (summary.name.clone(), (directory.instances(&selector, None, usize::MAX), directory.main(&summary.name)))
                });
                // To a reader, a service without instances is none.
                read.filter(|(_, (instances, _))| !instances.is_empty()).collect()
            };
            let (before, after) = (read(before), read(after));
            let differs = |name: &&ServiceName| before.get(*name) != after.get(*name);
            if applied.command != Command::StartNode {
                for name in before.keys().chain(after.keys()).filter(differs) {
                    assert!(named.contains(name), "D13: {name} reads otherwise after {:?}", applied.command);
                }
            }
        });
    }

    #[test]
    fn a_replay_gives_the_same_state_outcomes_and_effects(steps in steps(80)) {
        let (live, log) = run(&steps, |_, _, _| {});
        let mut replayed = Directory::new();
        for applied in log {
            let again = apply(&mut replayed, applied.at, applied.command.clone());
            prop_assert_eq!(again, applied);
        }
        prop_assert_eq!(items(&replayed), items(&live));
    }

    #[test]
    fn a_snapshot_stays_what_it_was_whatever_comes_after(steps in steps(80), share in 0.0..1.0_f64) {
        let (_, log) = run(&steps, |_, _, _| {});
        let (head, tail) = log.split_at((log.len() as f64 * share) as usize);
        let mut directory = Directory::new();
        for applied in head {
            apply(&mut directory, applied.at, applied.command.clone());
        }
        let (snapshot, items) = (directory.snapshot(), items(&directory));
        for applied in tail {
            apply(&mut directory, applied.at, applied.command.clone());
        }
        prop_assert_eq!(snapshot.items().collect::<Vec<_>>(), items);
    }

    #[test]
    fn a_restored_directory_goes_on_like_the_whole_log(steps in steps(80), share in 0.0..1.0_f64) {
        let (live, log) = run(&steps, |_, _, _| {});
        let (head, tail) = log.split_at((log.len() as f64 * share) as usize);
        let mut original = Directory::new();
        for applied in head {
            apply(&mut original, applied.at, applied.command.clone());
        }
        let mut restored = Directory::restore(original.snapshot().items()).unwrap();
        restored.check_invariants();
        for applied in tail {
            let again = apply(&mut restored, applied.at, applied.command.clone());
            prop_assert_eq!(&again, applied);
        }
        prop_assert_eq!(items(&restored), items(&live));
        prop_assert_eq!(restored.counts(), live.counts());
        prop_assert_eq!(restored.handovers(), live.handovers());
    }

    #[test]
    fn a_view_sees_what_the_directory_shows(steps in steps(80), selector in selector()) {
        let mut view = View::new();
        view.take_in(reset(&Directory::new(), &selector));
        run(&steps, |_, applied, after| {
            view.take_in(group(after, applied, &selector));
            assert_sees(&view, after, &selector);
        });
    }

    #[test]
    fn a_view_that_was_away_sees_it_after_a_reset(steps in steps(80), selector in selector(), period in 2..20_u64) {
        let mut view = View::new();
        run(&steps, |_, applied, after| {
            if after.revision().get() % period == 0 {
                let before = view.clone();
                let changes = view.take_in(reset(after, &selector));
                assert_explains(&before, &changes, &view);
                assert_sees(&view, after, &selector);
                prop_assert_no_change(view.clone().take_in(reset(after, &selector)));
            } else if after.revision().get() / period % 2 == 0 && view.is_loaded() {
                // Only events of the position that follows mean something to it.
                if view.position().next() == after.revision() {
                    view.take_in(group(after, applied, &selector));
                }
            }
        });
    }

    #[test]
    fn changes_of_a_view_explain_each_difference(steps in steps(80)) {
        let mut view = View::new();
        view.take_in(reset(&Directory::new(), &Selector::All));
        run(&steps, |_, applied, after| {
            let before = view.clone();
            let changes = view.take_in(group(after, applied, &Selector::All));
            assert_explains(&before, &changes, &view);
        });
    }

    #[test]
    fn ids_and_tokens_only_grow(steps in steps(100)) {
        let (mut last_session, mut tokens) = (0, BTreeMap::<ServiceName, u64>::new());
        let mut given = BTreeSet::new();
        run(&steps, |_, applied, after| {
            if let Outcome::Opened { session } = &applied.outcome {
                assert!(session.get() > last_session);
                last_session = session.get();
            }
            for event in &applied.effects.events {
                let (Event::Up(new) | Event::Replaced { new, .. }) = event else { continue };
                let Some(token) = new.token else { continue };
                let last = tokens.entry(new.registration.service.clone()).or_default();
                // A known holder that comes up again has the token that it had.
                assert!(token.get() >= *last && token.get() <= after.revision().get(), "token {token}");
                assert!(token.get() > *last || !given.insert((new.id, token)), "token {token} given twice");
                given.insert((new.id, token));
                *last = token.get();
            }
        });
    }

    #[test]
    fn every_main_is_told(steps in steps(100)) {
        let mut told = BTreeMap::<ServiceName, InstanceId>::new();
        run(&steps, |_, applied, after| {
            for event in &applied.effects.events {
                match event {
                    Event::MainChanged { service, main: Some(main) } => { told.insert(service.clone(), *main); }
                    Event::MainChanged { service, main: None } => { told.remove(service).expect("told twice"); }
                    Event::Up(_) | Event::Suspect { .. } | Event::Changed(_) | Event::Draining { .. }
                    | Event::Replaced { .. } | Event::Removed { .. } => {}
                }
            }
            let services = after.services(&Selector::All, None, usize::MAX);
            let mains = services.iter().filter_map(|service| {
                Some((service.name.clone(), after.main(&service.name)?.id))
            });
            assert_eq!(told, mains.collect());
        });
    }

    #[test]
    fn watchers_are_told_make_before_break(steps in steps(100)) {
        run(&steps, |_, applied, _| {
            let order = |event: &Event| match event {
                Event::Up(new) | Event::Changed(new) | Event::Replaced { new, .. } => (0, new.id),
                Event::Suspect { instance, .. } | Event::Draining { instance, .. } => (0, *instance),
                Event::MainChanged { .. } => (1, InstanceId::default()),
                Event::Removed { instance, .. } => (2, *instance),
            };
            let keys = applied.effects.events.iter().map(|event| (event.service(), order(event)));
            assert!(keys.is_sorted_by(|one, other| one < other), "{:?}", applied.effects.events);
            assert!(applied.effects.notices.iter().map(Notice::instance).is_sorted());
        });
    }

    #[test]
    fn the_end_of_a_session_removes_only_its_own(steps in steps(100)) {
        run(&steps, |before, applied, after| {
            let (Command::CloseSession { session, .. } | Command::ExpireSession { session, .. }
                | Command::SuspectSession { session, .. }) = &applied.command else { return };
            if applied.outcome == Outcome::Stale || after.session(*session).is_some() {
                return;
            }
            let own: BTreeSet<_> = before.session_instances(*session).iter().map(|own| own.id).collect();
            let said_goodbye = matches!(applied.command, Command::CloseSession { .. });
            let cause = if said_goodbye { RemovedCause::Logout } else { RemovedCause::LostContact };
            for event in &applied.effects.events {
                if let Event::Removed { instance, cause: told, .. } = event {
                    assert!(own.contains(instance) && *told == cause, "D11: {event:?}");
                }
            }
            let others = |directory: &Directory| -> Vec<_> {
                let all = directory.instances(&Selector::All, None, usize::MAX);
                all.into_iter().filter(|one| one.session != *session).map(|one| one.id).collect()
            };
            assert_eq!(others(before), others(after), "D11");
        });
    }

    #[test]
    fn a_view_survives_any_order_of_groups(steps in steps(40), picks in prop::collection::vec(any::<usize>(), 60)) {
        let mut groups = Vec::new();
        run(&steps, |_, applied, after| {
            groups.push(group(after, applied, &Selector::All));
            let mut whole = reset(after, &Selector::All);
            groups.push(whole.clone());
            whole.told.pop();
            groups.push(whole);
            groups.push(Group { position: after.revision(), told: vec![Told::Loaded] });
            groups.push(Group { position: after.revision(), told: vec![Told::Bookmark] });
        });
        let mut view = View::new();
        for pick in picks {
            view.take_in(groups[pick % groups.len()].clone());
            view.services().for_each(|(_, service)| assert!(service.main().is_none_or(|main| !main.pending)));
        }
    }
}

fn prop_assert_no_change(changes: Vec<Change>) {
    assert!(matches!(changes.as_slice(), [Change::Loaded { .. }]), "V2: a flap: {changes:?}");
}

/// Whoever follows the changes alone knows the same instances and mains as the view.
fn assert_explains(before: &View, changes: &[Change], after: &View) {
    let mut known: BTreeMap<InstanceId, Instance> = before.all().map(|one| (one.id, one.clone())).collect();
    let mains = |view: &View| -> BTreeMap<ServiceName, InstanceId> {
        view.services().filter_map(|(name, service)| Some((name.clone(), service.main()?.id))).collect()
    };
    let mut main = mains(before);
    for change in changes {
        match change {
            Change::Up(one) | Change::Suspect(one) | Change::Changed(one) | Change::Draining(one) => {
                known.insert(one.id, one.clone());
            }
            Change::Replaced { old, new } => {
                known.remove(&old.id).expect("replaced what was not known");
                known.insert(new.id, new.clone());
            }
            Change::Removed { instance, .. } => {
                known.remove(&instance.id).expect("removed what was not known");
            }
            Change::MainChanged { service, main: Some(id) } => {
                main.insert(service.clone(), *id);
            }
            Change::MainChanged { service, main: None } => {
                main.remove(service);
            }
            Change::Loaded { .. } => {}
        }
    }
    // What is quiet by decision: the confirmation of a session, the reason of a suspicion, a position.
    let told = |one: &Instance| {
        let suspect = matches!(one.liveness, Liveness::Suspect(_));
        (one.registration.clone(), one.session, suspect, one.draining, one.token)
    };
    let known: BTreeMap<_, _> = known.iter().map(|(id, one)| (*id, told(one))).collect();
    let is: BTreeMap<_, _> = after.all().map(|one| (one.id, told(one))).collect();
    assert_eq!(known, is, "changes {changes:?}");
    assert_eq!(main, mains(after), "changes {changes:?}");
}

/// The laws above prove little about what the sequences never reach.
#[test]
fn the_sequences_reach_every_rule() {
    let (mut runner, strategy) = (TestRunner::deterministic(), steps(100));
    let mut reached = BTreeMap::<String, usize>::new();
    for _ in 0..200 {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        let (_, log) = run(&steps, |_, _, _| {});
        for Applied { command, outcome, effects, .. } in log {
            let first = |text: String| text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
            let outcome = if let Outcome::Refused(refusal) = outcome {
                format!("refused {}", first(format!("{refusal:?}")))
            } else {
                first(format!("{outcome:?}"))
            };
            let mut count = |what: String| *reached.entry(what).or_default() += 1;
            count(format!("{} {outcome}", first(format!("{command:?}"))));
            for event in effects.events {
                if let Event::Removed { cause, .. } = event {
                    count(format!("removed {cause:?}"));
                } else {
                    count(first(format!("{event:?}")));
                }
            }
            for notice in effects.notices {
                match notice {
                    Notice::Offline { reason, .. } => count(format!("offline {reason:?}")),
                    Notice::Promoted { .. } => count("promoted".into()),
                }
            }
        }
    }
    let rare: Vec<_> = [
        "StartNode Done",
        "ResumeSession Resumed",
        "ResumeSession refused WrongSecret",
        "SuspectSession Done",
        "ResumeSession refused UnknownSession",
        "SuspectSession Stale",
        "ExpireSession Done",
        "ExpireSession Stale",
        "CloseSession Done",
        "CloseSession Stale",
        "Register Active",
        "Register Pending",
        "Register refused UnknownSession",
        "Register refused SessionNotConnected",
        "Register refused VersionTooLow",
        "Register refused KindConflict",
        "Register refused AddressInUse",
        "Deregister Done",
        "Deregister refused NotOwner",
        "Deregister refused UnknownInstance",
        "Drain Done",
        "Drain refused NotOwner",
        "FinishHandover Done",
        "FinishHandover Stale",
        "SetCutover Done",
        "Up",
        "Suspect",
        "Changed",
        "Draining",
        "MainChanged",
        "Replaced",
        "removed Logout",
        "removed LostContact",
        "removed Superseded",
        "offline Superseded",
        "offline Handover",
        "offline Displaced",
        "offline Replaced",
        "offline Drained",
        "promoted",
    ]
    .into_iter()
    .filter(|what| reached.get(*what).is_none_or(|&times| times < 3))
    .collect();
    assert!(rare.is_empty(), "hardly ever reached: {rare:?} in {reached:#?}");
}

#[test]
fn a_view_of_nothing_is_at_the_beginning() {
    let view = View::new();
    assert_eq!((view.position(), view.is_loaded(), view.all().count()), (Position::new(0), false, 0));
}
