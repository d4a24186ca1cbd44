//! The instances of a service as tower's own `Discover`, for whoever balances by tower.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use roster_core::directory::{Instance, Liveness};
use roster_core::{InstanceId, InvalidWord, Selector, ServiceName};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tower::discover::Change;

use crate::client::Client;
use crate::watch::{Watch, WatchEvent};

/// Changes that wait for a reader; further ones are made when there is room.
const CHANGES_MAX: usize = 64;
const EVENTS_MAX: usize = 16;

/// The instances of a service to which new work may go: up or unconfirmed, and not draining. What a
/// tower service for one is made of says `make`. Watches at once and until it is dropped.
///
/// # Errors
/// [`InvalidWord`] when this is not the name of a service.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn discover<S: Send + 'static>(
    client: &Client,
    service: &str,
    make: impl FnMut(&Instance) -> S + Send + 'static,
) -> Result<Discover<S>, InvalidWord> {
    let service = ServiceName::parse(service)?;
    let watch = client.watch(Selector::Service(service.clone())).capacity(EVENTS_MAX).start();
    let (sender, changes) = mpsc::channel(CHANGES_MAX);
    // Belongs to the stream: it ends when that is dropped.
    tokio::spawn(tell(watch, service, make, sender));
    Ok(Discover { changes: ReceiverStream::new(changes) })
}

/// A stream of [`Change`]s, which makes it a `tower::discover::Discover`.
pub struct Discover<S> {
    changes: ReceiverStream<Change<InstanceId, S>>,
}

impl<S> fmt::Debug for Discover<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discover").finish_non_exhaustive()
    }
}

impl<S> Stream for Discover<S> {
    type Item = Result<Change<InstanceId, S>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.changes).poll_next(context).map(|change| change.map(Ok))
    }
}

async fn tell<S>(
    mut watch: Watch,
    service: ServiceName,
    mut make: impl FnMut(&Instance) -> S,
    sender: mpsc::Sender<Change<InstanceId, S>>,
) {
    let view = watch.view();
    let mut told: HashMap<InstanceId, Instance> = HashMap::new();
    loop {
        let current = view.current();
        let now: HashMap<_, _> =
            current.instances(&service).filter(|instance| takes_work(instance)).map(|one| (one.id, one)).collect();
        // What is new before what is gone, so that there is somebody at any time. An id that a node
        // without memory has given out again is another instance.
        let is_known = |known: &Instance, instance: &Instance| {
            known.registered == instance.registered && known.registration.address == instance.registration.address
        };
        let gone: Vec<_> = told
            .iter()
            .filter(|(id, known)| !now.get(id).is_some_and(|instance| is_known(known, instance)))
            .map(|(id, _)| *id)
            .collect();
        let (reused, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(|id| now.contains_key(id));
        let mut changes: Vec<_> = reused.iter().map(|id| Change::Remove(*id)).collect();
        reused.iter().chain(&gone).for_each(|id| drop(told.remove(id)));
        let mut fresh: Vec<_> = now.values().filter(|instance| !told.contains_key(&instance.id)).copied().collect();
        fresh.sort_unstable_by_key(|instance| instance.id);
        for instance in fresh {
            told.insert(instance.id, instance.clone());
            changes.push(Change::Insert(instance.id, make(instance)));
        }
        changes.extend(gone.into_iter().map(Change::Remove));
        drop(now);
        drop(current);
        for change in changes {
            if sender.send(change).await.is_err() {
                return;
            }
        }
        let event = tokio::select! {
            event = watch.next() => event,
            () = sender.closed() => return,
        };
        match event {
            Some(WatchEvent::Refused(refusal)) => {
                tracing::warn!(%service, why = %refusal.message, "the registry refuses the watch");
            }
            Some(
                WatchEvent::Change(_)
                | WatchEvent::Resynchronise
                | WatchEvent::Connected { .. }
                | WatchEvent::Disconnected { .. },
            ) => {}
            // Nothing more comes; what was told stays.
            None => return sender.closed().await,
        }
    }
}

fn takes_work(instance: &Instance) -> bool {
    match instance.liveness {
        Liveness::Up | Liveness::Unconfirmed => !instance.draining,
        Liveness::Suspect(_) => false,
    }
}
