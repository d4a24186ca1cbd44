//! The state of a watch, for any number of readers.

use std::sync::Arc;
use std::time::Duration;

use roster_core::view::View;

use super::reader::Place;
use super::seat::Outcome;
use crate::error::Error;
use crate::moment::Moment;

/// The last state that is known, kept up to date as long as a node can be reached, and kept when none
/// can. Cheap to clone and to ask; keeps its watch going.
#[derive(Debug, Clone)]
pub struct LiveView {
    place: Arc<Place>,
}

impl LiveView {
    pub(super) fn new(place: Arc<Place>) -> Self {
        Self { place }
    }

    /// The state as of now. What is returned does not change any more.
    #[must_use]
    pub fn current(&self) -> Arc<View> {
        self.place.seat.view.load_full()
    }

    /// How long ago the node last said a word, which while it can be reached is never more than some
    /// seconds; `None` before the first.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.place.seat.freshness.age(Moment::take().now)
    }

    /// Whether a whole state was ever taken in.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.current().is_loaded()
    }

    /// Waits for the first whole state and gives it. As long as no node can be reached, this waits;
    /// put a time limit around it if needed.
    ///
    /// # Errors
    /// [`Error::Refused`] when the node refuses the watch for good.
    pub async fn loaded(&self) -> Result<Arc<View>, Error> {
        match self.place.seat.load.settled().await {
            Outcome::Whole => Ok(self.current()),
            Outcome::Refused(refusal) => {
                let endpoint = "the registry".to_owned();
                Err(Error::Refused { call: "watch", endpoint, refusal: Box::new(Arc::unwrap_or_clone(refusal)) })
            }
        }
    }
}
