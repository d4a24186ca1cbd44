//! gRPC by name, for clients and servers made with tonic.
//!
//! ```no_run
//! use std::time::Duration;
//! use roster_client::Client;
//! use tonic::service::Routes;
//!
//! # async fn example(routes: Routes) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().endpoint("http://127.0.0.1:7400").build()?;
//!
//! // Serve: listen, register, and at the end drain, finish the calls under way and say goodbye.
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! let served = roster_client::tonic::serve_registered(&client, "orders", routes)
//!     .listen("0.0.0.0:8080")
//!     .announce(|orders| orders.version(3).zone("a"))
//!     .serve(stop);
//! # drop(served);
//!
//! // Call: one channel, as balanced as the picker, for any generated client.
//! let orders = roster_client::tonic::channel(&client, "orders")?;
//! // let mut orders = OrdersClient::new(orders);
//!
//! // Call a singleton: the channel leads to its main, wherever that goes.
//! let scheduler = roster_client::tonic::follow(&client, "scheduler")?;
//! # drop((orders, scheduler));
//! # Ok(())
//! # }
//! ```
//!
//! A connection is one HTTP/2 connection and is not made again in secret, as that of a
//! `tonic::transport::Channel` is: when it ends, the member is not usable until there is a new one.

mod channel;
mod discover;
mod line;
mod serving;
mod span;

pub use channel::{Channel, channel, follow};
pub use discover::{Discover, discover};
pub use line::{Line, Lines};
pub use serving::{Ending, ServeBuilder, ServeError, Serving, serve_registered};
