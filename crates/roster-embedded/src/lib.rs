//! Roster inside one process: the same node and the same SDK, with pipes instead of sockets.
//!
//! ```no_run
//! use roster_client::{Announcement, Selector};
//! use roster_embedded::Embedded;
//! use roster_server::Settings;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let roster = Embedded::start(Settings { data_dir: "roster-data".into(), ..Settings::default() }).await?;
//! let client = roster.client().name("orders 1.4.2").build()?;
//! let registrar = client.registrar().start();
//! registrar.register(Announcement::new("orders", "10.0.0.7", 8080)?);
//! let mut watch = client.watch(Selector::parse("orders")?).start();
//! # let _ = watch.next().await;
//! registrar.close().await?;
//! roster.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a client can do over the network it can do here, with the same types: sessions,
//! watches, queues, unary calls. What is acknowledged is as durable as the settings say.

use std::io;

use hyper_util::rt::TokioIo;
use roster_client::{Builder, Client, Transport};
use roster_server::{Dialer, Node, NodeBuilder, NodeError, Settings};
use tonic::transport::{Channel, Endpoint, Uri};

/// Where the clients of an embedded node say that it is; the name of a place that is never looked up.
pub const ENDPOINT: &str = "http://embedded:1";

/// A node of this process, without a socket.
#[derive(Debug)]
pub struct Embedded {
    node: Node,
}

impl Embedded {
    /// Opens the logs, restores the state and serves this process. Settings about listening mean nothing here.
    ///
    /// # Errors
    /// [`NodeError`]; nothing was changed then.
    pub async fn start(settings: Settings) -> Result<Self, NodeError> {
        Self::of(NodeBuilder::new(settings)).await
    }

    /// The same with components of the caller's.
    ///
    /// # Errors
    /// [`NodeError`]; nothing was changed then.
    pub async fn of(builder: NodeBuilder) -> Result<Self, NodeError> {
        Ok(Self { node: builder.start_inside().await? })
    }

    /// A client of this node, to be named and built.
    pub fn client(&self) -> Builder {
        Client::builder().endpoint(ENDPOINT).transport(self.transport())
    }

    /// The way to this node, for whoever puts something between it and its clients.
    pub fn transport(&self) -> Inside {
        Inside(self.node.dialer())
    }

    /// Waits until the node cannot go on.
    pub async fn failed(&mut self) -> NodeError {
        self.node.failed().await
    }

    /// Stops in order: streams are told, what was submitted is logged and answered, the logs are closed.
    ///
    /// # Errors
    /// When a log failed, before or meanwhile.
    pub async fn shutdown(self) -> Result<(), NodeError> {
        self.node.shutdown().await
    }
}

/// Reaches the node of this process by its [`Dialer`], whatever the address.
#[derive(Debug, Clone)]
pub struct Inside(pub Dialer);

impl Transport for Inside {
    fn channel(&self, endpoint: &Endpoint) -> Channel {
        let dialer = self.0.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let dialer = dialer.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(dialer.dial().await?)) }
        }))
    }
}
