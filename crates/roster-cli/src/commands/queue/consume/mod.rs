//! `roster queue consume`: messages to standard output, or to a command each.

mod arguments;
mod commanded;
mod printed;
mod takings;

pub(super) use arguments::{Consume, run};
