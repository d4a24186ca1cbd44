//! One command under way: its position and time, and what it has told so far.

use super::effect::Effects;
use crate::words::{Position, Timestamp};

#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) position: Position,
    pub(super) at: Timestamp,
    pub(super) effects: &'a mut Effects,
}
