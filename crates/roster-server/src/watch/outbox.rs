//! What one watch stream has not read yet: bounded, and emptied when the bound is reached.
//!
//! # Always true
//! * **O1, bounded**: an outbox never holds more than its bounds of groups and bytes; beyond them it is
//!   emptied, and the stream gets the whole state again when it reads on.
//! * **O2, nobody waits**: putting something in never blocks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use roster_proto::encoded::{Delivery, WatchResponse};

use super::state_copy::StateCopy;

/// A response is closed when it has grown to this size.
const RESPONSE_BYTES: usize = 256 * 1024;
/// Room for so many parcels stays when all are taken. A stream that begins with many watches gets one for each, and
/// would keep the room for them as long as it lives.
const PARCELS_KEPT: usize = 16;

/// Shared by the director, which fills it, and the stream's task, which empties it.
#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    filled: Notify,
    groups_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    parcels: VecDeque<Parcel>,
    groups: usize,
    bytes: usize,
    standing: Standing,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Standing {
    #[default]
    Open,
    /// Emptied; takes nothing until the stream reads on and the state is put in again.
    Overflowed,
    /// The reader has asked for the state.
    Resyncing,
    Closed,
}

#[derive(Debug)]
pub(crate) enum Parcel {
    /// Events, encoded once for everybody.
    Group { watches: Arc<[u64]>, group: Bytes },
    /// The whole state, encoded piece by piece as it is read.
    State { watches: Arc<[u64]>, copy: Arc<StateCopy>, next: usize },
}

/// What the reader finds.
#[derive(Debug)]
pub(crate) enum Taken {
    Response(WatchResponse),
    /// The outbox was emptied: ask for the state.
    Overflowed,
    Closed,
}

impl Outbox {
    pub(crate) fn new(groups_max: usize, bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), filled: Notify::new(), groups_max, bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a parcel in without waking the reader. Returns whether this made the outbox overflow.
    pub(crate) fn put(&self, parcel: Parcel) -> bool {
        let mut inner = self.lock();
        if inner.standing != Standing::Open {
            return false;
        }
        inner.groups += 1;
        // A copy of the state is shared and encoded as it is read: it weighs no bytes here.
        if let Parcel::Group { group, .. } = &parcel {
            inner.bytes += group.len();
        }
        inner.parcels.push_back(parcel);
        if inner.groups <= self.groups_max && inner.bytes <= self.bytes_max {
            return false;
        }
        inner.empty();
        inner.standing = Standing::Overflowed;
        true
    }

    /// Empties the outbox as if it had overflowed.
    pub(crate) fn overflow(&self) {
        let mut inner = self.lock();
        if inner.standing == Standing::Open {
            inner.empty();
            inner.standing = Standing::Overflowed;
        }
    }

    /// Opens an emptied outbox again, for the state that is put in next.
    pub(crate) fn reopen(&self) {
        let mut inner = self.lock();
        if inner.standing != Standing::Closed {
            inner.standing = Standing::Open;
        }
    }

    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.empty();
        inner.standing = Standing::Closed;
        drop(inner);
        self.filled.notify_one();
    }

    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.parcels.is_empty() && inner.standing == Standing::Open
    }

    /// Waits until there is something to take. Only one task may wait.
    pub(crate) async fn ready(&self) {
        loop {
            {
                let inner = self.lock();
                match inner.standing {
                    Standing::Open if inner.parcels.is_empty() => {}
                    Standing::Resyncing => {}
                    Standing::Open | Standing::Overflowed | Standing::Closed => return,
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes the next response out. Call after [`Self::ready`].
    pub(crate) fn take(&self, epoch: u64) -> Taken {
        let mut inner = self.lock();
        match inner.standing {
            Standing::Closed => return Taken::Closed,
            Standing::Overflowed => {
                inner.standing = Standing::Resyncing;
                return Taken::Overflowed;
            }
            Standing::Open | Standing::Resyncing => {}
        }
        let mut response = WatchResponse { deliveries: Vec::new(), epoch };
        let mut size = 0;
        while size < RESPONSE_BYTES {
            let Some(parcel) = inner.parcels.pop_front() else { break };
            let (watches, group) = match parcel {
                Parcel::Group { watches, group } => {
                    inner.groups -= 1;
                    inner.bytes -= group.len();
                    (watches, group)
                }
                Parcel::State { watches, copy, next } => {
                    // The lock is not held while a piece is encoded: the director must not wait for it.
                    drop(inner);
                    let piece = copy.piece(next);
                    inner = self.lock();
                    if inner.standing != Standing::Open {
                        break;
                    }
                    if next + 1 == copy.pieces() {
                        inner.groups -= 1;
                    } else {
                        inner.parcels.push_front(Parcel::State { watches: watches.clone(), copy, next: next + 1 });
                    }
                    (watches, piece)
                }
            };
            size += group.len() + 8 * watches.len();
            response.deliveries.push(Delivery { watch_ids: watches.to_vec(), group });
        }
        if inner.parcels.is_empty() && inner.parcels.capacity() > PARCELS_KEPT {
            inner.parcels = VecDeque::new();
        }
        Taken::Response(response)
    }
}

impl Inner {
    fn empty(&mut self) {
        self.parcels = VecDeque::new();
        self.groups = 0;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(bytes: usize) -> Parcel {
        Parcel::Group { watches: Arc::from([1]), group: Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn a_full_outbox_is_emptied_and_stays_so_until_it_is_reopened() {
        let outbox = Outbox::new(3, 1_000);
        assert!(!outbox.put(group(1)));
        assert!(!outbox.put(group(1)));
        assert!(!outbox.put(group(1)));
        assert!(outbox.put(group(1)), "O1: the fourth is one too many");
        assert!(!outbox.put(group(1)));
        assert!(matches!(outbox.take(0), Taken::Overflowed));
        outbox.reopen();
        assert!(!outbox.put(group(1)));
        let Taken::Response(response) = outbox.take(0) else { panic!("nothing to read") };
        assert_eq!(response.deliveries.len(), 1);
    }

    #[test]
    fn an_outbox_that_was_read_keeps_little_room() {
        let outbox = Outbox::new(1_000, 1_000);
        let fill = |count| (0..count).for_each(|_| assert!(!outbox.put(group(0))));
        let read = || assert!(matches!(outbox.take(0), Taken::Response(_)));
        fill(500);
        read();
        assert_eq!(outbox.lock().parcels.capacity(), 0);
        fill(1);
        let room = outbox.lock().parcels.capacity();
        read();
        assert_eq!(outbox.lock().parcels.capacity(), room, "what a quiet stream uses again and again");
    }

    #[test]
    fn bytes_count_as_well_as_groups() {
        let outbox = Outbox::new(1_000, 100);
        assert!(!outbox.put(group(100)));
        assert!(outbox.put(group(1)), "O1");
    }

    #[test]
    fn a_closed_outbox_says_so_and_never_blocks_the_director() {
        let outbox = Outbox::new(1, 1);
        outbox.close();
        assert!(!outbox.put(group(10)), "O2");
        assert!(matches!(outbox.take(0), Taken::Closed));
    }
}
