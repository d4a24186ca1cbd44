//! Consuming: one stream, handlers side by side, and verdicts that survive a loss.
//!
//! ```text
//!            deliveries  ┌───────┐ in bulk ┌─────────┐ steps, requests ┌────────┐
//!  workers ◄──────────── │ board │ ◄────── │ machine │ ──────────────► │ driver │ ◄─► node
//!  workers ────────────► │       │ ──────► │         │ ◄────────────── │        │
//!            verdicts    └───────┘ in bulk └─────────┘ responses, losses└────────┘
//! ```

mod board;
mod delivery;
mod handle;
#[cfg(feature = "bench")]
pub(crate) mod hot_path;
mod machine;
mod seat;
#[cfg(test)]
mod tests;
mod worker;

pub use delivery::{Claim, Delivery, Retry};
pub use handle::{Consumer, ConsumerBuilder, PullConsumer};
pub use machine::ConsumerCounts;
