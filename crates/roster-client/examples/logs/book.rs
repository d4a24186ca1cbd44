//! What a collector has got. It outlives the collector, as a file on its disk would.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::ring::Ring;
use super::wire::{Batch, Line, Place};

/// A page for each run of each producer. Clones are the same book.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book(Arc<watch::Sender<BTreeMap<(String, u64), Page>>>);

/// The lines of one run of one producer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) lines: Vec<Line>,
    /// Lines that came again.
    pub(crate) twice: usize,
}

impl Page {
    fn after(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.sequence)
    }

    /// Lines that no ring kept any more when they were asked for.
    pub(crate) fn missed(&self) -> u64 {
        self.after() - self.lines.len() as u64
    }

    /// Whether it has everything that the ring still keeps.
    fn has_all_of(&self, ring: &Ring) -> bool {
        let mut kept = ring.kept();
        kept.all(|sequence| self.lines.binary_search_by_key(&sequence, |line| line.sequence).is_ok())
    }
}

impl Book {
    /// Takes lines in, and tells up to where it has them.
    pub(crate) fn note(&self, batch: Batch) -> Place {
        let mut place = Place { producer: batch.producer.clone(), run: batch.run, after: 0 };
        self.0.send_modify(|pages| {
            let page = pages.entry((batch.producer, batch.run)).or_default();
            for line in batch.lines {
                if line.sequence > page.after() {
                    page.lines.push(line);
                } else {
                    page.twice += 1;
                }
            }
            place.after = page.after();
        });
        place
    }

    /// Up to where it has the latest run of a producer that it knows.
    pub(crate) fn place(&self, producer: &str) -> Place {
        let pages = self.0.borrow();
        let all = (producer.to_owned(), 0)..=(producer.to_owned(), u64::MAX);
        let (run, after) = pages.range(all).next_back().map_or((0, 0), |((_, run), page)| (*run, page.after()));
        Place { producer: producer.to_owned(), run, after }
    }

    /// Waits until it has everything that the ring still keeps.
    pub(crate) async fn has_all_of(&self, ring: &Ring) {
        let of = (ring.producer().to_owned(), ring.run());
        let mut pages = self.0.subscribe();
        let all = |pages: &BTreeMap<_, Page>| pages.get(&of).cloned().unwrap_or_default().has_all_of(ring);
        // The sender is held by this book.
        let _ = pages.wait_for(all).await;
    }

    /// By producer, then by run.
    pub(crate) fn pages(&self) -> Vec<((String, u64), Page)> {
        self.0.borrow().clone().into_iter().collect()
    }
}
