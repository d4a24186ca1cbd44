//! The last lines of a producer, for whoever comes.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};

use super::wire::{Batch, Line, Place};

/// Lines that a ring keeps; a further one pushes out the oldest.
const LINES_MAX: usize = 64;

/// The end of a ring at which lines are written. Readers are told the end when it is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    kept: Arc<Mutex<VecDeque<Line>>>,
    latest: watch::Sender<u64>,
}

/// The end of a ring at which lines are read, by any number of readers.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    producer: Arc<str>,
    run: u64,
    kept: Arc<Mutex<VecDeque<Line>>>,
    latest: watch::Receiver<u64>,
}

/// An empty ring. Sequences begin at 1 in each run of a producer, and its start time tells runs apart.
pub(crate) fn ring(producer: &str) -> (Writer, Ring) {
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let (kept, (latest, seen)) = (Arc::<Mutex<VecDeque<Line>>>::default(), watch::channel(0));
    let run = u64::try_from(run).unwrap_or(u64::MAX);
    let ring = Ring { producer: producer.into(), run, kept: kept.clone(), latest: seen };
    (Writer { kept, latest }, ring)
}

impl Writer {
    pub(crate) fn write(&self, text: String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LINES_MAX {
            kept.pop_front();
        }
        let sequence = *self.latest.borrow() + 1;
        kept.push_back(Line { sequence, text });
        drop(kept);
        self.latest.send_replace(sequence);
    }
}

impl Ring {
    pub(crate) fn producer(&self) -> &str {
        &self.producer
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// The sequences that are kept; empty when there are none.
    pub(crate) fn kept(&self) -> RangeInclusive<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = |line: Option<&Line>| line.map(|line| line.sequence);
        sequence(kept.front()).unwrap_or(1)..=sequence(kept.back()).unwrap_or(0)
    }

    /// What is kept after this sequence.
    pub(crate) fn after(&self, after: u64) -> Batch {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = kept.iter().filter(|line| line.sequence > after).cloned().collect();
        Batch { producer: self.producer.to_string(), run: self.run, lines }
    }

    /// Where to go on: at this place if it is of this run, else at the beginning.
    pub(crate) fn resume(&self, place: &Place) -> u64 {
        if place.run == self.run { place.after } else { 0 }
    }

    /// What is kept after this sequence and what is written later, until the writer is gone. The first
    /// batch comes at once, if need be empty.
    pub(crate) fn stream(self, mut after: u64) -> impl Stream<Item = Batch> + Send + 'static {
        WatchStream::new(self.latest.clone()).map(move |_| {
            let batch = self.after(after);
            after = batch.lines.last().map_or(after, |line| line.sequence);
            batch
        })
    }

    /// Waits for a further line; false when there will be none.
    pub(crate) async fn grown(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }
}
