//! An ordered map that is one sorted row while it is short, and a tree of rows when it is long.
//!
//! Every service and every session has some of these. Most have a handful of entries: a row of them
//! costs what it holds, where the least tree costs eleven entries. In a long one the tree keeps the
//! work per entry logarithmic. Its leaves are rows too, for most keys ascend, and a tree of single
//! entries is then half empty.
//!
//! This is less plain than one tree over all services for each index, which it took the place of: a
//! registration went down such trees about fifteen times. Applying one takes about 0.4 of the instructions
//! (docs/performance.md).
//!
//! # Always true
//! * **D12, one form**: a row has at most [`ROW_MAX`] entries, in ascending order, each key once, and those
//!   of a tree begin at or above their key and end below the next; so what is found does not depend on the
//!   form.

use std::collections::{BTreeMap, btree_map};
use std::ops::{Bound, RangeBounds};
use std::slice;

/// The longest row. A service of 300 takes less memory as a row than as a tree, and no difference in
/// time was seen (docs/performance.md).
const ROW_MAX: usize = 512;
/// The longest row in a tree.
const LEAF_MAX: usize = 256;
/// A row of a tree that is so short is joined with its neighbour, if both fit in half a row.
const LEAF_MIN: usize = LEAF_MAX / 8;
/// A tree with so few entries becomes a row again. Far below, so that none goes back and forth.
const TREE_MIN: usize = ROW_MAX / 4;

#[derive(Debug, Clone)]
pub(super) enum Roll<K, V = ()> {
    Row(Vec<(K, V)>),
    Tree(Box<Tree<K, V>>),
}

/// Rows by a key that none of their entries is below. None is empty.
#[derive(Debug, Clone)]
pub(super) struct Tree<K, V> {
    rows: BTreeMap<K, Vec<(K, V)>>,
    len: usize,
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
            return Self::Tree(Box::new(Tree::of_sorted(entries)));
        }
        entries.shrink_to_fit();
        Self::Row(entries)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Row(row) => row.len(),
            Self::Tree(tree) => tree.len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let row = match self {
            Self::Row(row) => row,
            Self::Tree(tree) => tree.rows.range(..=key).next_back()?.1,
        };
        find(row, key).ok().map(|at| &row[at].1)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let row = match self {
            Self::Row(row) => row,
            Self::Tree(tree) => tree.rows.range_mut(..=key).next_back()?.1,
        };
        find(row, key).ok().map(|at| &mut row[at].1)
    }

    /// Gives what stood there before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let row = match self {
            Self::Tree(tree) => return tree.insert(key, value),
            Self::Row(row) => row,
        };
        let at = match find(row, key) {
            Ok(at) => return Some(std::mem::replace(&mut row[at].1, value)),
            Err(at) => at,
        };
        if row.len() == ROW_MAX {
            let mut tree = Tree::of_sorted(std::mem::take(row));
            tree.insert(key, value);
            *self = Self::Tree(Box::new(tree));
            return None;
        }
        put(row, at, (key, value));
        None
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::Row(row) => {
                let at = find(row, key).ok()?;
                let (_, value) = row.remove(at);
                if row.is_empty() {
                    *row = Vec::new();
                }
                Some(value)
            }
            Self::Tree(tree) => {
                let value = tree.remove(key);
                if tree.len <= TREE_MIN {
                    *self = Self::of_sorted(std::mem::take(&mut tree.rows).into_values().flatten().collect());
                }
                value
            }
        }
    }

    /// The entries of some keys, ascending.
    pub(super) fn range(&self, keys: impl RangeBounds<K>) -> Range<'_, K, V> {
        let (start, end) = (keys.start_bound().cloned(), keys.end_bound().cloned());
        match self {
            Self::Row(row) => Range { front: part(row, start, end), rows: None, back: [].iter() },
            Self::Tree(tree) => tree.range(start, end),
        }
    }

    pub(super) fn iter(&self) -> Range<'_, K, V> {
        self.range(..)
    }

    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn first(&self) -> Option<(K, &V)> {
        let row = match self {
            Self::Row(row) => row,
            Self::Tree(tree) => tree.rows.first_key_value()?.1,
        };
        row.first().map(|(key, value)| (*key, value))
    }

    pub(super) fn last(&self) -> Option<(K, &V)> {
        let row = match self {
            Self::Row(row) => row,
            Self::Tree(tree) => tree.rows.last_key_value()?.1,
        };
        row.last().map(|(key, value)| (*key, value))
    }
}

