//! Where messages wait until the driver fetches them: a bounded buffer, and those who wait for room in it.
//!
//! Publishers touch this lock and no other; the driver takes all that gathered at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roster_core::queue::Message;
use tokio::sync::{Notify, watch};

use super::batch::Entry;
use super::pending::{Pending, Sheets, Ticket};
use crate::queue::failure::Failure;

/// How much a producer keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    pub(super) messages: usize,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Intake {
    capacity: Capacity,
    deadline: Option<Duration>,
    buffer: Mutex<Buffer>,
    room: Notify,
    /// Messages that are out again, stored or failed.
    left: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Buffer {
    entries: Vec<Entry<Ticket>>,
    bytes: u64,
    /// What the machine keeps of those that were fetched.
    fetched: (usize, u64),
    taken_in: u64,
    /// Somebody waits for room.
    awaited: bool,
    sheets: Sheets,
    closed: Option<Failure>,
}

/// Why a message was not taken in.
enum Refused {
    Full(Message),
    Closed(Failure),
}

impl Intake {
    pub(super) fn new(capacity: Capacity, deadline: Option<Duration>) -> Self {
        let left = watch::Sender::new(0);
        Self { capacity, deadline, buffer: Mutex::default(), room: Notify::new(), left }
    }

    /// Takes a message in; the flag tells whether the driver has to be woken.
    fn offer(&self, message: Message) -> Result<(Pending, bool), Refused> {
        let due = self.deadline.map(|deadline| now() + deadline);
        let mut buffer = self.lock();
        if let Some(failure) = &buffer.closed {
            return Err(Refused::Closed(failure.clone()));
        }
        let (messages, bytes) = buffer.kept();
        let is_full = messages >= self.capacity.messages || bytes + message.bytes() > self.capacity.bytes;
        if is_full && messages > 0 {
            buffer.awaited = true;
            return Err(Refused::Full(message));
        }
        let (ticket, pending) = buffer.sheets.next();
        let was_empty = buffer.entries.is_empty();
        buffer.bytes += message.bytes();
        buffer.taken_in += 1;
        buffer.entries.push(Entry { message, key: Some(ticket), due });
        Ok((pending, was_empty))
    }

    /// Takes a message in when there is room.
    pub(super) async fn push(&self, mut message: Message) -> Result<(Pending, bool), Failure> {
        loop {
            match self.offer(message) {
                Ok(taken) => return Ok(taken),
                Err(Refused::Closed(failure)) => return Err(failure),
                Err(Refused::Full(back)) => message = back,
            }
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable(); // what is freed from here on is heard of
            match self.offer(message) {
                Ok(taken) => return Ok(taken),
                Err(Refused::Closed(failure)) => return Err(failure),
                Err(Refused::Full(back)) => {
                    message = back;
                    room.await;
                }
            }
        }
    }

    /// Messages that are in and not out.
    pub(super) fn unanswered(&self) -> usize {
        self.lock().kept().0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// When the first one has waited for too long.
    pub(super) fn due(&self) -> Option<Instant> {
        self.deadline?;
        self.lock().entries.first()?.due
    }

    /// All that gathered.
    pub(super) fn fetch(&self) -> Vec<Entry<Ticket>> {
        let mut buffer = self.lock();
        let (messages, bytes) = (buffer.entries.len(), std::mem::take(&mut buffer.bytes));
        buffer.fetched.0 += messages;
        buffer.fetched.1 += bytes;
        // The next ones are likely to be as many.
        let next = Vec::with_capacity(messages.min(self.capacity.messages));
        std::mem::replace(&mut buffer.entries, next)
    }

    /// The machine keeps so much.
    pub(super) fn keeps(&self, kept: (usize, u64)) {
        let (left, awaited) = {
            let mut buffer = self.lock();
            if buffer.fetched == kept {
                return;
            }
            buffer.fetched = kept;
            let left = buffer.taken_in - buffer.kept().0 as u64;
            (left, std::mem::take(&mut buffer.awaited))
        };
        self.left.send_if_modified(|before| std::mem::replace(before, left) != left);
        if awaited {
            self.room.notify_waiters();
        }
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self, failure: Failure) {
        self.lock().closed.get_or_insert(failure);
        self.room.notify_waiters();
    }

    /// Waits until all that was taken in so far is out.
    pub(super) async fn flushed(&self) {
        let taken_in = self.lock().taken_in;
        // The sender lives in `self`, so that this ends with the value only.
        let _ = self.left.subscribe().wait_for(|left| *left >= taken_in).await;
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    fn kept(&self) -> (usize, u64) {
        (self.entries.len() + self.fetched.0, self.bytes + self.fetched.1)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
