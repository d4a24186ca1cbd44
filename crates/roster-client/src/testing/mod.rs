//! A node in memory, for the tests of a service that uses this SDK.
//!
//! The rules are the real ones: it is made of the core's machines, behind a real gRPC server.
//! What it lacks is a disk, limits at the edge, probes, and time to have its bugs found: test against
//! a real node too. Its time is tokio's, so tests may stop the clock.
//!
//! ```
//! use roster_client::testing::FakeNode;
//! use roster_client::{Announcement, State};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = FakeNode::in_memory();
//! let client = node.client_builder().build()?;
//! let registrar = client.registrar().start();
//! let handle = registrar.register(Announcement::new("orders", "10.0.0.7", 8080)?);
//! assert!(matches!(handle.settled().await, State::Active { .. }));
//! # Ok(())
//! # }
//! ```

mod conversation;
mod counter;
mod depot;
mod ledger;
mod network;
mod node;
mod surface;
mod watchers;

pub use network::InMemory;
pub use node::FakeNode;
