//! Who watches, what they have taken in, and who waits for that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost::Message;
use roster_core::directory::{Directory, Event};
use roster_core::view::{Group, Told};
use roster_core::{InstanceId, Position, Selector, ServiceName};
use roster_proto::convert::{encode_group, invalid};
use roster_proto::encoded::{Delivery, WatchResponse};
use roster_proto::v1;
use tokio::sync::mpsc;
use tonic::Status;

/// Groups that can be resumed from.
const HISTORY_GROUPS: usize = 10_000;

pub(super) type WatchSender = mpsc::Sender<Result<WatchResponse, Status>>;
/// Where the progress of a drain goes.
pub(super) type DrainSink = Box<dyn Fn(v1::DrainProgress) + Send>;

#[derive(Debug, Default)]
pub(super) struct Watchers {
    watchers: BTreeMap<u64, Watcher>,
    last_watcher: u64,
    history: VecDeque<Group>,
    drains: BTreeMap<u64, Drain>,
    last_drain: u64,
    /// Subscriptions that were resumed rather than begun anew.
    pub(super) resumed: usize,
}

#[derive(Debug)]
struct Watcher {
    sender: WatchSender,
    watches: BTreeMap<u64, Selector>,
    acknowledged: Position,
}

struct Drain {
    instance: InstanceId,
    position: Position,
    waiting: BTreeSet<u64>,
    watchers: u32,
    sink: DrainSink,
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drain").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Watchers {
    pub(super) fn join(&mut self, sender: WatchSender) -> u64 {
        self.last_watcher += 1;
        let watcher = Watcher { sender, watches: BTreeMap::new(), acknowledged: Position::default() };
        self.watchers.insert(self.last_watcher, watcher);
        self.last_watcher
    }

    pub(super) fn leave(&mut self, watcher: u64) {
        self.watchers.remove(&watcher);
        self.settle_drains();
    }

    pub(super) fn count(&self) -> usize {
        self.watchers.len()
    }

    pub(super) fn watches(&self) -> usize {
        self.watchers.values().map(|watcher| watcher.watches.len()).sum()
    }

    pub(super) fn bookmark(&self, epoch: u64, watcher: u64, position: Position) {
        let group = Group { position, told: vec![Told::Bookmark] };
        if let Some(watcher) = self.watchers.get(&watcher) {
            watcher.send(epoch, watcher.watches.keys().map(|watch| (*watch, group.clone())));
        }
    }

    pub(super) fn handle(&mut self, directory: &Directory, epoch: u64, id: u64, request: &v1::WatchRequest) {
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        for watch in &request.unsubscribe {
            watcher.watches.remove(watch);
        }
        for subscribe in &request.subscribe {
            let selector = match Selector::parse(&subscribe.selector) {
                Ok(selector) => selector,
                Err(wrong) => {
                    watcher.refuse(epoch, subscribe.watch_id, invalid(wrong));
                    continue;
                }
            };
            let from = Position::new(subscribe.resume_position);
            let groups: Vec<_> = if subscribe.resume_epoch == epoch && from <= directory.revision() {
                self.resumed += 1;
                self.history
                    .iter()
                    .filter(|group| group.position > from)
                    .filter_map(|group| select(group, &selector))
                    .collect()
            } else {
                let state = directory.visible(&selector).into_iter().map(Told::Event);
                let told = std::iter::once(Told::Reset).chain(state).chain([Told::Loaded]).collect();
                vec![Group { position: directory.revision(), told }]
            };
            watcher.send(epoch, groups.into_iter().map(|group| (subscribe.watch_id, group)));
            watcher.watches.insert(subscribe.watch_id, selector);
        }
        watcher.acknowledged = watcher.acknowledged.max(Position::new(request.acknowledged));
        self.settle_drains();
    }

    pub(super) fn publish(&mut self, epoch: u64, group: Group) {
        for watcher in self.watchers.values() {
            let mine = |(watch, selector): (&u64, &Selector)| Some((*watch, select(&group, selector)?));
            watcher.send(epoch, watcher.watches.iter().filter_map(mine));
        }
        self.history.push_back(group);
        if self.history.len() > HISTORY_GROUPS {
            self.history.pop_front();
        }
    }

    /// Tells who has taken in that this instance drains, until all have or [`Self::end_drain`].
    pub(super) fn drain(
        &mut self,
        instance: InstanceId,
        service: &ServiceName,
        position: Position,
        sink: DrainSink,
    ) -> u64 {
        let concerned = |watcher: &Watcher| watcher.watches.values().any(|selector| selector.matches(service));
        let waiting: BTreeSet<_> =
            self.watchers.iter().filter(|(_, watcher)| concerned(watcher)).map(|(id, _)| *id).collect();
        let watchers = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        self.last_drain += 1;
        let drain = Drain { instance, position, waiting, watchers, sink };
        drain.tell(drain.waiting.is_empty());
        self.drains.insert(self.last_drain, drain);
        self.settle_drains();
        self.last_drain
    }

    pub(super) fn end_drain(&mut self, drain: u64) {
        if let Some(drain) = self.drains.remove(&drain) {
            drain.tell(true);
        }
    }

    fn settle_drains(&mut self) {
        let watchers = &self.watchers;
        self.drains.retain(|_, drain| {
            let before = drain.waiting.len();
            let position = drain.position;
            drain.waiting.retain(|id| watchers.get(id).is_some_and(|watcher| watcher.acknowledged < position));
            let over = drain.waiting.is_empty();
            if drain.waiting.len() < before {
                drain.tell(over);
            }
            !over
        });
    }
}

impl Drain {
    fn tell(&self, finished: bool) {
        let seen = self.watchers - u32::try_from(self.waiting.len()).unwrap_or(0);
        let progress = v1::DrainProgress { instance_id: self.instance.get(), seen, watchers: self.watchers, finished };
        (self.sink)(progress);
    }
}

impl Watcher {
    fn send(&self, epoch: u64, groups: impl Iterator<Item = (u64, Group)>) {
        let deliveries: Vec<_> = groups
            .map(|(watch, group)| Delivery {
                watch_ids: vec![watch],
                group: encode_group(&group).encode_to_vec().into(),
            })
            .collect();
        if !deliveries.is_empty() {
            let _ = self.sender.try_send(Ok(WatchResponse { deliveries, epoch }));
        }
    }

    fn refuse(&self, epoch: u64, watch: u64, refusal: v1::Refusal) {
        let event = v1::Event { event: Some(v1::event::Event::Refused(refusal)) };
        let group = v1::EventGroup { position: 0, events: vec![event] };
        let delivery = Delivery { watch_ids: vec![watch], group: group.encode_to_vec().into() };
        let _ = self.sender.try_send(Ok(WatchResponse { deliveries: vec![delivery], epoch }));
    }
}

fn select(group: &Group, selector: &Selector) -> Option<Group> {
    let mine = |told: &&Told| matches!(told, Told::Event(event) if selector.matches(Event::service(event)));
    let told: Vec<_> = group.told.iter().filter(mine).cloned().collect();
    (!told.is_empty()).then_some(Group { position: group.position, told })
}
