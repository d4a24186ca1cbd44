//! The node as a test holds it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use roster_core::SessionId;
use roster_proto::server::admin_server::AdminServer;
use roster_proto::server::queues_server::QueuesServer;
use roster_proto::server::registry_server::RegistryServer;
use roster_proto::v1::Refusal;
use roster_proto::v1::farewell::Reason;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::conversation::dismiss;
use super::counter::Counter;
use super::depot::Depot;
use super::ledger::Book;
use super::network::{InMemory, Mode, Network};
use super::surface::Surface;
use crate::client::{Builder, Client};

/// A batch and a message of the largest size.
const QUEUE_REQUEST_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A node without a disk that does what a test tells it. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeNode {
    book: Arc<Book>,
    depot: Arc<Depot>,
    network: Arc<Network>,
    url: String,
    /// Ends with the node.
    _tasks: JoinSet<()>,
}

impl FakeNode {
    /// A node that is reached through [`transport`](Self::transport), without a socket: with the
    /// clock stopped, a test of it takes no time.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::start("http://in-memory:7400".to_owned())
    }

    /// A node on a free port of this host.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut node = Self::start(format!("http://{}", listener.local_addr()?));
        let network = node.network.clone();
        node._tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without it small answers wait for each other.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection to the node in memory is gone");
                }
                // Refused when the node is down: then the stream is dropped.
                let _ = network.connect(stream).await;
            }
        });
        Ok(node)
    }

    fn start(url: String) -> Self {
        let (network, incoming) = Network::new();
        let book = Book::new();
        let depot = Depot::new();
        let counter = Counter { depot: depot.clone() };
        let surface = Surface { book: book.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(book.clone().keep_time());
        tasks.spawn(depot.clone().keep_time());
        tasks.spawn(async move {
            let server = Server::builder()
                .add_service(RegistryServer::new(surface.clone()))
                .add_service(AdminServer::new(surface))
                .add_service(QueuesServer::new(counter).max_decoding_message_size(QUEUE_REQUEST_BYTES_MAX))
                .serve_with_incoming(ReceiverStream::new(incoming));
            if let Err(error) = server.await {
                tracing::error!(%error, "the node in memory has ended");
            }
        });
        Self { book, depot, network, url, _tasks: tasks }
    }

    /// The address. Of a node [in memory](Self::in_memory) it leads there only by its transport.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The way to a node in memory; leads to it whatever the address.
    #[must_use]
    pub fn transport(&self) -> InMemory {
        InMemory::new(self.network.clone())
    }

    /// A client of this node, in memory, to be completed and built.
    pub fn client_builder(&self) -> Builder {
        Client::builder().endpoint(self.url()).transport(self.transport())
    }

    /// Cuts every connection; new ones are taken.
    pub fn kill_connections(&self) {
        self.network.cut();
    }

    /// Freezes every connection, new ones too: nothing is read, written or refused.
    pub fn pause(&self) {
        self.network.set(Mode::Frozen);
    }

    /// Ends a [pause](Self::pause) or a [stop](Self::stop).
    pub fn resume(&self) {
        self.network.set(Mode::Flowing);
    }

    /// Stops: connections are cut, new ones refused, until [`resume`](Self::resume). What is
    /// registered stays, as after a restart.
    pub fn stop(&self) {
        self.network.set(Mode::Down);
        self.book.with(|ledger| ledger.restart());
        self.depot.with(|stock| stock.restart());
    }

    /// Stops and is back at once: sessions and instances stay, streams and history do not.
    pub fn restart(&self) {
        self.network.cut();
        self.book.with(|ledger| ledger.restart());
        self.depot.with(|stock| stock.restart());
    }

    /// Restarts without memory.
    pub fn wipe(&self) {
        self.network.cut();
        self.book.with(|ledger| ledger.wipe());
        self.depot.with(|stock| stock.wipe());
    }

    /// The next registration is refused like this. Called again, the one after it too.
    pub fn refuse_next(&self, refusal: Refusal) {
        self.book.with(|ledger| ledger.refusals.push_back(refusal));
    }

    /// The next batch of messages is refused like this. Called again, the one after it too.
    pub fn refuse_next_publish(&self, refusal: Refusal) {
        self.depot.with(|stock| stock.refusals.push_back(refusal));
    }

    /// Batches of messages that ever came, repeated and refused ones included.
    #[must_use]
    pub fn batches_published(&self) -> usize {
        self.depot.with(|stock| stock.batches)
    }

    /// How often sessions that are opened from now on are pinged when quiet; 5 s by default.
    pub fn set_ping_interval(&self, interval: Duration) {
        self.book.with(|ledger| ledger.ping_interval = interval);
    }

    /// Tells a session that another stream has resumed it.
    pub fn displace(&self, session: SessionId) {
        self.book.with(|ledger| {
            if let Some(former) = ledger.streams.remove(&session) {
                dismiss(&former.sender, Reason::ResumedElsewhere, "another stream has resumed this session");
            }
        });
    }

    /// Sessions that have a stream.
    #[must_use]
    pub fn sessions_connected(&self) -> usize {
        self.book.with(|ledger| ledger.streams.len())
    }

    /// Connections ever made.
    #[must_use]
    pub fn connections_made(&self) -> usize {
        self.network.connections_made()
    }

    /// Registrations ever asked for, repeated and refused ones included.
    #[must_use]
    pub fn registrations_asked(&self) -> usize {
        self.book.with(|ledger| ledger.registrations)
    }

    /// Checks ever asked for.
    #[must_use]
    pub fn checks_asked(&self) -> usize {
        self.book.with(|ledger| ledger.checks)
    }

    /// Watches that are being told of changes.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.book.with(|ledger| ledger.watchers.watches())
    }

    /// Watches that went on where they were rather than begin anew, since the last restart.
    #[must_use]
    pub fn watches_resumed(&self) -> usize {
        self.book.with(|ledger| ledger.watchers.resumed)
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        // The tasks of open connections belong to the server, and end with them.
        self.network.set(Mode::Down);
    }
}
