//! A gRPC server that is known by name as long as it serves.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use roster_core::directory::OfflineReason;
use roster_core::{InvalidWord, ServiceName};
use roster_proto::convert::Advice;
use roster_proto::v1::Refusal;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::announcement::Announcement;
use crate::client::Client;
use crate::registrar::{Handle, Registrar, State};

/// How long it goes on after it is deregistered.
const LINGER_DEFAULT: Duration = Duration::from_millis(250);
/// How long calls under way may take after that.
const CALLS_DEADLINE_DEFAULT: Duration = Duration::from_secs(30);

type Announce = Box<dyn FnOnce(Announcement) -> Announcement + Send>;

/// A server of these routes under this name, to be completed and started.
pub fn serve_registered(client: &Client, service: &str, routes: Routes) -> ServeBuilder {
    ServeBuilder {
        client: client.clone(),
        service: service.to_owned(),
        routes,
        server: Server::builder(),
        listen: "127.0.0.1:0".to_owned(),
        host: None,
        port: None,
        announce: Box::new(|announcement| announcement),
        grace: None,
        linger: LINGER_DEFAULT,
        calls_deadline: CALLS_DEADLINE_DEFAULT,
    }
}

/// What a registered server is made of.
#[must_use = "a builder does nothing until it starts"]
pub struct ServeBuilder {
    client: Client,
    service: String,
    routes: Routes,
    server: Server,
    listen: String,
    host: Option<String>,
    port: Option<u16>,
    announce: Announce,
    grace: Option<Duration>,
    linger: Duration,
    calls_deadline: Duration,
}

impl std::fmt::Debug for ServeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeBuilder")
            .field("service", &self.service)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Why a registered server does not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The name of the service, or what it announces, is not valid.
    #[error(transparent)]
    InvalidWord(#[from] InvalidWord),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen { listen: String, source: io::Error },
    /// It listens on every address, and which of them others can reach was not found out.
    #[error("cannot find out at which address others reach this host; name one by advertise_host")]
    NoHost { source: io::Error },
    /// The node does not take the registration, and will not later.
    #[error("the registration of {service} is refused: {}", refusal.message)]
    Refused { service: ServiceName, refusal: Box<Refusal> },
    /// The server failed.
    #[error("the server has failed")]
    Server { source: Box<dyn std::error::Error + Send + Sync> },
}

/// Why a registered server has ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to.
    Shutdown,
    /// The node told it to leave.
    Offline(OfflineReason),
}

impl ServeBuilder {
    /// Where to listen: an address and a port, 0 for any that is free. `127.0.0.1:0` by default.
    pub fn listen(mut self, listen: impl Into<String>) -> Self {
        self.listen = listen.into();
        self
    }

    /// The host under which others reach it. By default that which it listens on; when it listens on
    /// every address, that by which this host reaches the registry.
    pub fn advertise_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The port under which others reach it; by default that which it listens on.
    pub fn advertise_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Completes what is announced: version, kind, zone, hand-over and so on.
    pub fn announce(mut self, announce: impl FnOnce(Announcement) -> Announcement + Send + 'static) -> Self {
        self.announce = Box::new(announce);
        self
    }

    /// The grace of its session; see [`RegistrarBuilder::grace`](crate::RegistrarBuilder::grace).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// The settings of the gRPC server.
    pub fn server(mut self, server: Server) -> Self {
        self.server = server;
        self
    }

    /// How long it takes further calls after it is deregistered, 250 ms by default: those that chose it
    /// just before they were told that it has left, and of a singleton those that came during the
    /// hand-over.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long calls under way may take at the end, 30 s by default; then they are cut.
    pub fn calls_deadline(mut self, deadline: Duration) -> Self {
        self.calls_deadline = deadline;
        self
    }

