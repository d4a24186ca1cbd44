//! An ordered map that is one sorted row while it is short, and a tree when it is long.
//!
//! Every service and every session has some of these. Most have a handful of entries: a row of them
//! costs what it holds, where the least tree costs eleven entries. In a long one the tree keeps the
//! work per entry logarithmic.
//!
//! This is less plain than one tree over all services for each index, which it took the place of: a
//! registration went down such trees about fifteen times. Applying one takes about 0.4 of the instructions
//! (docs/performance.md).
//!
//! # Always true
//! * **D12, one form**: a row has at most [`ROW_MAX`] entries, in ascending order, each key once; so what
//!   is found does not depend on the form.

use std::collections::{BTreeMap, btree_map};
use std::ops::{Bound, RangeBounds};
use std::slice;

/// The longest row. A service of 300 takes less memory as a row than as a tree, and no difference in
/// time was seen (docs/performance.md).
const ROW_MAX: usize = 512;
/// A tree with so few entries becomes a row again. Far below, so that none goes back and forth.
const TREE_MIN: usize = ROW_MAX / 4;

#[derive(Debug, Clone)]
pub(super) enum Roll<K, V = ()> {
    Row(Vec<(K, V)>),
    Tree(BTreeMap<K, V>),
}

impl<K, V> Default for Roll<K, V> {
    fn default() -> Self {
        Self::Row(Vec::new())
    }
}

impl<K: Ord + Copy, V> Roll<K, V> {
    /// A roll of entries that ascend, each key once.
    pub(super) fn of_sorted(mut entries: Vec<(K, V)>) -> Self {
        debug_assert!(entries.is_sorted_by(|one, next| one.0 < next.0), "D12: a row ascends");
        if entries.len() > ROW_MAX {
            return Self::Tree(entries.into_iter().collect());
        }
        entries.shrink_to_fit();
        Self::Row(entries)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Row(row) => row.len(),
            Self::Tree(tree) => tree.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        match self {
            Self::Row(row) => row.binary_search_by_key(&key, |entry| entry.0).ok().map(|at| &row[at].1),
            Self::Tree(tree) => tree.get(&key),
        }
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self {
            Self::Row(row) => row.binary_search_by_key(&key, |entry| entry.0).ok().map(|at| &mut row[at].1),
            Self::Tree(tree) => tree.get_mut(&key),
        }
    }

    /// Gives what stood there before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let row = match self {
            Self::Tree(tree) => return tree.insert(key, value),
            Self::Row(row) => row,
        };
        // Most keys are ids, and the newest id is the highest.
        let at = if row.last().is_none_or(|last| last.0 < key) {
            row.len()
        } else {
            match row.binary_search_by_key(&key, |entry| entry.0) {
                Ok(at) => return Some(std::mem::replace(&mut row[at].1, value)),
                Err(at) => at,
            }
        };
        if row.len() == ROW_MAX {
            let mut tree: BTreeMap<K, V> = std::mem::take(row).into_iter().collect();
            tree.insert(key, value);
            *self = Self::Tree(tree);
            return None;
        }
        if row.len() == row.capacity() {
            // Rather than double: there are many rows, and each would be half empty.
            row.reserve_exact(row.len() / 4 + 1);
        }
        row.insert(at, (key, value));
        None
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::Row(row) => {
                let at = row.binary_search_by_key(&key, |entry| entry.0).ok()?;
                let (_, value) = row.remove(at);
                if row.is_empty() {
                    *row = Vec::new();
                }
                Some(value)
            }
            Self::Tree(tree) => {
                let value = tree.remove(&key);
                if tree.len() <= TREE_MIN {
                    *self = Self::of_sorted(std::mem::take(tree).into_iter().collect());
                }
                value
            }
        }
    }

    /// The entries of some keys, ascending.
    pub(super) fn range(&self, keys: impl RangeBounds<K>) -> Range<'_, K, V> {
        match self {
            Self::Row(row) => {
                let first = match keys.start_bound() {
                    Bound::Included(key) => row.partition_point(|entry| entry.0 < *key),
                    Bound::Excluded(key) => row.partition_point(|entry| entry.0 <= *key),
                    Bound::Unbounded => 0,
                };
                let end = match keys.end_bound() {
                    Bound::Included(key) => row.partition_point(|entry| entry.0 <= *key),
                    Bound::Excluded(key) => row.partition_point(|entry| entry.0 < *key),
                    Bound::Unbounded => row.len(),
                };
                Range::Row(row[first..end.max(first)].iter())
            }
            Self::Tree(tree) => Range::Tree(tree.range(keys)),
        }
    }

    pub(super) fn iter(&self) -> Range<'_, K, V> {
        self.range(..)
    }

    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn first(&self) -> Option<(K, &V)> {
        match self {
            Self::Row(row) => row.first().map(|(key, value)| (*key, value)),
            Self::Tree(tree) => tree.first_key_value().map(|(key, value)| (*key, value)),
        }
    }

    pub(super) fn last(&self) -> Option<(K, &V)> {
        match self {
            Self::Row(row) => row.last().map(|(key, value)| (*key, value)),
            Self::Tree(tree) => tree.last_key_value().map(|(key, value)| (*key, value)),
        }
    }
}

