//! `roster log verify|inspect|repair`: a log on this machine, looked at without a node.

mod arguments;
mod inspect;
mod repair;
mod verify;

pub(crate) use arguments::{Log, run};
