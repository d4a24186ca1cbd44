//! The settings of a client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use roster_core::Label;

use super::{Client, Inner};
use crate::endpoint::{Endpoint, Tcp, Transport};
use crate::error::Error;
use crate::reconnect::BackOff;
use crate::watch::Hubs;

/// What a client is made of. Every setting has a default but the address.
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    endpoints: Vec<String>,
    name: String,
    back_off: BackOff,
    deadline: Duration,
    watch_silence: Duration,
    transport: Arc<dyn Transport>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            name: String::new(),
            back_off: BackOff::default(),
            deadline: Duration::from_secs(5),
            watch_silence: Duration::from_secs(30),
            transport: Arc::new(Tcp),
        }
    }

    /// One more address of a node, such as `http://127.0.0.1:7400`. Several are tried in turn.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// More addresses.
    pub fn endpoints(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endpoints.extend(urls.into_iter().map(Into::into));
        self
    }

    /// Who is calling, for the node's status pages: `"orders 1.4.2"`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long to pause between failed attempts to connect.
    pub fn back_off(mut self, back_off: BackOff) -> Self {
        self.back_off = back_off;
        self
    }

    /// How long a call may take, and an attempt to open a session or a watch stream; 5 s by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a watch stream may be silent before it counts as lost; 30 s by default. Nodes send a
    /// bookmark about every 10 s.
    pub fn watch_silence(mut self, silence: Duration) -> Self {
        self.watch_silence = silence;
        self
    }

    /// Reaches nodes by other means than TCP.
    pub fn transport(self, transport: impl Transport) -> Self {
        self.shared_transport(Arc::new(transport))
    }

    pub(super) fn shared_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// The client; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::NoEndpoint`] or [`Error::InvalidEndpoint`] about the addresses, [`Error::InvalidWord`]
    /// about the name.
    pub fn build(self) -> Result<Client, Error> {
        if self.endpoints.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Label::parse("client", &self.name)?;
        let endpoints = self
            .endpoints
            .iter()
            .map(|url| Endpoint::parse(url, self.deadline, self.transport.clone()))
            .collect::<Result<_, _>>()?;
        let inner = Inner {
            endpoints,
            preferred: AtomicUsize::new(0),
            name: self.name,
            back_off: self.back_off,
            deadline: self.deadline,
            watch_silence: self.watch_silence,
            hubs: Hubs::default(),
        };
        Ok(Client { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("endpoints", &self.endpoints).field("name", &self.name).finish_non_exhaustive()
    }
}
