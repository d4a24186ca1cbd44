//! Who watches what. Owned by the director; it encodes each event once and hands the bytes out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use prost::Message;
use roster_core::directory::Event;
use roster_core::view::{Group, Told};
use roster_core::{Position, Selector, ServiceName};
use roster_proto::convert::encode_group;
use smol_str::SmolStr;

use super::StreamId;
use super::outbox::{Outbox, Parcel};
use super::recent::{Recent, encoded_events};
use super::routes::Routes;
use super::state_copy::StateCopy;

/// A group above this size is not sent as such: its watchers get the state instead, piece by piece.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// With so many entries, those of copies that nobody reads any more are swept out.
const COPIES_SWEEP: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchSettings {
    pub(crate) outbox_groups: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) resume_bytes: usize,
    pub(crate) watches_per_stream: usize,
}

impl WatchSettings {
    /// A copy of the state is shared until so many groups have come after it.
    fn copy_groups(&self) -> usize {
        (self.outbox_groups / 4).min(1_024)
    }
}

/// A watch as it is asked for.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) watch: u64,
    pub(crate) selector: Selector,
    /// The last position taken in, when it is of this node's epoch.
    pub(crate) resume: Option<Position>,
}

#[derive(Debug)]
struct StreamEntry {
    outbox: Arc<Outbox>,
    watches: HashMap<u64, Selector>,
    acknowledged: Position,
    /// Something was put in since the last flush.
    dirty: bool,
    /// Something was delivered since the last bookmark.
    busy: bool,
    /// Its outbox was emptied, and it has not read on.
    parked: bool,
}

#[derive(Debug)]
pub(crate) struct WatchHub {
    settings: WatchSettings,
    streams: HashMap<StreamId, StreamEntry>,
    routes: Routes,
    /// Copies that are being read.
    copies: HashMap<SmolStr, Weak<StateCopy>>,
    recent: Recent,
    dirty: Vec<StreamId>,
    watches: usize,
    resets: u64,
    /// Moves whenever who watches, or what was acknowledged, is another.
    generation: u64,
}

impl WatchHub {
    pub(crate) fn new(settings: WatchSettings, start: Position) -> Self {
        Self {
            settings,
            streams: HashMap::new(),
            routes: Routes::default(),
            copies: HashMap::new(),
            recent: Recent::new(start, settings.resume_bytes),
            dirty: Vec::new(),
            watches: 0,
            resets: 0,
            generation: 0,
        }
    }

