//! The SDK of Roster: be known, and know who serves.
//!
//! ```no_run
//! use std::time::Duration;
//! use roster_client::{Announcement, Client, Selector, WatchEvent};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().endpoint("http://127.0.0.1:7400").name("orders 1.4.2").build()?;
//!
//! // Be known. The registry may be down: the registration is made when it is back.
//! let registrar = client.registrar().grace(Duration::from_secs(5)).start();
//! let handle = registrar.register(Announcement::new("orders", "10.0.0.7", 8080)?.version(3).zone("a"));
//! println!("{:?}", handle.settled().await);
//!
//! // Know who serves. The view stays when the registry goes.
//! let mut watch = client.watch(Selector::parse("orders")?).start();
//! let view = watch.view();
//! println!("{} instances", view.loaded().await?.all().count());
//! if let Some(WatchEvent::Change(change)) = watch.next().await {
//!     println!("{change:?}");
//! }
//!
//! // Leave without a failed call: drain, wait for the watchers, deregister, say goodbye.
//! handle.leave().await?;
//! registrar.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/register_and_watch.rs` shows the same against a node in memory.
//!
//! To call by name there is a [`Cluster`], a client for each instance, a [`Follower`] of a singleton, and
//! for gRPC the module [`tonic`](crate::tonic):
//!
//! ```no_run
//! # async fn example(client: roster_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let orders = roster_client::tonic::channel(&client, "orders")?;
//! // let mut orders = OrdersClient::new(orders);
//! let scheduler = roster_client::tonic::follow(&client, "scheduler")?;
//! println!("the scheduler holds its name by token {:?}", scheduler.token());
//! # drop(orders);
//! # Ok(())
//! # }
//! ```
//! `examples/rolling_singleton.rs` replaces a singleton ten times under load without a failed call.
//!
//! A [`Client`] holds addresses and settings. Its [`Registrar`]s each keep one session, its watches
//! share one stream, and all of it travels over one HTTP/2 connection per node. What is lost is
//! tried again by itself: [`State`], [`Connection`] and [`WatchEvent`] tell how it goes, and every
//! [`Error`] has an [`Advice`].
//!
//! [`queue`] publishes what must not be lost, and works on it.
//!
//! The protocols are pure machines with neither clock, luck nor socket; `stream` has the one driver
//! under all of them. The feature `testing` brings a node in memory for the tests of a service.

mod announcement;
mod client;
mod cluster;
mod endpoint;
mod error;
mod follower;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod hot_paths;
mod log_follower;
mod moment;
pub mod queue;
mod reconnect;
mod registrar;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tonic;
mod watch;

pub use announcement::Announcement;
pub use client::{Builder, CheckOutcome, Client, DrainStream, ServiceSummary};
pub use cluster::{
    Candidate, Cluster, ClusterBuilder, Connect, ConnectError, ConnectFn, LeastInFlight, Link, Member, MemberChanges,
    MemberId, NoneUsable, Picked, Picker, RoundRobin, Standing, Sticky, Weighted, ZoneFirst, connect_fn,
};
pub use endpoint::Transport;
pub use error::Error;
pub use follower::{CallError, Follower, FollowerBuilder};
pub use log_follower::{FollowEvent, LogFollower};
pub use reconnect::BackOff;
pub use registrar::{Connection, DrainProgress, Draining, Handle, Registrar, RegistrarBuilder, State};
pub use roster_core::directory::{Instance, Liveness, OfflineReason, RemovedCause, SuspectReason};
pub use roster_core::queue::QueueName;
pub use roster_core::view::{Change, View};
pub use roster_core::{
    Cutover, InstanceId, InvalidWord, Kind, Position, Registration, Selector, ServiceName, SessionId, Token,
};
pub use roster_proto::convert::Advice;
pub use roster_proto::v1::Refusal;
pub use roster_proto::v1::refusal::Code as RefusalCode;
pub use watch::{LiveView, Watch, WatchBuilder, WatchEvent};
