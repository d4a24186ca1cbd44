//! The registrar as a process holds it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roster_core::{Grace, limits};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handle::Handle;
use super::machine::{FAREWELL_DEADLINE, Settings};
use super::seats::Session;
use super::state::Connection;
use crate::announcement::Announcement;
use crate::client::Client;
use crate::error::Error;
use crate::stream::{Shared, drive};

/// What a session is opened with.
#[derive(Debug, Clone)]
#[must_use = "a registrar does nothing until it is started"]
pub struct RegistrarBuilder {
    client: Client,
    grace: Grace,
}

impl RegistrarBuilder {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, grace: Grace::default() }
    }

    /// How long the session may be away before the node removes what it registered: 3 s by default,
    /// 300 s at most. Zero removes at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        let millis = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX).min(limits::GRACE_MILLIS_MAX);
        self.grace = Grace::from_millis(millis).unwrap_or_default();
        self
    }

    /// Opens the session as soon as a node answers, and keeps it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Registrar {
        let endpoints = self.client.endpoints();
        let settings = Settings {
            name: self.client.name().to_owned(),
            grace: self.grace,
            endpoints: endpoints.iter().map(|endpoint| endpoint.url().clone()).collect(),
            back_off: self.client.back_off(),
            patience: self.client.deadline(),
        };
        let shared = Arc::new(Shared::new(Session::new(settings)));
        let driver = tokio::spawn(drive(shared.clone(), endpoints));
        Registrar { tenancy: Arc::new(Tenancy { shared }), driver }
    }
}

/// One session at the registry: what it registers lives as long as it does.
///
/// The session ends by goodbye when the registrar and all its handles are dropped, or at
/// [`close`](Self::close). When the process just dies, the node notices at once and waits for the grace.
#[derive(Debug)]
pub struct Registrar {
    tenancy: Arc<Tenancy>,
    driver: JoinHandle<()>,
}

/// Held by the registrar and its handles; the last one says goodbye.
pub(super) struct Tenancy {
    pub(super) shared: Arc<Shared<Session>>,
}

impl Registrar {
    /// Registers, whether a node can be reached or not: the handle tells how it goes.
    ///
    /// A place (service, address, node index) has one handle: announced again, it is taken over
    /// by the newer handle, and the older one ends.
    #[must_use = "dropping the handle deregisters"]
    pub fn register(&self, announcement: Announcement) -> Handle {
        let (key, standing) = self.tenancy.shared.act(|session, _| session.announce(announcement));
        Handle::new(self.tenancy.clone(), key, standing)
    }

    /// The session as it is and becomes.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.tenancy.shared.read(Session::connection)
    }

    /// Says goodbye and waits for the farewell, 3 s at most. All handles end.
    ///
    /// # Errors
    /// [`Error::NoFarewell`] when no node could be told; then the session ends after its grace.
    pub async fn close(self) -> Result<(), Error> {
        self.tenancy.shared.act(Session::leave);
        // The machine ends at its own deadline; this one is for the case that it does not run.
        let ended = tokio::time::timeout(FAREWELL_DEADLINE * 2, self.driver).await;
        let farewell = self.tenancy.shared.read(Session::farewell);
        match (ended, farewell) {
            (Ok(Ok(())), Some(farewell)) => farewell.map_err(|why| Error::NoFarewell { why }),
            (Ok(Err(error)), _) => Err(Error::NoFarewell { why: error.to_string() }),
            (Err(_), _) | (Ok(Ok(())), None) => Err(Error::NoFarewell { why: "the driver did not end".to_owned() }),
        }
    }
}

impl Tenancy {
    /// Whom a call went to, for its error.
    pub(super) fn endpoint(&self) -> String {
        match &*self.shared.read(Session::connection).borrow() {
            Connection::Connected { endpoint, .. } => endpoint.to_string(),
            Connection::Connecting | Connection::Away { .. } | Connection::Ended { .. } => "the registry".to_owned(),
        }
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.shared.act(Session::leave);
    }
}

impl fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenancy").field("connection", &*self.shared.read(Session::connection).borrow()).finish()
    }
}
