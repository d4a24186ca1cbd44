//! How a caller makes its clients.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;

use roster_core::directory::Instance;

/// Why a client could not be made; shown to whoever finds none usable.
pub type ConnectError = Box<dyn std::error::Error + Send + Sync>;

/// Makes, watches and ends the clients of a cluster: one for each instance.
///
/// A client is anything with a lifetime: a connection, a producer, a stream that is being consumed.
pub trait Connect: Send + Sync + 'static {
    /// What calls are made with.
    type Client: Send + Sync + 'static;

    /// Makes the client of an instance. Only when this has succeeded is the instance usable; until
    /// then it is tried again, with growing pauses, as long as the instance is listed. An attempt that
    /// takes longer than the cluster's deadline is dropped.
    fn connect(&self, instance: &Instance) -> impl Future<Output = Result<Self::Client, ConnectError>> + Send;

    /// Whether the client is known to be of no use any more. Asked at each `get`, so it must be cheap.
    fn is_closed(&self, client: &Self::Client) -> bool {
        let _ = client;
        false
    }

    /// Waits until the client is of no use any more, and says why. By default for ever: then only
    /// [`is_closed`](Self::is_closed) and [`report_broken`](super::Cluster::report_broken) tell.
    fn closed(&self, client: &Self::Client) -> impl Future<Output = String> + Send {
        let _ = client;
        pending()
    }

    /// The instance has left, or its client is closed: ends the client. Calls under way may still hold
    /// it. By default it is dropped when the last of them does.
    fn disconnect(&self, instance: &Instance, client: Arc<Self::Client>) -> impl Future<Output = ()> + Send {
        let _ = instance;
        async move { drop(client) }
    }
}

/// A [`Connect`] made of a function; see [`connect_fn`].
#[derive(Clone)]
pub struct ConnectFn<F>(F);

impl<F> fmt::Debug for ConnectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFn").finish_non_exhaustive()
    }
}

/// A connector that makes each client by this function and drops it at the end.
pub fn connect_fn<F, Making, T>(make: F) -> ConnectFn<F>
where
    F: Fn(Instance) -> Making + Send + Sync + 'static,
    Making: Future<Output = Result<T, ConnectError>> + Send,
    T: Send + Sync + 'static,
{
    ConnectFn(make)
}

impl<F, Making, T> Connect for ConnectFn<F>
where
    F: Fn(Instance) -> Making + Send + Sync + 'static,
    Making: Future<Output = Result<T, ConnectError>> + Send,
    T: Send + Sync + 'static,
{
    type Client = T;

    fn connect(&self, instance: &Instance) -> impl Future<Output = Result<T, ConnectError>> + Send {
        (self.0)(instance.clone())
    }
}