    pub(crate) fn open(&mut self, stream: StreamId) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::new(self.settings.outbox_groups, self.settings.outbox_bytes));
        let entry = StreamEntry {
            outbox: outbox.clone(),
            watches: HashMap::new(),
            acknowledged: Position::default(),
            dirty: false,
            busy: true,
            parked: false,
        };
        self.streams.insert(stream, entry);
        outbox
    }

    pub(crate) fn close(&mut self, stream: StreamId) {
        let Some(entry) = self.streams.remove(&stream) else { return };
        self.generation += 1;
        self.watches -= entry.watches.len();
        for selector in entry.watches.values() {
            self.routes.remove_stream(selector.as_str(), stream);
        }
        entry.outbox.close();
    }

    /// Ends every stream, at shutdown.
    pub(crate) fn close_all(&mut self) {
        let streams: Vec<_> = self.streams.keys().copied().collect();
        for stream in streams {
            self.close(stream);
        }
    }

    /// Adds a watch and puts into its outbox what it missed, or the whole state.
    ///
    /// # Errors
    /// Why it cannot be: the id is in use on this stream, or the stream has too many.
    pub(crate) fn subscribe(
        &mut self,
        stream: StreamId,
        subscription: Subscription,
        revision: Position,
        state: impl FnOnce(&Selector) -> Vec<Event>,
    ) -> Result<(), String> {
        let Some(entry) = self.streams.get_mut(&stream) else { return Ok(()) };
        let Subscription { watch, selector, resume } = subscription;
        if entry.watches.contains_key(&watch) {
            return Err(format!("watch id {watch} is in use on this stream; choose another"));
        }
        if entry.watches.len() >= self.settings.watches_per_stream {
            let max = self.settings.watches_per_stream;
            return Err(format!("a stream carries {max} watches at most; open another stream"));
        }
        entry.watches.insert(watch, selector.clone());
        self.routes.add(selector.as_str(), stream, watch, entry.parked);
        self.generation += 1;
        self.watches += 1;

        let only: Arc<[u64]> = Arc::from([watch]);
        let missed = resume
            .filter(|from| *from <= revision)
            .and_then(|from| self.recent.since(from, &selector, self.settings.outbox_groups / 2));
        match missed {
            Some(groups) => {
                for group in groups {
                    self.put(stream, Parcel::Group { watches: only.clone(), group });
                }
                let group = bookmark(revision);
                self.put(stream, Parcel::Group { watches: only, group });
            }
            None => self.put_state(stream, &selector, only, revision, state),
        }
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, stream: StreamId, watch: u64) {
        let Some(selector) = self.streams.get_mut(&stream).and_then(|entry| entry.watches.remove(&watch)) else {
            return;
        };
        self.generation += 1;
        self.watches -= 1;
        self.routes.remove(selector.as_str(), stream, watch);
    }

    /// The reader of an emptied outbox reads on: puts the whole state of each of its watches in.
    pub(crate) fn resync(
        &mut self,
        stream: StreamId,
        revision: Position,
        mut state: impl FnMut(&Selector) -> Vec<Event>,
    ) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        entry.outbox.reopen();
        if std::mem::take(&mut entry.parked) {
            entry.watches.values().for_each(|selector| self.routes.unpark(selector.as_str(), stream));
        }
        let mut by_selector: BTreeMap<&Selector, Vec<u64>> = BTreeMap::new();
        for (watch, selector) in &entry.watches {
            by_selector.entry(selector).or_default().push(*watch);
        }
        let wanted: Vec<(Selector, Arc<[u64]>)> =
            by_selector.into_iter().map(|(selector, watches)| (selector.clone(), Arc::from(watches))).collect();
        for (selector, watches) in wanted {
            self.resets += watches.len() as u64;
            self.put_state(stream, &selector, watches, revision, &mut state);
        }
    }

    /// Puts the whole state in: a copy that others read already and what came after it, or a new copy.
    fn put_state(
        &mut self,
        stream: StreamId,
        selector: &Selector,
        watches: Arc<[u64]>,
        revision: Position,
        state: impl FnOnce(&Selector) -> Vec<Event>,
    ) {
        let shared = self.copies.get(selector.as_str()).and_then(Weak::upgrade);
        let shared = shared.and_then(|copy| {
            let since = self.recent.since(copy.position(), selector, self.settings.copy_groups())?;
            Some((copy, since))
        });
        let (copy, since) = shared.unwrap_or_else(|| (self.state_copy(selector, revision, state), Vec::new()));
        self.put(stream, Parcel::State { watches: watches.clone(), copy, next: 0 });
        for group in since {
            self.put(stream, Parcel::Group { watches: watches.clone(), group });
        }
    }

    fn state_copy(
        &mut self,
        selector: &Selector,
        revision: Position,
        state: impl FnOnce(&Selector) -> Vec<Event>,
    ) -> Arc<StateCopy> {
        if self.copies.len() >= COPIES_SWEEP {
            self.copies.retain(|_, copy| copy.strong_count() > 0);
        }
        let copy = Arc::new(StateCopy::new(revision, state(selector)));
        self.copies.insert(SmolStr::new(selector.as_str()), Arc::downgrade(&copy));
        copy
    }

    /// Tells everybody whom the events of one command concern. Nobody is woken before [`Self::flush`].
    /// Leaves `events` empty, with its memory for the next.
    pub(crate) fn publish(&mut self, position: Position, events: &mut Vec<Event>) {
        if !self.routes.is_empty() {
            self.tell_watchers(position, events);
        }
        self.recent.push(position, events.drain(..));
    }

    fn tell_watchers(&mut self, position: Position, events: &[Event]) {
        // Which selectors that somebody watches are meant, and the encoded events that each is to be told.
        let mut told: BTreeMap<&str, Vec<Bytes>> = BTreeMap::new();
        for of_service in events.chunk_by(|one, next| one.service() == next.service()) {
            let mut encoded = None;
            for text in selectors_of(of_service[0].service()) {
                if self.routes.has_told(text) {
                    let group = encoded.get_or_insert_with(|| encoded_events(position, of_service));
                    told.entry(text).or_default().push(group.clone());
                }
            }
        }
        for (text, groups) in told {
            self.deliver(text, &joined(groups));
        }
    }

    fn deliver(&mut self, selector: &str, group: &Bytes) {
        let mut emptied = Vec::new();
        for (stream, route) in self.routes.told(selector) {
            let Some(entry) = self.streams.get_mut(&stream) else { continue };
            if group.len() > GROUP_BYTES_MAX {
                entry.outbox.overflow();
                emptied.push(stream);
            } else if entry.outbox.put(Parcel::Group { watches: route.shared(), group: group.clone() }) {
                emptied.push(stream);
            }
            entry.busy = true;
            if !std::mem::replace(&mut entry.dirty, true) {
                self.dirty.push(stream);
            }
        }
        emptied.into_iter().for_each(|stream| self.park(stream));
    }

    fn put(&mut self, stream: StreamId, parcel: Parcel) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let emptied = entry.outbox.put(parcel);
        entry.busy = true;
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(stream);
        }
        if emptied {
            self.park(stream);
        }
    }

    /// Passes the stream by until it reads on.
    fn park(&mut self, stream: StreamId) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        entry.parked = true;
        entry.watches.values().for_each(|selector| self.routes.park(selector.as_str(), stream));
    }

    /// Wakes each stream that something was put in for, once.
    pub(crate) fn flush(&mut self) {
        for stream in self.dirty.drain(..) {
            if let Some(entry) = self.streams.get_mut(&stream) {
                entry.dirty = false;
                entry.outbox.wake();
            }
        }
    }

    /// Tells quiet streams up to where they know everything.
    pub(crate) fn bookmark(&mut self, revision: Position) {
        let group = bookmark(revision);
        for entry in self.streams.values_mut() {
            let quiet = !std::mem::replace(&mut entry.busy, false) && entry.outbox.is_empty();
            if quiet && !entry.watches.is_empty() {
                let watches: Arc<[u64]> = entry.watches.keys().copied().collect();
                entry.outbox.put(Parcel::Group { watches, group: group.clone() });
                entry.outbox.wake();
            }
        }
    }

    /// A refusal of one watch, as the last thing it is told.
    pub(crate) fn refuse(&mut self, stream: StreamId, watch: u64, refusal: roster_proto::v1::Refusal) {
        use roster_proto::v1::{Event, EventGroup, event};
        let event = Event { event: Some(event::Event::Refused(refusal)) };
        let group = EventGroup { position: 0, events: vec![event] }.encode_to_vec();
        self.put(stream, Parcel::Group { watches: Arc::from([watch]), group: group.into() });
    }

    pub(crate) fn acknowledge(&mut self, stream: StreamId, position: Position) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.acknowledged = entry.acknowledged.max(position);
            self.generation += 1;
        }
    }

    /// Of the streams that watch this service: how many have taken in that position, and how many there are.
    pub(crate) fn seen(&self, service: &ServiceName, position: Position) -> (u32, u32) {
        let mut watchers: Vec<StreamId> = selectors_of(service).flat_map(|text| self.routes.streams(text)).collect();
        watchers.sort_unstable();
        watchers.dedup();
        let seen = watchers
            .iter()
            .filter(|stream| self.streams.get(stream).is_some_and(|entry| entry.acknowledged >= position))
            .count();
        (u32::try_from(seen).unwrap_or(u32::MAX), u32::try_from(watchers.len()).unwrap_or(u32::MAX))
    }

    /// Another number whenever [`Self::seen`] may answer otherwise.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Streams, watches, and resets of slow streams so far.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        (self.streams.len(), self.watches, self.resets)
    }
}

/// The texts of all selectors that match a service: everything, each prefix, the service itself.
fn selectors_of(service: &ServiceName) -> impl Iterator<Item = &str> {
    let name = service.as_str();
    let prefixes = name.match_indices('/').map(move |(at, _)| &name[..=at]);
    std::iter::once("").chain(prefixes).chain(std::iter::once(name))
}

/// Groups of one position as one group. Encoded messages of one type merge by standing one behind the
/// other (protobuf: the last single field wins, repeated ones append).
fn joined(mut groups: Vec<Bytes>) -> Bytes {
    match groups.len() {
        1 => groups.swap_remove(0),
        _ => groups.concat().into(),
    }
}

fn bookmark(position: Position) -> Bytes {
    encode_group(&Group { position, told: vec![Told::Bookmark] }).encode_to_vec().into()
}