    /// Listens, serves, and then registers. Returns when it serves; the registration goes on in the
    /// background and stands in [`Serving::state`].
    ///
    /// # Errors
    /// [`ServeError::InvalidWord`], [`ServeError::Listen`] and [`ServeError::NoHost`]; nothing was
    /// registered then.
    pub async fn start(self) -> Result<Serving, ServeError> {
        let service = ServiceName::parse(&self.service)?;
        let cannot = |source| ServeError::Listen { listen: self.listen.clone(), source };
        let listener = TcpListener::bind(&self.listen).await.map_err(cannot)?;
        let local = listener.local_addr().map_err(cannot)?;
        let host = match self.host {
            Some(host) => host,
            None => detect(&self.client, local).await.map_err(|source| ServeError::NoHost { source })?.to_string(),
        };
        let announcement = Announcement::new(service.as_str(), &host, self.port.unwrap_or(local.port()))?;
        let announcement = (self.announce)(announcement);
        announcement.check()?;

        let (stop, stopped) = oneshot::channel::<()>();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let mut server = self.server;
        let serving = server.add_routes(self.routes).serve_with_incoming_shutdown(incoming, async {
            // An error means that whoever would stop it is gone, which is a stop, too.
            let _ = stopped.await;
        });
        let server = tokio::spawn(serving);

        let mut registrar = self.client.registrar();
        if let Some(grace) = self.grace {
            registrar = registrar.grace(grace);
        }
        let registrar = registrar.start();
        let handle = registrar.register(announcement);
        let (linger, calls_deadline) = (self.linger, self.calls_deadline);
        Ok(Serving { service, local, registrar, handle, stop, server, linger, calls_deadline })
    }

    /// [Starts](Self::start), and serves [until](Serving::until) `shutdown` is ready.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<Ending, ServeError> {
        self.start().await?.until(shutdown).await
    }
}

/// A server that serves and is registered, or will be when the registry is back.
#[derive(Debug)]
#[must_use = "it ends when it is dropped, without a drain"]
pub struct Serving {
    service: ServiceName,
    local: SocketAddr,
    registrar: Registrar,
    handle: Handle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    linger: Duration,
    calls_deadline: Duration,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where its registration stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.handle.state()
    }

    /// Its registration, to be updated or waited for.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Serves until `shutdown` is ready or the node tells it to leave. Then it drains, deregisters,
    /// lingers, waits for the calls under way, and says goodbye.
    ///
    /// # Errors
    /// [`ServeError::Refused`] when the node does not take the registration and will not later;
    /// [`ServeError::Server`] when the server fails. Refusals that may pass are tried again.
    pub async fn until(mut self, shutdown: impl Future<Output = ()>) -> Result<Ending, ServeError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut state = self.handle.state();
        let ending = loop {
            match state {
                State::Offline { reason, .. } => break Ok(Ending::Offline(reason)),
                State::Refused(refusal) => match refusal.advice() {
                    Advice::FixRequest | Advice::GiveUp => {
                        break Err(ServeError::Refused { service: self.service.clone(), refusal: Box::new(refusal) });
                    }
                    Advice::RetryNow | Advice::RetryLater => {
                        tracing::warn!(service = %self.service, why = %refusal.message, "not registered yet");
                    }
                },
                State::Ended => break Ok(Ending::Shutdown),
                State::Waiting | State::Active { .. } | State::Pending { .. } => {}
            }
            tokio::select! {
                () = &mut shutdown => break Ok(Ending::Shutdown),
                next = self.handle.changed() => state = next,
                failed = &mut self.server => {
                    let why = match failed {
                        Ok(Ok(())) => "it has ended by itself".into(),
                        Ok(Err(error)) => error.into(),
                        Err(error) => error.into(),
                    };
                    if let Err(error) = self.registrar.close().await {
                        tracing::warn!(%error, "left without a farewell");
                    }
                    return Err(ServeError::Server { source: why });
                }
            }
        };
        let is_refused = ending.is_err();
        self.leave(is_refused).await;
        ending
    }

    async fn leave(mut self, is_refused: bool) {
        if let Err(error) = self.handle.leave().await {
            tracing::warn!(service = %self.service, %error, "left without a word from the registry");
        }
        if !is_refused {
            tokio::time::sleep(self.linger).await;
        }
        drop(self.stop);
        if tokio::time::timeout(self.calls_deadline, &mut self.server).await.is_err() {
            tracing::warn!(service = %self.service, "calls that were under way are cut");
            self.server.abort();
        }
        if let Err(error) = self.registrar.close().await {
            tracing::warn!(service = %self.service, %error, "left without a farewell");
        }
    }
}

/// The address by which others reach what listens there.
async fn detect(client: &Client, local: SocketAddr) -> io::Result<IpAddr> {
    if !local.ip().is_unspecified() {
        return Ok(local.ip());
    }
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "no node of the registry has a known address");
    for endpoint in client.endpoints().iter() {
        let authority = endpoint.url().trim_start_matches("http://").trim_end_matches('/').to_owned();
        match tokio::net::lookup_host(authority).await {
            Ok(addresses) => {
                for address in addresses.filter(|address| local.is_ipv6() || address.is_ipv4()) {
                    match source_towards(address) {
                        Ok(ip) => return Ok(ip),
                        Err(error) => failure = error,
                    }
                }
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The address from which packets to `target` leave. A datagram socket that connects sends none.
fn source_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}
