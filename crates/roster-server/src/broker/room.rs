//! How much room a queue has, so that a publisher waits for it before its batch is logged and not after it
//! was refused.
//!
//! # Always true
//! * **E1, no more than fits**: what is kept and what is on its way through the log never exceed the limits of
//!   the queue together, unless the limits were lowered meanwhile. So a full queue refuses nothing that was logged.
//! * **E2, first come**: who waits longest for room is let in first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roster_core::queue::{Queue, QueueName, Refusal};
use tokio::sync::oneshot;

use crate::edge::Crowd;

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Load {
    fn plus(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }

    fn fits(self, max: Self) -> bool {
        (self.messages <= max.messages) && (self.bytes <= max.bytes)
    }
}

/// Shared by the broker, which says what is kept, and by those who publish.
#[derive(Debug)]
pub(crate) struct Room {
    queue: QueueName,
    inner: Mutex<Inner>,
    /// What its publishers have waiting, in memory.
    pub(crate) crowd: Arc<Crowd>,
}

#[derive(Debug, Default)]
struct Inner {
    kept: Load,
    dead: Load,
    /// On its way through the log.
    reserved: Load,
    max: Load,
    message_bytes_max: u32,
    waiters: VecDeque<(Load, oneshot::Sender<Reservation>)>,
    /// The queue is no more.
    closed: bool,
}

/// Room for one batch; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    room: Arc<Room>,
    load: Load,
}

/// Why there is no room.
#[derive(Debug)]
pub(crate) enum NoRoom {
    Full(Refusal),
    /// It is more than the queue may keep at all.
    Never,
    /// The queue was deleted.
    Closed,
}

impl Room {
    pub(crate) fn new(queue: QueueName) -> Arc<Self> {
        Arc::new(Self { queue, inner: Mutex::default(), crowd: Arc::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest message that the queue takes.
    pub(crate) fn message_bytes_max(&self) -> u32 {
        self.lock().message_bytes_max
    }

    /// What the queue keeps, and may keep.
    pub(crate) fn look_at(self: &Arc<Self>, queue: &Queue) {
        let (counts, settings) = (queue.counts(), queue.settings());
        let mut inner = self.lock();
        inner.kept = Load { messages: counts.waiting + counts.failed + counts.dead, bytes: counts.bytes };
        inner.dead = Load { messages: counts.dead, bytes: queue.dead_bytes() };
        inner.max = Load { messages: settings.waiting_max, bytes: settings.waiting_bytes_max };
        inner.message_bytes_max = settings.message_bytes_max;
        self.admit(inner);
    }

    /// Nobody waits for it any more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiters.clear();
    }

    /// Room now, or why there is none.
    pub(crate) fn try_reserve(self: &Arc<Self>, load: Load) -> Result<Reservation, NoRoom> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(NoRoom::Closed);
        }
        if load != Load::default() && !load.fits(inner.max) {
            return Err(NoRoom::Never);
        }
        if load != Load::default() && (!inner.waiters.is_empty() || !inner.has_room(load)) {
            return Err(NoRoom::Full(inner.full(&self.queue, load)));
        }
        Ok(inner.reserve(self, load))
    }

    /// Waits for room.
    ///
    /// # Errors
    /// When the queue will never have it: it was deleted, or this is more than it may keep.
    pub(crate) async fn reserve(self: &Arc<Self>, load: Load) -> Result<Reservation, NoRoom> {
        loop {
            let admitted = {
                let mut inner = self.lock();
                if inner.closed {
                    return Err(NoRoom::Closed);
                }
                if load == Load::default() || (inner.waiters.is_empty() && inner.has_room(load)) {
                    return Ok(inner.reserve(self, load));
                }
                if !load.fits(inner.max) {
                    return Err(NoRoom::Never);
                }
                let (admit, admitted) = oneshot::channel();
                inner.waiters.push_back((load, admit));
                admitted
            };
            if let Ok(reservation) = admitted.await {
                return Ok(reservation);
            }
        }
    }

