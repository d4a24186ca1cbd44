//! The watcher: everything that it is told, with the moment at which it was.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use roster_client::{Change, Instance, RemovedCause, Selector, Watch, WatchEvent};
use roster_core::{Address, InstanceId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::commands::node;

/// Changes that may wait to be stamped. More than the demo makes.
const CHANGES_WAITING_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Watcher {
    record: watch::Receiver<Record>,
    /// Ends with the watcher.
    _reader: JoinSet<()>,
}

/// A place in the record, for what comes after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize);

#[derive(Debug, Default)]
struct Record {
    seen: Vec<(Instant, Change)>,
    /// Why it is not whole.
    torn: Option<String>,
}

impl Watcher {
    /// Watches everything below `prefix`.
    ///
    /// # Errors
    /// When the address is not one.
    pub(super) fn start(url: &str, prefix: &str) -> anyhow::Result<Self> {
        let client = node::client(&[url.to_owned()])?;
        let watch = client.watch(Selector::parse(prefix)?).capacity(CHANGES_WAITING_MAX).start();
        let (sender, record) = watch::channel(Record::default());
        let mut reader = JoinSet::new();
        reader.spawn(read(watch, sender));
        Ok(Self { record, _reader: reader })
    }

    /// From here on.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.record.borrow().seen.len())
    }

    /// The first change since the mark in which `find` finds something, and when it was told. `find`
    /// sees each change once, in order.
    ///
    /// # Errors
    /// When none comes in time; `what` names it.
    pub(super) async fn wait<T>(
        &self,
        mark: Mark,
        what: &str,
        patience: Duration,
        mut find: impl FnMut(&Change) -> Option<T>,
    ) -> anyhow::Result<(Instant, T)> {
        let until = tokio::time::Instant::now() + patience;
        let mut record = self.record.clone();
        let mut next = mark.0;
        loop {
            {
                let record = record.borrow_and_update();
                let found = record.seen[next..].iter().find_map(|(at, change)| Some((*at, find(change)?)));
                if let Some(found) = found {
                    return Ok(found);
                }
                if let Some(why) = &record.torn {
                    bail!("the watcher waits for {what} in vain: {why}");
                }
                next = record.seen.len();
            }
            let changed = timeout_at(until, record.changed()).await;
            changed.with_context(|| format!("the watcher was not told {what} within {patience:?}"))??;
        }
    }

    /// Until that instance is up.
    pub(super) async fn wait_up(&self, mark: Mark, address: &Address, patience: Duration) -> anyhow::Result<Instant> {
        let what = format!("that {address} is up");
        let up = |change: &Change| matches!(change, Change::Up(instance) if is_at(instance, address)).then_some(());
        Ok(self.wait(mark, &what, patience, up).await?.0)
    }

    /// Until that instance is gone, and why it is.
    pub(super) async fn wait_gone(
        &self,
        mark: Mark,
        address: &Address,
        patience: Duration,
    ) -> anyhow::Result<(Instant, Option<RemovedCause>)> {
        let gone = |change: &Change| {
            let Change::Removed { instance, cause } = change else { return None };
            is_at(instance, address).then_some(*cause)
        };
        self.wait(mark, &format!("that {address} is gone"), patience, gone).await
    }

    /// How many changes since the mark are of this kind.
    pub(super) fn count(&self, mark: Mark, is_counted: impl Fn(&Change) -> bool) -> usize {
        self.record.borrow().seen[mark.0..].iter().filter(|(_, change)| is_counted(change)).count()
    }

    /// Until of each of these there was such a change since the mark. There must be one at least.
    ///
    /// # Errors
    /// When one is missing at the end of the patience; `what` says what it should be.
    pub(super) async fn wait_all(
        &self,
        mark: Mark,
        what: &str,
        patience: Duration,
        mut awaited: HashSet<InstanceId>,
        find: impl Fn(&Change) -> Option<InstanceId>,
    ) -> anyhow::Result<Instant> {
        let what = format!("that {} registrations are {what}", awaited.len());
        let all = |change: &Change| {
            if let Some(instance) = find(change) {
                awaited.remove(&instance);
            }
            awaited.is_empty().then_some(())
        };
        Ok(self.wait(mark, &what, patience, all).await?.0)
    }
}

/// Whether it is the instance at that address.
pub(super) fn is_at(instance: &Instance, address: &Address) -> bool {
    instance.registration.address == *address
}

async fn read(mut watch: Watch, record: watch::Sender<Record>) {
    while let Some(event) = watch.next().await {
        let at = Instant::now();
        match event {
            WatchEvent::Change(change) => record.send_modify(|record| record.seen.push((at, change))),
            WatchEvent::Resynchronise => tear(&record, "more changed than it could take in"),
            WatchEvent::Refused(refusal) => tear(&record, &format!("refused: {}", refusal.message)),
            // A node that comes and goes is what the demo is about.
            WatchEvent::Connected { .. } | WatchEvent::Disconnected { .. } => {}
        }
    }
}

fn tear(record: &watch::Sender<Record>, why: &str) {
    record.send_modify(|record| record.torn = Some(why.to_owned()));
}
