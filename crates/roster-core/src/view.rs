//! What a reader knows of the directory, built from what it is told and nothing else.

use crate::directory::Event;
use crate::words::Position;

/// What a watch is told in one piece: taken in together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The position of the command that it comes from, or of the state that is being sent.
    pub position: Position,
    pub told: Vec<Told>,
}

/// One thing a watch is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The whole state follows as [`Event::Up`] and [`Event::MainChanged`], up to [`Told::Loaded`].
    Reset,
    /// The state is whole as of the group's position.
    Loaded,
    /// Nothing changed up to the group's position.
    Bookmark,
    /// A change, or between `Reset` and `Loaded` a part of the state.
    Event(Event),
}
