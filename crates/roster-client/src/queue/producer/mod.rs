//! Publishing: one stream, batches without being asked, and each message stored once.
//!
//! ```text
//!  publish ─► ┌────────┐ all that gathered ┌─────────┐ steps, batches ┌────────┐
//!  publish ─► │ intake │ ────────────────► │ machine │ ─────────────► │ driver │ ◄─► node
//!  publish ─► └────────┘                   └─────────┘ ◄───────────── └────────┘
//!     ▲                    receipts             │      results, losses
//!     └──────────────────────────────────────────
//! ```
//! What gathers while earlier batches are under way makes the next one. A lone message goes at once.

mod batch;
mod handle;
#[cfg(feature = "bench")]
pub(crate) mod hot_path;
mod intake;
mod machine;
mod pending;
mod seat;
#[cfg(test)]
mod tests;

pub use handle::{Producer, ProducerBuilder};
pub use machine::Fate;
pub use pending::{Pending, Receipt, Unpublished};