    /// Lets in who waits, as far as there is room.
    fn admit(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let mut admitted = Vec::new();
        while let Some(&(load, ref admit)) = inner.waiters.front() {
            let gives_up = admit.is_closed() || !load.fits(inner.max);
            if !gives_up && !inner.has_room(load) {
                break;
            }
            let Some((load, admit)) = inner.waiters.pop_front() else { break };
            if !gives_up {
                admitted.push((admit, inner.reserve(self, load)));
            }
        }
        // Who is gone meanwhile gives its room back, which takes the lock.
        drop(inner);
        for (admit, reservation) in admitted {
            drop(admit.send(reservation));
        }
    }
}

impl Inner {
    fn has_room(&self, load: Load) -> bool {
        self.kept.plus(self.reserved).plus(load).fits(self.max)
    }

    fn reserve(&mut self, room: &Arc<Room>, load: Load) -> Reservation {
        debug_assert!(load == Load::default() || self.has_room(load), "E1: {load:?} does not fit");
        self.reserved = self.reserved.plus(load);
        Reservation { room: Arc::clone(room), load }
    }

    /// What is on its way counts as kept: for the caller it is no less in the way.
    fn full(&self, queue: &QueueName, load: Load) -> Refusal {
        let there = self.kept.plus(self.reserved);
        let queue = queue.clone();
        if there.messages + load.messages > self.max.messages {
            let (kept, dead, max) = (there.messages, self.dead.messages, self.max.messages);
            Refusal::QueueFull { queue, unit: "messages", kept, dead, max }
        } else {
            let (kept, dead, max) = (there.bytes, self.dead.bytes, self.max.bytes);
            Refusal::QueueFull { queue, unit: "bytes", kept, dead, max }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.load == Load::default() {
            return;
        }
        let mut inner = self.room.lock();
        inner.reserved.messages -= self.load.messages;
        inner.reserved.bytes -= self.load.bytes;
        self.room.admit(inner);
    }
}

#[cfg(test)]
mod tests {
    use roster_core::Timestamp;
    use roster_core::queue::{Command, Effects, Queues, Settings};

    use super::*;

    fn room(waiting_max: u64) -> Arc<Room> {
        let name = QueueName::parse("jobs").unwrap();
        let mut queues = Queues::new();
        let settings = Settings { waiting_max, ..Settings::default() };
        let create = Command::CreateQueue { queue: name.clone(), settings };
        queues.apply(Timestamp::new(0), create, &mut Effects::default());
        let room = Room::new(name.clone());
        room.look_at(queues.queue(&name).unwrap());
        room
    }

    fn messages(messages: u64) -> Load {
        Load { messages, bytes: messages }
    }

    #[tokio::test]
    async fn who_waits_longest_is_let_in_first_and_nobody_before() {
        let room = room(10);
        let held = room.try_reserve(messages(8)).unwrap();
        let first = tokio::spawn({
            let room = room.clone();
            async move { room.reserve(messages(5)).await.unwrap() }
        });
        while room.lock().waiters.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(room.try_reserve(messages(1)), Err(NoRoom::Full(_))), "E2: it came later");
        drop(held);
        let first = first.await.unwrap();
        assert!(matches!(room.try_reserve(messages(6)), Err(NoRoom::Full(_))), "E1");
        drop(first);
        assert!(room.try_reserve(messages(10)).is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_more_than_there_can_be_is_told_and_so_is_who_waits_for_a_deleted_queue() {
        let room = room(10);
        assert!(matches!(room.reserve(messages(11)).await, Err(NoRoom::Never)));
        let held = room.try_reserve(messages(10)).unwrap();
        let waiting = tokio::spawn({
            let room = room.clone();
            async move { room.reserve(messages(1)).await.map(drop) }
        });
        while room.lock().waiters.is_empty() {
            tokio::task::yield_now().await;
        }
        room.close();
        assert!(matches!(waiting.await.unwrap(), Err(NoRoom::Closed)));
        drop(held);
    }

    #[tokio::test]
    async fn who_gave_up_waiting_holds_nobody_up() {
        let room = room(10);
        let held = room.try_reserve(messages(10)).unwrap();
        let gone = room.reserve(messages(10));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, gone).await.is_err());
        drop(held);
        assert!(room.try_reserve(messages(10)).is_ok());
        assert_eq!(room.lock().reserved, Load::default());
    }
}
