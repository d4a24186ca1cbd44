//! An ordered map whose clones share what they have in common.
//!
//! Two levels: a list of short sorted runs. A clone shares all of it; a change afterwards copies the
//! list and one run. So a writer that publishes after each change pays for a run and a sixty-fourth of
//! the map, not for the map. A persistent tree would pay less for millions, and more for a crate.

use std::sync::Arc;

/// A longer run is split in two.
const RUN_ENTRIES_MAX: usize = 64;
/// A run grows by an eighth, and at least by so many entries.
const RUN_GROWTH_MIN: usize = 4;

type Run<K, V> = Arc<Vec<(K, V)>>;

/// Runs are never empty and ascend, within and from one to the next.
#[derive(Debug, Clone)]
pub(super) struct Shelf<K, V> {
    runs: Arc<Vec<Run<K, V>>>,
    len: usize,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { runs: Arc::default(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Shelf<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.runs.iter().flat_map(|run| run.iter()).map(|(key, value)| (key, value))
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let run = self.runs.get(self.run_of(key))?;
        let entry = find(run, key).ok()?;
        Some(&run[entry].1)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.run_of(key);
        let entry = find(self.runs.get(place)?, key).ok()?;
        let run = Arc::make_mut(&mut Arc::make_mut(&mut self.runs)[place]);
        Some(&mut run[entry].1)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let place = self.run_of(&key);
        let runs = Arc::make_mut(&mut self.runs);
        let Some(run) = runs.get_mut(place).map(Arc::make_mut) else {
            runs.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return;
        };
        match find(run, &key) {
            Ok(entry) => run[entry].1 = value,
            Err(entry) => {
                // Doubling would leave a third of a state that came as a whole unused, for as long as it is watched.
                if run.len() == run.capacity() {
                    run.reserve_exact((run.len() / 8).max(RUN_GROWTH_MIN));
                }
                run.insert(entry, (key, value));
                self.len += 1;
                if run.len() > RUN_ENTRIES_MAX {
                    // Ids mostly ascend: what was full stays full then.
                    let appended = entry == RUN_ENTRIES_MAX;
                    let upper = run.split_off(if appended { entry } else { RUN_ENTRIES_MAX / 2 });
                    runs.insert(place + 1, Arc::new(upper));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.run_of(key);
        let entry = find(self.runs.get(place)?, key).ok()?;
        let runs = Arc::make_mut(&mut self.runs);
        let run = Arc::make_mut(&mut runs[place]);
        let (_, value) = run.remove(entry);
        self.len -= 1;
        if run.is_empty() {
            runs.remove(place);
        } else {
            // What has shrunk on both sides of a border becomes one.
            for lower in [place, place.wrapping_sub(1)] {
                if let Some([one, next]) = runs.get(lower..).and_then(|rest| rest.first_chunk())
                    && one.len() + next.len() <= RUN_ENTRIES_MAX / 2
                {
                    let next = runs.remove(lower + 1);
                    Arc::make_mut(&mut runs[lower]).extend(next.iter().cloned());
                }
            }
        }
        Some(value)
    }

    /// The run in which a key stands or would stand.
    fn run_of(&self, key: &K) -> usize {
        self.runs.partition_point(|run| run[0].0 <= *key).saturating_sub(1)
    }
}

fn find<K: Ord, V>(run: &[(K, V)], key: &K) -> Result<usize, usize> {
    run.binary_search_by(|(present, _)| present.cmp(key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shelf_is_an_ordered_map(steps in prop::collection::vec((any::<bool>(), 0..400_u16, any::<u8>()), 0..2000)) {
            let (mut shelf, mut map) = (Shelf::default(), BTreeMap::new());
            for (grows, key, value) in steps {
                if grows {
                    shelf.insert(key, value);
                    map.insert(key, value);
                } else {
                    prop_assert_eq!(shelf.remove(&key), map.remove(&key));
                }
                prop_assert_eq!(shelf.get(&key), map.get(&key));
                prop_assert_eq!(shelf.len(), map.len());
            }
            prop_assert!(shelf.iter().eq(map.iter()));
            prop_assert!(shelf.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_ENTRIES_MAX));
        }

        #[test]
        fn a_clone_does_not_change(first in 1..300_u16, changed in 0..300_u16) {
            let mut shelf = Shelf::default();
            (0..first).for_each(|key| shelf.insert(key, 0));
            let clone = shelf.clone();
            shelf.insert(changed, 1);
            shelf.remove(&(changed / 2));
            if let Some(value) = shelf.get_mut(&(changed / 3)) {
                *value = 2;
            }
            prop_assert!(clone.iter().eq((0..first).map(|key| (key, 0)).collect::<BTreeMap<_, _>>().iter()));
        }
    }

    #[test]
    fn a_run_keeps_room_for_a_few_more_and_not_for_twice_as_many() {
        let mut shelf = Shelf::default();
        (0..20_u32).for_each(|key| shelf.insert(key, ()));
        assert!(shelf.runs[0].capacity() < 20 + RUN_GROWTH_MIN, "room for {}", shelf.runs[0].capacity());
    }

    #[test]
    fn ascending_keys_fill_the_runs_and_removal_gives_them_back() {
        let mut shelf = Shelf::default();
        (0..64 * 100_u32).for_each(|key| shelf.insert(key, ()));
        assert_eq!(shelf.runs.len(), 100);
        (0..64 * 100_u32).filter(|key| key % 64 != 0).for_each(|key| assert_eq!(shelf.remove(&key), Some(())));
        assert!(shelf.runs.len() < 10, "{} runs for 100 entries", shelf.runs.len());
    }
}
