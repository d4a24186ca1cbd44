//! What watchers were told, taken down by a task so that nothing waits unread.

use std::sync::{Arc, Mutex};

use roster_client::{Change, Client, Instance, LiveView, Selector, WatchEvent};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// More than any test makes: a watch that collapses its events would hide a flap.
const CAPACITY: usize = 4_000_000;

/// A watch of everything, by the SDK.
pub(crate) struct Ledger {
    pub(crate) view: LiveView,
    changes: Arc<Mutex<Vec<Change>>>,
    counted: watch::Receiver<usize>,
    reading: JoinHandle<()>,
}

impl Ledger {
    /// Returns when the state is whole.
    pub(crate) async fn open(client: &Client) -> Self {
        let mut watch = client.watch(Selector::All).capacity(CAPACITY).start();
        let view = watch.view();
        let changes: Arc<Mutex<Vec<Change>>> = Arc::default();
        let (count, counted) = watch::channel(0);
        let book = changes.clone();
        let reading = tokio::spawn(async move {
            while let Some(event) = watch.next().await {
                match event {
                    WatchEvent::Change(change) => {
                        let mut book = book.lock().unwrap();
                        book.push(change);
                        count.send_replace(book.len());
                    }
                    WatchEvent::Resynchronise => panic!("more changes than the watch keeps"),
                    WatchEvent::Refused(refusal) => panic!("{}", refusal.message),
                    WatchEvent::Connected { .. } | WatchEvent::Disconnected { .. } => {}
                }
            }
        });
        crate::soon("the whole state", view.loaded()).await.unwrap();
        Self { view, changes, counted, reading }
    }

    /// Waits until a change was told that is looked for, among all since the beginning.
    pub(crate) async fn until(&mut self, what: &str, look: impl Fn(&Change) -> bool) {
        let looking = async {
            let mut seen = 0;
            loop {
                let found = {
                    let changes = self.changes.lock().unwrap();
                    let found = changes[seen..].iter().any(&look);
                    seen = changes.len();
                    found
                };
                if found {
                    return;
                }
                self.counted.wait_for(|count| *count > seen).await.expect("the watch goes on");
            }
        };
        crate::soon(what, looking).await;
    }

    /// Everything that was told so far.
    pub(crate) fn changes(&self) -> Vec<Change> {
        assert!(!self.reading.is_finished(), "the watch goes on");
        self.changes.lock().unwrap().clone()
    }

    /// What looked to callers as if an instance were in trouble or gone.
    pub(crate) fn losses(&self) -> Vec<Change> {
        let lost = |change: &Change| match change {
            Change::Suspect(_) | Change::Removed { .. } | Change::Replaced { .. } => true,
            Change::Up(instance) | Change::Changed(instance) => is_suspect(instance),
            Change::Draining(_) | Change::MainChanged { .. } | Change::Loaded { .. } => false,
        };
        self.changes().into_iter().filter(lost).collect()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn is_suspect(instance: &Instance) -> bool {
    matches!(instance.liveness, roster_client::Liveness::Suspect(_))
}
