//! Each picker against a model of what it promises.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::member::MemberId;
use super::picker::{Candidate, Picker, RoundRobin, Sticky};
use super::table_tests::instance;
use super::weighing::{LeastInFlight, Weighted, ZoneFirst};
use crate::announcement::Announcement;

fn candidate(member: u64, weight: u32, zone: &str) -> Candidate {
    let announcement = Announcement::new("orders", "10.0.0.7", 80).unwrap().weight(weight).zone(zone);
    let mut instance = instance(member);
    instance.registration = Arc::new(announcement.check().unwrap().registration().clone());
    Candidate::new(MemberId(member), instance, Arc::new(AtomicUsize::new(0)))
}

fn candidates(members: impl IntoIterator<Item = u64>) -> Vec<Candidate> {
    members.into_iter().map(|member| candidate(member, 100, "")).collect()
}

/// Who is picked, so many times.
fn picks(picker: &mut impl Picker, candidates: &[Candidate], times: usize) -> Vec<u64> {
    (0..times).map(|_| candidates[picker.pick()].member().0).collect()
}

/// `[1, 1, 2]` as `[(1, 2), (2, 1)]`.
fn runs(picked: &[u64]) -> Vec<(u64, usize)> {
    picked.chunk_by(|one, next| one == next).map(|run| (run[0], run.len())).collect()
}

#[test]
fn f52_the_same_member_is_picked_sixteen_times_then_the_next() {
    let three = candidates([3, 5, 8]);
    let mut sticky = Sticky::new(16);
    sticky.renew(&three);
    assert_eq!(runs(&picks(&mut sticky, &three, 64)), [(3, 16), (5, 16), (8, 16), (3, 16)]);
}

#[test]
fn a_sticky_picker_begins_where_it_is_told_to() {
    let four = candidates([1, 2, 3, 4]);
    for (start, first) in [(0.0, 1), (0.3, 2), (0.5, 3), (0.99, 4), (1.0, 4)] {
        let mut sticky = Sticky::new(2).starting_at(start);
        sticky.renew(&four);
        assert_eq!(picks(&mut sticky, &four, 1), [first]);
    }
}

#[test]
fn f54_when_the_current_one_leaves_the_next_pick_is_the_next_one() {
    let mut sticky = Sticky::new(16);
    sticky.renew(&candidates([1, 2, 3]));
    assert_eq!(sticky.pick(), 0);
    let left = candidates([2, 3]);
    sticky.renew(&left);
    assert_eq!(runs(&picks(&mut sticky, &left, 17)), [(2, 16), (3, 1)]);
}

#[test]
fn of_weights_3_and_1_the_calls_are_spread_smoothly() {
    let two = [candidate(1, 3, ""), candidate(2, 1, "")];
    let mut weighted = Weighted::new();
    weighted.renew(&two);
    assert_eq!(picks(&mut weighted, &two, 8), [1, 1, 2, 1, 1, 1, 2, 1]);
    assert!(!weighted.accepts(&candidate(3, 0, "")), "weight 0 gets nothing");
}

#[test]
fn the_own_zone_is_first_as_long_as_it_has_somebody() {
    let all = [candidate(1, 1, "a"), candidate(2, 1, "b"), candidate(3, 1, "b")];
    let mut picker = ZoneFirst::new("b", RoundRobin::new());
    picker.renew(&all);
    assert_eq!(picks(&mut picker, &all, 4), [2, 3, 2, 3]);
    picker.renew(&all[..1]);
    assert_eq!(picks(&mut picker, &all, 2), [1, 1]);
    picker.renew(&all);
    assert!(picks(&mut picker, &all, 4).iter().all(|&member| member > 1));
}

#[test]
fn among_equals_each_gets_its_turn() {
    let three = candidates([1, 2, 3]);
    let mut picker = LeastInFlight::new();
    picker.renew(&three);
    assert_eq!(picks(&mut picker, &three, 4), [1, 2, 3, 1]);
    let others = candidates([1, 3]);
    picker.renew(&others);
    assert_eq!(picks(&mut picker, &others, 2), [3, 1], "whose turn it was has left");
}