/// Entries of a roll.
pub(super) enum Range<'a, K, V> {
    Row(slice::Iter<'a, (K, V)>),
    Tree(btree_map::Range<'a, K, V>),
}

impl<'a, K: Copy, V> Iterator for Range<'a, K, V> {
    type Item = (K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Row(row) => row.next().map(|(key, value)| (*key, value)),
            Self::Tree(tree) => tree.next().map(|(key, value)| (*key, value)),
        }
    }
}

impl<K: Copy, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Row(row) => row.next_back().map(|(key, value)| (*key, value)),
            Self::Tree(tree) => tree.next_back().map(|(key, value)| (*key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that walks over all of 0..1009 in an order of its own.
    fn scattered(nth: u32) -> u32 {
        (nth * 389 + 7) % 1009
    }

    fn check(roll: &Roll<u32, u32>, model: &BTreeMap<u32, u32>) {
        assert!(matches!(roll, Roll::Tree(_)) || roll.len() <= ROW_MAX, "D12");
        assert_eq!(roll.len(), model.len());
        assert!(roll.iter().eq(model.iter().map(|(&key, value)| (key, value))), "D12");
        assert!(roll.keys().rev().eq(model.keys().rev().copied()), "D12");
        assert_eq!(roll.first().map(|(key, _)| key), model.first_key_value().map(|(&key, _)| key));
        assert_eq!(roll.last().map(|(key, _)| key), model.last_key_value().map(|(&key, _)| key));
        for at in [0, 100, 500, 1008] {
            assert_eq!(roll.get(at), model.get(&at));
            assert!(roll.range(at..).map(|(key, _)| key).eq(model.range(at..).map(|(&key, _)| key)), "D12");
            assert!(roll.range(..at).map(|(key, _)| key).eq(model.range(..at).map(|(&key, _)| key)), "D12");
            assert!(roll.range(50..=at.max(50)).eq(model.range(50..=at.max(50)).map(|(&key, value)| (key, value))));
        }
    }

    #[test]
    fn what_a_roll_holds_does_not_depend_on_its_form() {
        let (mut roll, mut model) = (Roll::default(), BTreeMap::new());
        for nth in 0..900 {
            let key = scattered(nth);
            assert_eq!(roll.insert(key, nth), model.insert(key, nth));
            assert_eq!(roll.insert(key, nth + 1), model.insert(key, nth + 1));
            check(&roll, &model);
        }
        for nth in 0..900 {
            assert_eq!(roll.remove(2000 + nth), None);
            assert_eq!(roll.remove(scattered(nth)), model.remove(&scattered(nth)));
            check(&roll, &model);
        }
        assert!(roll.is_empty());
    }

    #[test]
    fn a_roll_of_sorted_entries_is_the_one_of_insertions() {
        for length in [0, 1, ROW_MAX as u32, ROW_MAX as u32 + 1, 2 * ROW_MAX as u32] {
            let entries: Vec<(u32, u32)> = (0..length).map(|nth| (2 * nth, nth)).collect();
            check(&Roll::of_sorted(entries.clone()), &entries.into_iter().collect());
        }
    }

    #[test]
    fn an_emptied_roll_keeps_no_memory() {
        let mut roll = Roll::default();
        for key in 0..2 * ROW_MAX {
            roll.insert(key, ());
        }
        for key in 0..2 * ROW_MAX {
            roll.remove(key);
        }
        assert!(matches!(roll, Roll::Row(row) if row.capacity() == 0));
    }
}
