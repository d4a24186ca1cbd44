//! The state of a selector as it was at one position, encoded piece by piece when first read.
//!
//! Many watchers that arrive at once, as after a restart, share one copy and its encoded pieces.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;
use roster_core::Position;
use roster_core::directory::Event;
use roster_core::view::{Group, Told};
use roster_proto::convert::encode_group;

/// Events of one piece: with facts of 16 KiB each, the most there can be, a piece stays below the 4 MiB
/// that gRPC clients take by default.
const PIECE_EVENTS: usize = 128;

#[derive(Debug)]
pub(crate) struct StateCopy {
    position: Position,
    events: Vec<Event>,
    pieces: Box<[OnceLock<Bytes>]>,
}

impl StateCopy {
    /// `events` are the visible instances of the selector and its services' mains.
    pub(crate) fn new(position: Position, events: Vec<Event>) -> Self {
        let pieces = events.len().div_ceil(PIECE_EVENTS).max(1);
        Self { position, events, pieces: (0..pieces).map(|_| OnceLock::new()).collect() }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// An encoded group: the first begins with `Reset`, the last ends with `Loaded`.
    pub(crate) fn piece(&self, index: usize) -> Bytes {
        let encode = || {
            let from = index * PIECE_EVENTS;
            let to = self.events.len().min(from + PIECE_EVENTS);
            let mut told = Vec::with_capacity(to - from + 2);
            if index == 0 {
                told.push(Told::Reset);
            }
            told.extend(self.events[from..to].iter().cloned().map(Told::Event));
            if index + 1 == self.pieces.len() {
                told.push(Told::Loaded);
            }
            Bytes::from(encode_group(&Group { position: self.position, told }).encode_to_vec())
        };
        self.pieces[index].get_or_init(encode).clone()
    }
}