/// A script of who is there, and how many picks follow.
fn scenes() -> impl Strategy<Value = Vec<(Vec<u64>, usize)>> {
    let members = prop::collection::btree_set(1..12_u64, 1..8).prop_map(|set| set.into_iter().collect());
    prop::collection::vec((members, 0..40_usize), 1..20)
}

proptest! {
    /// The model: run on as long as the current one is there, then the next by number.
    #[test]
    fn pk1_pk2_sticky_goes_round_by_number(scenes in scenes(), times in 1..8_u32) {
        let mut sticky = Sticky::new(times);
        let (mut current, mut left): (Option<u64>, u32) = (None, 0);
        for (members, picks) in scenes {
            sticky.renew(&candidates(members.iter().copied()));
            for _ in 0..picks {
                let place = sticky.pick();
                prop_assert!(place < members.len(), "PK1");
                let stays = left > 0 && current.is_some_and(|current| members.contains(&current));
                let expected = match current {
                    Some(current) if stays => current,
                    Some(current) => *members.iter().find(|&&member| member > current).unwrap_or(&members[0]),
                    None => members[0],
                };
                left = if stays { left - 1 } else { times - 1 };
                current = Some(expected);
                prop_assert_eq!(members[place], expected, "PK2");
            }
        }
    }

    /// After each whole round everybody has had exactly its weight, and nobody waits longer than a round.
    #[test]
    fn shares_are_the_weights(weights in prop::collection::vec(1..9_u32, 1..8)) {
        let all: Vec<_> = weights.iter().zip(1..).map(|(&weight, member)| candidate(member, weight, "")).collect();
        let mut weighted = Weighted::new();
        weighted.renew(&all);
        let round: u32 = weights.iter().sum();
        for _ in 0..3 {
            let mut counts = BTreeMap::new();
            for _ in 0..round {
                *counts.entry(weighted.pick()).or_insert(0) += 1;
            }
            let counts: Vec<u32> = counts.into_values().collect();
            prop_assert_eq!(&counts, &weights);
        }
    }

    #[test]
    fn weighted_starves_nobody_when_others_come_and_go(scenes in scenes()) {
        let mut weighted = Weighted::new();
        for (members, picks) in scenes {
            let weighed = |&member: &u64| candidate(member, u32::try_from(member).unwrap(), "");
            let all: Vec<_> = members.iter().map(weighed).collect();
            weighted.renew(&all);
            for _ in 0..picks {
                prop_assert!(weighted.pick() < members.len(), "PK1");
            }
            let total: u32 = all.iter().map(Candidate::weight).sum();
            let seen: Vec<_> = (0..3 * total).map(|_| weighted.pick()).collect();
            prop_assert!((0..members.len()).all(|place| seen.contains(&place)), "PK2: {seen:?}");
        }
    }

    #[test]
    fn nobody_with_fewer_calls_is_passed_over(loads in prop::collection::vec(0..6_usize, 1..10)) {
        let all = candidates(1..=loads.len() as u64);
        let mut picker = LeastInFlight::new();
        picker.renew(&all);
        let mut model = loads.clone();
        let counters: Vec<Arc<AtomicUsize>> = all.iter().map(Candidate::load).collect();
        counters.iter().zip(&loads).for_each(|(counter, load)| counter.store(*load, Ordering::Relaxed));
        for _ in 0..50 {
            let place = picker.pick();
            prop_assert_eq!(Some(&model[place]), model.iter().min(), "PK1");
            model[place] += 1;
            counters[place].fetch_add(1, Ordering::Relaxed);
        }
        let (least, most) = (model.iter().min().unwrap(), model.iter().max().unwrap());
        prop_assert!(most - least <= 1 || most == loads.iter().max().unwrap());
    }
}
