//! The results of one publishing stream, on their way from the broker to the stream.
//!
//! # Always true
//! * **E3, in order**: results leave in the order of their batches, whoever found them: the edge or the broker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use roster_proto::v1;
use roster_proto::v1::publish_stream_response::Response;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Results in one response.
const RESULTS_MAX: usize = 4096;

/// Filled by the broker, emptied by the stream.
#[derive(Debug)]
pub(crate) struct ResultBox {
    inner: Mutex<Inner>,
    /// Places for batches whose result the client has not taken yet.
    places: Semaphore,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    opened: Option<v1::PublishOpened>,
    /// One for each batch; empty until its result is known.
    slots: VecDeque<Option<v1::PublishResult>>,
    ending: Ending,
    /// Batches that have no result get none.
    is_broken_off: bool,
    waker: Option<Waker>,
    /// The broker has put something in since it last woke the stream.
    is_waking: bool,
}

#[derive(Debug, Default)]
enum Ending {
    #[default]
    Open,
    /// The client sends no more.
    Finishing,
    /// The stream ends with this when every batch has its result.
    Failing(Status),
    Over,
}

impl ResultBox {
    /// For so many batches at a time.
    pub(crate) fn new(batches: usize) -> Arc<Self> {
        let (inner, ended) = (Mutex::default(), CancellationToken::new());
        Arc::new(Self { inner, places: Semaphore::new(batches), ended })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, opened: v1::PublishOpened) {
        self.lock().opened = Some(opened);
        self.wake();
    }

    /// Waits until one more batch may be taken in.
    pub(crate) async fn place(&self) {
        if let Ok(place) = self.places.acquire().await {
            place.forget();
        }
    }

    /// The next batch is on its way to the log, or has its result.
    pub(crate) fn expect(&self, result: Option<v1::PublishResult>) {
        let is_ready = result.is_some();
        let mut inner = self.lock();
        if !inner.is_broken_off {
            inner.slots.push_back(result);
        }
        drop(inner);
        if is_ready {
            self.wake();
        }
    }

    /// The result of the first batch that has none. Whether the stream is to be woken for it, and was not yet.
    pub(crate) fn put(&self, result: v1::PublishResult) -> bool {
        let mut inner = self.lock();
        if inner.is_broken_off {
            return false;
        }
        let slot = inner.slots.iter_mut().find(|slot| slot.is_none());
        debug_assert!(slot.is_some(), "E3: a result that nobody waits for");
        if let Some(slot) = slot {
            *slot = Some(result);
        }
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

    /// Nothing more comes; the stream ends when all is answered.
    pub(crate) fn finish(&self) {
        let mut inner = self.lock();
        if let Ending::Open = inner.ending {
            inner.ending = Ending::Finishing;
        }
        drop(inner);
        self.wake();
    }

    /// The stream takes no more batches, and ends so when those that it took are answered.
    pub(crate) fn end(&self, status: Status) {
        let mut inner = self.lock();
        if let Ending::Open | Ending::Finishing = inner.ending {
            inner.ending = Ending::Failing(status);
        }
        drop(inner);
        self.ended.cancel();
        self.wake();
    }

    /// The stream ends so after the results that are there. What becomes of the other batches its client finds
    /// out when it sends them again.
    pub(crate) fn break_off(&self, status: Status) {
        let mut inner = self.lock();
        let answered = inner.slots.iter().take_while(|slot| slot.is_some()).count();
        inner.slots.truncate(answered);
        inner.is_broken_off = true;
        drop(inner);
        self.end(status);
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
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<Result<v1::PublishStreamResponse, Status>>> {
        let mut inner = self.lock();
        if let Some(opened) = inner.opened.take() {
            return respond(Response::Opened(opened));
        }
        let ready = inner.slots.iter().take(RESULTS_MAX).take_while(|slot| slot.is_some()).count();
        if ready > 0 {
            let results = inner.slots.drain(..ready).flatten().collect();
            drop(inner);
            self.places.add_permits(ready);
            return respond(Response::Results(v1::PublishResults { results }));
        }
        if inner.slots.is_empty() {
            match std::mem::take(&mut inner.ending) {
                Ending::Open => {}
                Ending::Finishing | Ending::Over => {
                    inner.ending = Ending::Over;
                    return Poll::Ready(None);
                }
                Ending::Failing(status) => {
                    inner.ending = Ending::Over;
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

fn respond(response: Response) -> Poll<Option<Result<v1::PublishStreamResponse, Status>>> {
    Poll::Ready(Some(Ok(v1::PublishStreamResponse { response: Some(response) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(first_sequence: u64) -> v1::PublishResult {
        v1::PublishResult { first_sequence, outcome: None }
    }

    fn told(results: &ResultBox) -> Option<Vec<u64>> {
        match results.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(v1::PublishStreamResponse { response: Some(Response::Results(results)) }))) => {
                Some(results.results.iter().map(|result| result.first_sequence).collect())
            }
            Poll::Ready(_) => Some(Vec::new()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn results_leave_in_the_order_of_their_batches() {
        let results = ResultBox::new(9);
        results.expect(None);
        results.expect(Some(result(2)));
        results.expect(None);
        assert_eq!(told(&results), None, "E3");
        assert!(results.put(result(1)));
        assert!(!results.put(result(3)), "one wake is enough");
        results.end(Status::unavailable("later"));
        assert_eq!(told(&results), Some(vec![1, 2, 3]), "E3");
        assert_eq!(told(&results), Some(vec![]), "what was taken is answered before the end");
    }
}
