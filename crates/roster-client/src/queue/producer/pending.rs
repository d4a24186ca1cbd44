//! Those who wait for a receipt, up to a few hundred to a sheet: one allocation and one lock serve them all.
//!
//! A producer has no sheet before its first message, and its first ones are small: most of a thousand producers of
//! a process publish seldom.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use roster_core::queue::{Message, MessageId};

use super::batch::Entry;
use super::machine::{Fate, Report};
use crate::error::Error;
use crate::queue::failure::Failure;

const SHEET_LINES_FIRST: usize = 4;
/// Each sheet is so many times longer than the one before, up to the longest.
const SHEET_GROWTH: usize = 4;
const SHEET_LINES_MAX: usize = 256;

/// That a message is stored: it survives a crash of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The number that the producer gave it.
    pub sequence: u64,
    /// The id in the queue. Unknown when it was stored just before the connection broke: then only that it
    /// is stored is known.
    pub message_id: Option<MessageId>,
}

/// A message that did not get its receipt. It is handed back, to be published again or elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("the message is {}", match fate { Fate::NotStored => "not stored", Fate::Unknown => "not known to be stored" })]
pub struct Unpublished {
    /// As it was to be sent.
    pub message: Message,
    /// Whether it may be stored all the same.
    pub fate: Fate,
    /// Why.
    #[source]
    pub error: Error,
}

/// Resolves when the message is stored. The message is sent whether anybody waits or not.
#[must_use = "a failure is only told here; to `drop` it says that nobody wants to know"]
pub struct Pending {
    line: Line,
    finished: bool,
}

/// Where the answer to one message goes.
pub(super) struct Ticket(Line);

struct Line {
    sheet: Arc<Sheet>,
    index: usize,
}

#[derive(Debug)]
struct Sheet {
    lines: Mutex<Box<[State]>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    Watched(Waker),
    /// Nobody waits.
    Forsaken,
    Stored(Receipt),
    Failed(Box<Lost>),
    Taken,
}

#[derive(Debug)]
struct Lost {
    message: Message,
    fate: Fate,
    failure: Failure,
}

/// Hands out lines.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    sheet: Option<Arc<Sheet>>,
    /// Of the present sheet.
    lines: usize,
    used: usize,
}

impl Sheets {
    pub(super) fn next(&mut self) -> (Ticket, Pending) {
        let sheet = match self.sheet.take() {
            Some(sheet) => sheet,
            None => {
                self.lines = (self.lines * SHEET_GROWTH).clamp(SHEET_LINES_FIRST, SHEET_LINES_MAX);
                self.used = 0;
                Sheet::new(self.lines)
            }
        };
        let index = self.used;
        self.used += 1;
        if self.used < self.lines {
            self.sheet = Some(sheet.clone());
        }
        (Ticket(Line { sheet: sheet.clone(), index }), Pending { line: Line { sheet, index }, finished: false })
    }
}

impl Sheet {
    fn new(lines: usize) -> Arc<Self> {
        let lines = (0..lines).map(|_| State::Open).collect();
        Arc::new(Self { lines: Mutex::new(lines) })
    }

