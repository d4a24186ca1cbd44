//! What a watch has to tell and nobody has read yet: bounded.
//!
//! # Always true
//! * **Q1, bounded**: never more than its capacity; when more comes, all of it is forgotten, and the
//!   reader is told once to look at the view, which has everything.
//! * **Q2, the view is ahead**: whoever reads an event finds at least that state in the view.
//!
//! A queue that was read empty keeps no memory: one that told a whole state would keep the room for it, as long
//! as it is watched (docs/performance.md).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roster_core::view::Change;
use roster_proto::v1::Refusal;
use tokio::sync::Notify;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// Something became different, or the state is whole.
    Change(Change),
    /// More changed than was read in time, and is not told one by one: take the state from the view.
    /// What follows is in the view already.
    Resynchronise,
    /// The node takes the watch. What it knows better follows.
    Connected { endpoint: Arc<str> },
    /// The node is lost, or was never found; the view stays as it is, and ages. Told once, until
    /// it is connected again.
    Disconnected { why: String },
    /// The node refuses the watch. When the refusal's advice is to retry, that is done in the
    /// background; otherwise nothing follows.
    Refused(Refusal),
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug)]
struct State {
    events: VecDeque<WatchEvent>,
    capacity: usize,
    /// Too much came.
    overflowed: bool,
    /// Nothing more comes.
    closed: bool,
    /// Nobody reads any more.
    abandoned: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let (overflowed, closed, abandoned) = (false, false, false);
        let state = State { events: VecDeque::new(), capacity, overflowed, closed, abandoned };
        Self { state: Mutex::new(state), filled: Notify::new() }
    }

    /// To be called after the view was published (Q2).
    pub(super) fn push(&self, event: WatchEvent) {
        let mut state = self.lock();
        if state.abandoned || state.closed {
            return;
        }
        if state.events.len() >= state.capacity {
            state.events = VecDeque::new(); // Q1
            state.overflowed = true;
        } else {
            state.events.push_back(event);
        }
        self.filled.notify_one();
    }

    /// Nothing more comes; what is there can still be read.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Nobody reads any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.events = VecDeque::new();
    }

    /// The next event, or `None` when nothing more comes. For one reader.
    pub(super) async fn pop(&self) -> Option<WatchEvent> {
        loop {
            {
                let mut state = self.lock();
                if std::mem::take(&mut state.overflowed) {
                    return Some(WatchEvent::Resynchronise);
                }
                if let Some(event) = state.events.pop_front() {
                    if state.events.is_empty() {
                        state.events = VecDeque::new();
                    }
                    return Some(event);
                }
                if state.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use roster_core::Position;

    use super::*;

    fn loaded(position: u64) -> WatchEvent {
        WatchEvent::Change(Change::Loaded { position: Position::new(position) })
    }

    #[tokio::test]
    async fn q1_an_overflow_collapses_to_one_word() {
        let queue = Queue::new(2);
        (1..=3).for_each(|position| queue.push(loaded(position)));
        queue.push(loaded(4));
        queue.close();
        assert_eq!(queue.pop().await, Some(WatchEvent::Resynchronise));
        assert_eq!(queue.pop().await, Some(loaded(4)));
        assert_eq!(queue.pop().await, None);
    }

    #[tokio::test]
    async fn a_queue_that_was_read_keeps_no_memory() {
        let queue = Queue::new(100);
        (1..=50).for_each(|position| queue.push(loaded(position)));
        for position in 1..=50 {
            assert_eq!(queue.pop().await, Some(loaded(position)));
        }
        assert_eq!(queue.lock().events.capacity(), 0);
    }

    #[tokio::test]
    async fn an_abandoned_queue_keeps_nothing() {
        let queue = Queue::new(2);
        queue.push(loaded(1));
        queue.abandon();
        queue.push(loaded(2));
        assert!(queue.lock().events.is_empty());
    }
}
