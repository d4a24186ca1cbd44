//! Which streams watch a selector, and which of them are told.
//!
//! # Always true
//! * **O3, who does not read costs nothing**: a stream whose outbox was emptied is parked, and passed by in whatever is
//!   told until it reads on. With 512 streams that watched everything and never read, looking at each of them for each
//!   event took more than four fifths of the director, which was full (docs/performance.md, "Too much work").

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smol_str::SmolStr;

use super::StreamId;

/// By the text of the selector. None is empty.
#[derive(Debug, Default)]
pub(super) struct Routes(HashMap<SmolStr, Watchers>);

#[derive(Debug, Default)]
struct Watchers {
    told: BTreeMap<StreamId, Route>,
    parked: BTreeMap<StreamId, Route>,
}

/// The watches of one selector on one stream.
#[derive(Debug, Default)]
pub(super) struct Route {
    watches: Vec<u64>,
    shared: Option<Arc<[u64]>>,
}

impl Route {
    pub(super) fn shared(&mut self) -> Arc<[u64]> {
        self.shared.get_or_insert_with(|| Arc::from(self.watches.as_slice())).clone()
    }
}

impl Routes {
    pub(super) fn add(&mut self, selector: &str, stream: StreamId, watch: u64, is_parked: bool) {
        let watchers = self.0.entry(SmolStr::new(selector)).or_default();
        let routes = if is_parked { &mut watchers.parked } else { &mut watchers.told };
        let route = routes.entry(stream).or_default();
        if route.watches.is_empty() {
            // Most often it stays the only one, and `push` alone would make room for four.
            route.watches.reserve_exact(1);
        }
        route.watches.push(watch);
        route.shared = None;
    }

    pub(super) fn remove(&mut self, selector: &str, stream: StreamId, watch: u64) {
        let Some(watchers) = self.0.get_mut(selector) else { return };
        for routes in [&mut watchers.told, &mut watchers.parked] {
            let Some(route) = routes.get_mut(&stream) else { continue };
            route.watches.retain(|other| *other != watch);
            route.shared = None;
            if route.watches.is_empty() {
                routes.remove(&stream);
            }
        }
        self.forget_if_empty(selector);
    }

    pub(super) fn remove_stream(&mut self, selector: &str, stream: StreamId) {
        let Some(watchers) = self.0.get_mut(selector) else { return };
        watchers.told.remove(&stream);
        watchers.parked.remove(&stream);
        self.forget_if_empty(selector);
    }

    fn forget_if_empty(&mut self, selector: &str) {
        if self.0.get(selector).is_some_and(|watchers| watchers.told.is_empty() && watchers.parked.is_empty()) {
            self.0.remove(selector);
        }
    }

    /// Its outbox was emptied.
    pub(super) fn park(&mut self, selector: &str, stream: StreamId) {
        let Some(watchers) = self.0.get_mut(selector) else { return };
        watchers.parked.extend(watchers.told.remove_entry(&stream));
        debug_assert!(!watchers.told.contains_key(&stream), "O3");
    }

    /// It reads on.
    pub(super) fn unpark(&mut self, selector: &str, stream: StreamId) {
        let Some(watchers) = self.0.get_mut(selector) else { return };
        watchers.told.extend(watchers.parked.remove_entry(&stream));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anybody is told.
    pub(super) fn has_told(&self, selector: &str) -> bool {
        self.0.get(selector).is_some_and(|watchers| !watchers.told.is_empty())
    }

    /// Who is told.
    pub(super) fn told(&mut self, selector: &str) -> impl Iterator<Item = (StreamId, &mut Route)> {
        let told = self.0.get_mut(selector).map(|watchers| &mut watchers.told);
        told.into_iter().flatten().map(|(stream, route)| (*stream, route))
    }

    /// All who watch, told or parked.
    pub(super) fn streams(&self, selector: &str) -> impl Iterator<Item = StreamId> {
        let watchers = self.0.get(selector).into_iter();
        watchers.flat_map(|watchers| watchers.told.keys().chain(watchers.parked.keys()).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_stream_is_told_nothing_until_it_reads_on_and_still_watches() {
        let (slow, quick) = (StreamId(1), StreamId(2));
        let mut routes = Routes::default();
        routes.add("orders", slow, 7, false);
        routes.add("orders", quick, 7, false);
        let told = |routes: &mut Routes| routes.told("orders").map(|(stream, _)| stream).collect::<Vec<_>>();
        routes.park("orders", slow);
        routes.add("orders", slow, 8, true);
        assert_eq!(told(&mut routes), [quick], "O3");
        assert_eq!(routes.streams("orders").count(), 2);
        routes.unpark("orders", slow);
        assert_eq!(told(&mut routes), [slow, quick]);
        let (_, route) = routes.told("orders").next().unwrap();
        assert_eq!(*route.shared(), [7, 8]);

        routes.park("orders", slow);
        routes.remove_stream("orders", quick);
        assert!(!routes.has_told("orders"));
        routes.remove("orders", slow, 7);
        routes.remove("orders", slow, 8);
        assert!(routes.is_empty());
    }
}