impl<K: Ord + Copy, V> Tree<K, V> {
    fn of_sorted(entries: Vec<(K, V)>) -> Self {
        let len = entries.len();
        let (mut rows, mut entries) = (BTreeMap::new(), entries.into_iter());
        loop {
            let mut row = Vec::with_capacity(LEAF_MAX.min(entries.len()));
            row.extend(entries.by_ref().take(LEAF_MAX));
            let Some(&(first, _)) = row.first() else { return Self { rows, len } };
            rows.insert(first, row);
        }
    }

    fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.rows.first_key_value().is_some_and(|(first, _)| key < *first)
            && let Some((_, row)) = self.rows.pop_first()
        {
            self.rows.insert(key, row);
        }
        let (_, row) = self.rows.range_mut(..=key).next_back()?;
        let at = match find(row, key) {
            Ok(at) => return Some(std::mem::replace(&mut row[at].1, value)),
            Err(at) => at,
        };
        self.len += 1;
        if row.len() < LEAF_MAX {
            put(row, at, (key, value));
            return None;
        }
        // A full row that grows at its end stays full: ids only ascend.
        let cut = if at < LEAF_MAX { LEAF_MAX / 2 } else { LEAF_MAX };
        let mut rest = row.split_off(cut);
        row.shrink_to_fit();
        if at < cut {
            put(row, at, (key, value));
        } else {
            put(&mut rest, at - cut, (key, value));
        }
        self.rows.insert(rest[0].0, rest);
        None
    }

    fn remove(&mut self, key: K) -> Option<V> {
        let (&first, row) = self.rows.range_mut(..=key).next_back()?;
        let at = find(row, key).ok()?;
        let (_, value) = row.remove(at);
        self.len -= 1;
        // Not at every removal below the least, for it costs two looks more.
        let left = row.len();
        if left == 0 {
            self.rows.remove(&first);
        } else if left <= LEAF_MIN && left.is_power_of_two() {
            row.shrink_to_fit();
            self.join(first);
        }
        Some(value)
    }

    /// Joins a short row with the next or the one before, if they are short enough together.
    fn join(&mut self, first: K) {
        let len = |row: Option<(&K, &Vec<(K, V)>)>| row.map(|(&key, row)| (key, row.len()));
        let Some(own) = self.rows.get(&first).map(Vec::len) else { return };
        let next = len(self.rows.range((Bound::Excluded(first), Bound::Unbounded)).next())
            .map(|(next, len)| (first, next, len));
        let before = len(self.rows.range(..first).next_back()).map(|(before, len)| (before, first, len));
        let short = |&(_, _, len): &(K, K, usize)| own + len <= LEAF_MAX / 2;
        if let Some((kept, joined, _)) = next.filter(short).or(before.filter(short))
            && let Some(entries) = self.rows.remove(&joined)
            && let Some(row) = self.rows.get_mut(&kept)
        {
            row.extend(entries);
        }
    }

    fn range(&self, start: Bound<K>, end: Bound<K>) -> Range<'_, K, V> {
        let lowest = match start {
            Bound::Included(key) | Bound::Excluded(key) => self.rows.range(..=key).next_back().map(|(&first, _)| first),
            Bound::Unbounded => None,
        };
        let from = lowest.map_or(Bound::Unbounded, Bound::Included);
        // Nothing is between bounds that cross, and a tree would panic.
        let mut rows = match (from, end) {
            (Bound::Included(from), Bound::Included(end)) if from > end => self.rows.range(from..from),
            (Bound::Included(from), Bound::Excluded(end)) if from >= end => self.rows.range(from..from),
            (from, end) => self.rows.range((from, end)),
        };
        let front = rows.next().map_or([].iter(), |(_, row)| part(row, start, end));
        let back = rows.next_back().map_or([].iter(), |(_, row)| part(row, start, end));
        Range { front, rows: Some(rows), back }
    }
}

/// Where a key stands in a row, or where it should. Most keys are ids, and the newest id is the highest.
fn find<K: Ord + Copy, V>(row: &[(K, V)], key: K) -> Result<usize, usize> {
    if row.last().is_none_or(|last| last.0 < key) {
        return Err(row.len());
    }
    row.binary_search_by_key(&key, |entry| entry.0)
}