    fn lock(&self) -> MutexGuard<'_, Box<[State]>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers all of these. Returns the messages that failed and for which nobody waits.
pub(super) fn settle(report: Report<Ticket>) -> Option<Message> {
    match report {
        Report::Stored { entries, first, unnamed, id } => {
            settle_stored(&entries, first, unnamed, id);
            None
        }
        Report::Failed { key: Ticket(line), message, failure, fate } => {
            let mut lines = line.sheet.lock();
            let state = &mut lines[line.index];
            if matches!(state, State::Forsaken) {
                return Some(message);
            }
            let lost = Box::new(Lost { message, fate, failure });
            let before = std::mem::replace(state, State::Failed(lost));
            drop(lines);
            if let State::Watched(waker) = before {
                waker.wake();
            }
            None
        }
    }
}

fn settle_stored(entries: &[Entry<Ticket>], first: u64, unnamed: u64, id: MessageId) {
    let mut wakers = Vec::new();
    let numbered = entries.iter().zip(0..).filter_map(|(entry, nth)| Some((entry.key.as_ref()?, nth)));
    let mut numbered = numbered.peekable();
    while let Some((Ticket(line), _)) = numbered.peek() {
        let sheet = line.sheet.clone();
        let mut lines = sheet.lock();
        let of_sheet = |next: &(&Ticket, u64)| Arc::ptr_eq(&next.0.0.sheet, &sheet);
        while let Some((Ticket(line), nth)) = numbered.next_if(of_sheet) {
            let message_id = nth.checked_sub(unnamed).map(|nth| id.plus(nth));
            let state = &mut lines[line.index];
            if matches!(state, State::Forsaken) {
                continue;
            }
            let receipt = Receipt { sequence: first + nth, message_id };
            if let State::Watched(waker) = std::mem::replace(state, State::Stored(receipt)) {
                wakers.push(waker);
            }
        }
        drop(lines);
        wakers.drain(..).for_each(Waker::wake);
    }
}

impl Future for Pending {
    type Output = Result<Receipt, Unpublished>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = {
            let mut lines = self.line.sheet.lock();
            let state = &mut lines[self.line.index];
            match state {
                State::Open => {
                    *state = State::Watched(context.waker().clone());
                    return Poll::Pending;
                }
                State::Watched(waker) => {
                    waker.clone_from(context.waker());
                    return Poll::Pending;
                }
                State::Stored(_) | State::Failed(_) => std::mem::replace(state, State::Taken),
                State::Forsaken | State::Taken => panic!("a receipt is taken once"),
            }
        };
        self.finished = true;
        Poll::Ready(match state {
            State::Stored(receipt) => Ok(receipt),
            State::Failed(lost) => Err((*lost).into()),
            State::Open | State::Watched(_) | State::Forsaken | State::Taken => unreachable!("it was answered"),
        })
    }
}

impl Pending {
    /// Nobody waits any more. Returns what has failed by then; what fails later is among what
    /// [`Producer::abandon`](super::Producer::abandon) returns.
    pub(in crate::queue) fn forsake(mut self) -> Option<Unpublished> {
        match self.leave() {
            State::Failed(lost) => Some(Unpublished::from(*lost)),
            State::Open | State::Watched(_) | State::Forsaken | State::Stored(_) | State::Taken => None,
        }
    }

    fn leave(&mut self) -> State {
        if std::mem::replace(&mut self.finished, true) {
            return State::Taken;
        }
        std::mem::replace(&mut self.line.sheet.lock()[self.line.index], State::Forsaken)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // What it held is dropped without the lock: a waker may do anything.
        drop(self.leave());
    }
}

impl From<Lost> for Unpublished {
    fn from(Lost { message, fate, failure }: Lost) -> Self {
        Self { message, fate, error: failure.error() }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.0.index).finish()
    }
}

impl From<Unpublished> for Error {
    fn from(unpublished: Unpublished) -> Self {
        unpublished.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_out_once_on_sheets_that_grow() {
        let mut sheets = Sheets::default();
        assert!(sheets.sheet.is_none(), "nothing was published");
        let pairs: Vec<_> = (0..2_000).map(|_| sheets.next()).collect();
        let mut lines: Vec<_> = pairs.iter().map(|(Ticket(line), _)| (Arc::as_ptr(&line.sheet), line.index)).collect();
        assert!(pairs.iter().all(|(Ticket(line), pending)| {
            Arc::ptr_eq(&line.sheet, &pending.line.sheet) && line.index == pending.line.index
        }));
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 2_000);
        let lengths = |nth: usize| pairs[nth].0.0.sheet.lock().len();
        assert_eq!([0, 4, 20, 84, 340].map(lengths), [4, 16, 64, 256, 256]);
    }
}
