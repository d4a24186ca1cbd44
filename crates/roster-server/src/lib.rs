//! The node of Roster: owns the log and the directory, and serves every surface.
//!
//! ```text
//! edge (tokio) ──submissions──► writer (thread) ──logged──► director (thread) ──► answers, events
//!        └───────────── queries, watches, pongs ───────────────┘
//! ```
//! The edge decodes and validates; the [`writer`] makes batches durable; the [`director`] applies them
//! to the directory, answers and tells. Nothing is told before it is durable.

mod awake;
mod background;
mod broker;
mod clock;
mod dialer;
mod director;
mod drains;
mod edge;
mod guard;
mod liveness;
mod mail;
mod node;
mod pulse;
mod recovery;
mod session_link;
mod sessions;
mod settings;
mod stamps;
mod submission;
mod watch;
mod writer;

pub use clock::{Entropy, System, WallClock};
pub use dialer::Dialer;
pub use node::{Node, NodeBuilder, NodeError};
pub use settings::{Durability, LimitSection, LogSection, SessionSection, Settings, SettingsError, Span, WatchSection};
