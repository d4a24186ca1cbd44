//! What one consuming stream has not read yet.
//!
//! Bounded by its window: the broker gives nothing more to a stream that leaves more than that unread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use roster_core::queue::Delivery;
use roster_proto::convert::encode_delivery;
use roster_proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A response is closed when it has grown to this size.
const RESPONSE_BYTES: u64 = 1024 * 1024;
/// What a delivery takes beside its message.
const DELIVERY_BYTES: u64 = 32;

/// Filled by the broker, emptied by the stream.
#[derive(Debug, Default)]
pub(crate) struct DeliveryBox {
    inner: Mutex<Inner>,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    opened: Option<v1::ConsumeOpened>,
    deliveries: VecDeque<Delivery>,
    /// The highest word that is durable, that was asked for, and that was told.
    confirmed: u64,
    wanted: u64,
    told: u64,
    ending: Ending,
    waker: Option<Waker>,
    /// The broker has put something in since it last woke the stream.
    is_waking: bool,
}

#[derive(Debug, Default)]
enum Ending {
    #[default]
    Open,
    /// The client says no more: the stream ends when everything that it wants confirmed is.
    Finishing,
    Failing(Status),
    Over,
}

impl DeliveryBox {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, opened: v1::ConsumeOpened) {
        self.lock().opened = Some(opened);
        self.wake();
    }

    /// Puts deliveries in. How many are unread then, and whether the stream is to be woken for it and was not yet.
    pub(crate) fn put(&self, deliveries: Vec<Delivery>) -> (usize, bool) {
        let mut inner = self.lock();
        if let Ending::Open = inner.ending {
            inner.deliveries.extend(deliveries);
        }
        (inner.deliveries.len(), !std::mem::replace(&mut inner.is_waking, true))
    }

    pub(crate) fn unread(&self) -> usize {
        self.lock().deliveries.len()
    }

    /// The client wants to know when its words up to here are durable.
    pub(crate) fn want(&self, confirm: u64) {
        let mut inner = self.lock();
        inner.wanted = inner.wanted.max(confirm);
    }

    /// Whether the stream is to be woken for it, and was not yet.
    pub(crate) fn confirm(&self, confirm: u64) -> bool {
        let mut inner = self.lock();
        inner.confirmed = inner.confirmed.max(confirm);
        !std::mem::replace(&mut inner.is_waking, true)
    }

    /// Lets the stream look at what is there.
    pub(crate) fn wake(&self) {
        let mut inner = self.lock();
        inner.is_waking = false;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The client says no more, and gets no more.
    pub(crate) fn finish(&self) {
        let mut inner = self.lock();
        inner.deliveries = VecDeque::new();
        if let Ending::Open = inner.ending {
            inner.ending = Ending::Finishing;
        }
        drop(inner);
        self.wake();
    }

    /// The stream ends at once.
    pub(crate) fn end(&self, status: Status) {
        let mut inner = self.lock();
        inner.deliveries = VecDeque::new();
        if let Ending::Open | Ending::Finishing = inner.ending {
            inner.ending = Ending::Failing(status);
        }
        drop(inner);
        self.ended.cancel();
        self.wake();
    }

    /// Nobody reads it any more.
    pub(crate) fn abandon(&self) {
        self.ended.cancel();
    }

    /// Waits until no more should be read.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// The next response, if there is one.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<Result<v1::ConsumeResponse, Status>>> {
        let mut inner = self.lock();
        match std::mem::take(&mut inner.ending) {
            Ending::Failing(status) => {
                inner.ending = Ending::Over;
                return Poll::Ready(Some(Err(status)));
            }
            Ending::Over => {
                inner.ending = Ending::Over;
                return Poll::Ready(None);
            }
            ending @ (Ending::Open | Ending::Finishing) => inner.ending = ending,
        }
        let opened = inner.opened.take();
        let confirmed = if inner.confirmed > inner.told { inner.confirmed } else { 0 };
        inner.told = inner.told.max(confirmed);
        let mut bytes = 0;
        let within = inner.deliveries.iter().take_while(|delivery| {
            let fits = bytes < RESPONSE_BYTES;
            bytes += delivery.message.bytes() + DELIVERY_BYTES;
            fits
        });
        let count = within.count();
        if opened.is_none() && confirmed == 0 && count == 0 {
            if let (Ending::Finishing, true) = (&inner.ending, inner.told >= inner.wanted) {
                inner.ending = Ending::Over;
                return Poll::Ready(None);
            }
            inner.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken: Vec<Delivery> = inner.deliveries.drain(..count).collect();
        // The lock is not held while they are encoded: the broker must not wait for it.
        drop(inner);
        let deliveries = taken.iter().map(encode_delivery).collect();
        Poll::Ready(Some(Ok(v1::ConsumeResponse { opened, deliveries, confirmed })))
    }
}
