//! The state of a selector as it was at one position, encoded piece by piece when first read.
//!
//! Many watchers that arrive at once, as after a restart, share one copy and its encoded pieces.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;
use roster_core::Position;
use roster_core::directory::Event;
use roster_core::view::{Group, Told};
use roster_proto::convert::{encode_group, put_events};

/// Events of one piece: with facts of 16 KiB each, the most there can be, a piece stays below the 4 MiB
/// that gRPC clients take by default.
const PIECE_EVENTS: usize = 128;
/// What an event of a state takes as bytes, about.
const EVENT_BYTES_USUAL: usize = 96;

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
            let mut bytes = Vec::with_capacity((to - from) * EVENT_BYTES_USUAL);
            // Encoded messages of one type merge by standing one behind the other.
            let mark = |told, bytes: &mut Vec<u8>| {
                bytes.extend(encode_group(&Group { position: self.position, told: vec![told] }).encode_to_vec());
            };
            if index == 0 {
                mark(Told::Reset, &mut bytes);
            }
            put_events(self.position, &self.events[from..to], &mut bytes);
            if index + 1 == self.pieces.len() {
                mark(Told::Loaded, &mut bytes);
            }
            bytes.shrink_to_fit();
            Bytes::from(bytes)
        };
        self.pieces[index].get_or_init(encode).clone()
    }
}
