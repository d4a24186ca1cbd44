//! Turns of the edge: how many long pieces of work may want its threads at a time.
//!
//! A thread of the edge takes up what is ready in the order in which it became ready. When sixty sessions have a message
//! of a thousand operations each to parse, whoever becomes ready next waits for all of them, once for each step of its
//! way: a sign of life has five. So whoever has much to parse waits for a turn first, where it stands in nobody's way.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// What has no more than so many parts needs no turn.
const SHORT: usize = 64;

/// As many as there are threads to take them.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(threads)))
    }

    /// Whether work of so many parts needs a turn.
    pub(crate) fn is_long(parts: usize) -> bool {
        parts > SHORT
    }

    /// A turn; who waits longest is next. It ends when it is dropped.
    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_turn_is_waited_for_until_another_ends() {
        let turns = Turns(Arc::new(Semaphore::new(1)));
        let Poll::Ready(Some(turn)) = poll(turns.take()) else { panic!("nobody else has it") };
        assert!(poll(turns.take()).is_pending());
        drop(turn);
        assert!(poll(turns.take()).is_ready());
    }
}
