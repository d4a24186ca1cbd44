//! Knowing who serves: any number of watches over one stream, each with a view that outlives it.
//!
//! ```text
//! Watch ──── events ◄── Queue ┐                ┌─────────┐ ◄─ steps ── ┌────────┐
//!                             ├─ Seat ◄─ Hub ─ │ Machine │             │ driver │ ◄─► node
//! LiveView ─ state ◄─ ArcSwap ┘                └─────────┘ ─ input ──► └────────┘
//! ```

#[cfg(feature = "bench")]
pub(crate) mod hot_path;
mod hub;
mod live;
mod machine;
mod queue;
mod reader;
mod seat;
mod subscription;
#[cfg(test)]
mod tests;

pub(crate) use hub::Hubs;
pub use live::LiveView;
pub use queue::WatchEvent;
pub use reader::{Watch, WatchBuilder};
