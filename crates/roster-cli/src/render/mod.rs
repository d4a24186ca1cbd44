//! What the commands print: for people as tables and sentences, for scripts as JSON or plain lines.
//!
//! Each file shows one thing in all three ways, through the trait of `screen`; [`Screen`] knows which is asked for.

mod age;
mod answers;
mod change;
mod checked;
mod copied;
mod delivered;
mod files;
mod grid;
mod instances;
mod kept;
mod logged;
mod logged_queues;
mod measured;
mod paint;
mod passing;
mod queue_answers;
mod queues;
mod scene;
mod screen;
mod services;
mod status;

pub(crate) use answers::{CutoverSet, DrainLine, Rebuilt, Released};
pub(crate) use change::ChangeLine;
pub(crate) use checked::Checks;
pub(crate) use copied::{CopyLine, RestoredLine};
pub(crate) use delivered::Delivered;
pub(crate) use files::{Repaired, Verified};
pub(crate) use instances::{Instances, OneInstance};
pub(crate) use kept::{DeadList, KeptMessages, OneMessage};
pub(crate) use logged::{FactLine, LoggedLine};
pub(crate) use logged_queues::{LoggedQueueLine, QueueFactLine};
pub(crate) use measured::{Figure, Measured, Percentiles};
pub(crate) use paint::{Paint, Tone};
pub(crate) use passing::{Mark, Passing};
pub(crate) use queue_answers::{DeadMoved, Purged, QueueDeleted, QueueSet, Sent};
pub(crate) use queues::{OneQueue, QueueList};
pub(crate) use scene::{Fact, Measure, SceneReport, Summary};
pub(crate) use screen::{Format, Screen};
pub(crate) use services::Services;
pub(crate) use status::Status;
