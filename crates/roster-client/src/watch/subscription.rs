//! One watch as the machine keeps it.

use roster_core::view::{Change, Group, View};
use roster_core::{Position, Selector};

/// The name of a watch on the wire; never given out twice by one hub.
pub(super) type WatchId = u64;

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) selector: Selector,
    pub(super) view: View,
    /// The run of a node in which the position of the view means something.
    pub(super) epoch: Option<u64>,
    /// The node has been asked, on the present stream.
    pub(super) asked: bool,
    /// Refusals in a row.
    pub(super) refusals: u32,
    /// What the reader has not been told.
    pub(super) untold: Vec<Change>,
}

impl Subscription {
    pub(super) fn new(selector: Selector) -> Self {
        Self { selector, view: View::new(), epoch: None, asked: false, refusals: 0, untold: Vec::new() }
    }

    /// Takes a group in, whole.
    pub(super) fn take_in(&mut self, epoch: u64, group: Group) {
        self.refusals = 0;
        self.untold.extend(self.view.take_in(group));
        // During a reset the view stays where it was, in the epoch that it was in.
        if !self.view.is_resetting() {
            self.epoch = Some(epoch);
        }
    }

    /// Where to go on, if the state was ever whole.
    pub(super) fn resume(&self) -> Option<(u64, Position)> {
        self.epoch.filter(|_| self.view.is_loaded()).map(|epoch| (epoch, self.view.position()))
    }
}