/// Puts an entry into a row.
fn put<K, V>(row: &mut Vec<(K, V)>, at: usize, entry: (K, V)) {
    if row.len() == row.capacity() {
        // Rather than double: there are many rows, and each would be half empty.
        row.reserve_exact(row.len() / 4 + 1);
    }
    row.insert(at, entry);
}

/// The entries of a row between two bounds.
fn part<K: Ord + Copy, V>(row: &[(K, V)], start: Bound<K>, end: Bound<K>) -> slice::Iter<'_, (K, V)> {
    let first = match start {
        Bound::Included(key) => row.partition_point(|entry| entry.0 < key),
        Bound::Excluded(key) => row.partition_point(|entry| entry.0 <= key),
        Bound::Unbounded => 0,
    };
    let end = match end {
        Bound::Included(key) => row.partition_point(|entry| entry.0 <= key),
        Bound::Excluded(key) => row.partition_point(|entry| entry.0 < key),
        Bound::Unbounded => row.len(),
    };
    row[first..end.max(first)].iter()
}

/// Entries of a roll: those of the row that the range begins in, rows between, and those of its last row.
pub(super) struct Range<'a, K, V> {
    front: slice::Iter<'a, (K, V)>,
    rows: Option<btree_map::Range<'a, K, Vec<(K, V)>>>,
    back: slice::Iter<'a, (K, V)>,
}

impl<'a, K: Copy, V> Iterator for Range<'a, K, V> {
    type Item = (K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.front.next() {
                return Some((*key, value));
            }
            match self.rows.as_mut().and_then(Iterator::next) {
                Some((_, row)) => self.front = row.iter(),
                None => return self.back.next().map(|(key, value)| (*key, value)),
            }
        }
    }
}

impl<K: Copy, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.back.next_back() {
                return Some((*key, value));
            }
            match self.rows.as_mut().and_then(DoubleEndedIterator::next_back) {
                Some((_, row)) => self.back = row.iter(),
                None => return self.front.next_back().map(|(key, value)| (*key, value)),
            }
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
        match roll {
            Roll::Row(row) => assert!(row.len() <= ROW_MAX, "D12"),
            Roll::Tree(tree) => {
                for ((&first, row), next) in tree.rows.iter().zip(tree.rows.keys().skip(1).map(Some).chain([None])) {
                    assert!((1..=LEAF_MAX).contains(&row.len()) && first <= row[0].0, "D12");
                    assert!(next.is_none_or(|next| row.last().is_some_and(|last| last.0 < *next)), "D12");
                }
            }
        }
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
            assert!(
                roll.range(..=at).rev().map(|(key, _)| key).eq(model.range(..=at).rev().map(|(&key, _)| key)),
                "D12"
            );
            let between = (Bound::Excluded(at / 2), Bound::Excluded(at.max(1)));
            assert!(roll.range(between).eq(model.range(between).map(|(&key, value)| (key, value))), "D12");
        }
        assert_eq!(roll.range(700..700).count() + roll.range((Bound::Excluded(9_999), Bound::Unbounded)).count(), 0);
        let (mut ends, mut expected) = (roll.keys(), model.keys().copied());
        while let Some(key) = ends.next() {
            assert_eq!((Some(key), ends.next_back()), (expected.next(), expected.next_back()), "D12");
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
    fn rows_that_ascend_are_full_and_short_ones_are_joined() {
        let (mut roll, mut model) = (Roll::default(), BTreeMap::new());
        for key in 0..20 * LEAF_MAX as u32 {
            roll.insert(key, key);
            model.insert(key, key);
        }
        let rows = |roll: &Roll<u32, u32>| match roll {
            Roll::Row(_) => 1,
            Roll::Tree(tree) => tree.rows.len(),
        };
        assert_eq!(rows(&roll), 20);
        // What is left stands far apart, and no longer than needed in a row of its own.
        for key in (0..20 * LEAF_MAX as u32).filter(|key| key % 32 != 5) {
            assert_eq!(roll.remove(key), model.remove(&key));
        }
        check(&roll, &model);
        assert!((2..=10).contains(&rows(&roll)), "{}", rows(&roll));
        // Below all that is there.
        assert_eq!((roll.insert(1, 1), model.insert(1, 1)), (None, None));
        check(&roll, &model);
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
