//! Calling by name: one client for each instance of a service, and who gets the next call.
//!
//! ```no_run
//! use roster_client::{Client, Instance, connect_fn};
//! use tokio::net::TcpStream;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().endpoint("http://127.0.0.1:7400").build()?;
//! let connector = connect_fn(|instance: Instance| async move {
//!     let address = &instance.registration.address;
//!     Ok(TcpStream::connect((address.host(), address.port())).await?)
//! });
//! let orders = client.cluster("orders", connector)?.build();
//! let picked = orders.get_or_wait(std::time::Duration::from_secs(5)).await?;
//! println!("{} is called at {}", picked.instance().registration.address, picked.peer_addr()?);
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! Cluster ── get ──► State: view ─► Table ─► front ─► Picker ─► Picked
//!                               ▲      │ orders
//!                       reports │      ▼
//!                              driver (connects, disconnects, asks for checks)
//! ```
//! The [`Table`](table::Table) is a pure machine. `get` takes the newest view in before it picks, under
//! one short lock: what a watcher has acknowledged, its calls already heed.

mod builder;
mod connect;
mod driver;
mod handle;
mod member;
mod picker;
#[cfg(test)]
mod picker_tests;
mod shared;
mod standing;
mod state;
mod table;
#[cfg(test)]
mod table_tests;
mod weighing;

pub use builder::ClusterBuilder;
pub use connect::{Connect, ConnectError, ConnectFn, connect_fn};
pub use handle::{Cluster, MemberChanges, Picked};
pub use member::{Link, Member, MemberId, Standing};
pub use picker::{Candidate, Picker, RoundRobin, Sticky};
pub use standing::NoneUsable;
pub(crate) use state::Scope;
pub use weighing::{LeastInFlight, Weighted, ZoneFirst};
