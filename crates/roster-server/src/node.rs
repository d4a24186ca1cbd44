//! A node: opened from its log, ready, serving, and stopped in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use roster_core::directory::Command;
use roster_proto::server::admin_server::AdminServer;
use roster_proto::server::registry_server::RegistryServer;
use roster_store::{Disk, LocalLog, LogSettings, OpenError, OrderedLog, RealDisk};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::clock::{Entropy, System, WallClock};
use crate::dialer::Dialer;
use crate::director::{Director, DirectorSettings};
use crate::edge::{Accept, AdminApi, Desk, RegistryApi, serve};
use crate::guard::GuardSettings;
use crate::liveness::Spans;
use crate::mail::{DIRECTOR_MAIL_MAX, DirectorMail, WRITER_MAIL_MAX, WriterMail};
use crate::recovery::Recovery;
use crate::settings::{Durability, Settings};
use crate::watch::WatchSettings;
use crate::writer::{LogView, Writer};

/// Why a node does not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("cannot listen on {listen}")]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("the system gives no entropy")]
    Entropy(#[source] std::io::Error),
    #[error("the log failed: {why}")]
    LogFailed { why: String },
}

/// Joins settings and components into a node.
#[derive(Debug)]
pub struct NodeBuilder {
    settings: Settings,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn WallClock>,
    entropy: Arc<dyn Entropy>,
}

impl NodeBuilder {
    /// On the machine's own disk, clock and entropy.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, disk: Arc::new(RealDisk), clock: Arc::new(System), entropy: Arc::new(System) }
    }

    /// On another disk.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// With another time of day.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// With other luck.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Opens the log, restores the state and serves. Returns when the node is ready.
    ///
    /// # Errors
    /// [`NodeError`]; nothing was changed then.
    pub async fn start(self) -> Result<Node, NodeError> {
        let listen = self.settings.listen;
        // Bound first, so that a second node on the same address fails before it touches the log.
        let listener = TcpListener::bind(listen).await.map_err(|source| NodeError::Listen { listen, source })?;
        self.open(Some(listener)).await
    }

    /// The same without a socket: only [`Dialer`]s of this process reach it.
    ///
    /// # Errors
    /// [`NodeError`]; nothing was changed then.
    pub async fn start_inside(self) -> Result<Node, NodeError> {
        self.open(None).await
    }

    async fn open(self, listener: Option<TcpListener>) -> Result<Node, NodeError> {
        let Self { settings, disk, clock, entropy } = self;
        let listen = match &listener {
            Some(listener) => {
                listener.local_addr().map_err(|source| NodeError::Listen { listen: settings.listen, source })?
            }
            None => SocketAddr::from(([0, 0, 0, 0], 0)),
        };

        let mut recovery = Recovery::default();
        let log = LocalLog::open(disk, log_settings(&settings), clock.now(), &mut recovery)?;
        for note in &log.status().notes {
            warn!(%note, "recovery");
        }
        let directory = recovery.into_directory();

        let mut epoch = [0; 8];
        entropy.fill(&mut epoch).map_err(NodeError::Entropy)?;
        let (writer_mail, writer_box) = mpsc::channel(WRITER_MAIL_MAX);
        let (director_mail, director_box) = mpsc::channel(DIRECTOR_MAIL_MAX);
        let (fatal, failed) = watch::channel(None);
        let view = LogView::new(log.status());
        let writer = Writer {
            log: Box::new(log),
            mail: writer_box,
            director: director_mail.clone(),
            clock: clock.clone(),
            view: view.clone(),
            fatal,
            read_only: None,
            rebuild_waiters: Vec::new(),
        };
        let director =
            Director::new(directory, director_box, writer_mail.clone(), view.clone(), director_settings(&settings));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(NodeError::Thread)?;
        let threads = vec![
            std::thread::Builder::new().name("writer".into()).spawn(move || writer.run()).map_err(NodeError::Thread)?,
            std::thread::Builder::new()
                .name("director".into())
                .spawn(move || runtime.block_on(director.run()))
                .map_err(NodeError::Thread)?,
        ];

        let desk = Desk {
            writer: writer_mail,
            director: director_mail,
            entropy,
            limits: settings.limits.clone(),
            epoch: u64::from_le_bytes(epoch),
            gauges: Arc::default(),
            tasks: TaskTracker::new(),
        };
        let node = Self::serve(desk, settings.durability, view, clock.as_ref(), listener, listen, threads, failed);
        let node = node.await?;
        info!(%listen, durability = settings.durability.as_str(), "serving");
        Ok(node)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a node, joined once")]
    async fn serve(
        desk: Desk,
        durability: Durability,
        log: LogView,
        clock: &dyn WallClock,
        listener: Option<TcpListener>,
        listen: SocketAddr,
        threads: Vec<JoinHandle<()>>,
        failed: watch::Receiver<Option<String>>,
    ) -> Result<Node, NodeError> {
        // Ready is when the start itself is in the log: from here every restored session's grace counts.
        if let Err(status) = desk.submit(Command::StartNode).await {
            let why = failed.borrow().clone().unwrap_or_else(|| status.message().to_owned());
            return Err(NodeError::LogFailed { why });
        }
        let (health_reporter, health) = tonic_health::server::health_reporter();
        health_reporter.set_serving::<RegistryServer<RegistryApi>>().await;
        let message_bytes = usize::try_from(desk.limits.message_bytes.as_u64()).unwrap_or(usize::MAX);
        let registry = RegistryServer::new(RegistryApi(desk.clone())).max_decoding_message_size(message_bytes);
        let admin = AdminApi { desk: desk.clone(), log, started: clock.now(), listen, durability };
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(roster_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .ok();
        let mut routes = Routes::builder();
        routes.add_service(registry).add_service(AdminServer::new(admin)).add_service(health);
        if let Some(reflection) = reflection {
            routes.add_service(reflection);
        }
        let stop = CancellationToken::new();
        let (dialer, inside) = Dialer::new();
        let accept = Accept { listener, inside, routes: routes.routes(), desk: desk.clone(), stop: stop.clone() };
        let edge = tokio::spawn(serve(accept));
        Ok(Node { listen, dialer, desk, stop, edge, threads, failed, health: health_reporter })
    }
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    listen: SocketAddr,
    dialer: Dialer,
    desk: Desk,
    stop: CancellationToken,
    edge: tokio::task::JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
    failed: watch::Receiver<Option<String>>,
    health: tonic_health::server::HealthReporter,
}

/// A node that is dropped ends without ceremony: its streams break, its threads end on their own.
impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.desk.director.try_send(DirectorMail::Stop);
        let _ = self.desk.writer.try_send(WriterMail::Stop);
        let _ = self.desk.director.try_send(DirectorMail::Quit);
    }
}

impl Node {
    /// Starts a node with these settings.
    ///
    /// # Errors
    /// As [`NodeBuilder::start`].
    pub async fn start(settings: Settings) -> Result<Self, NodeError> {
        NodeBuilder::new(settings).start().await
    }

    /// Where it listens; with the real port when the settings said 0. A node without a socket: `0.0.0.0:0`.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The way to this node from within the process.
    #[must_use]
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Waits until the node cannot go on: when a sync failed, or one of its threads ended.
    pub async fn failed(&mut self) -> NodeError {
        let why = self.failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        NodeError::LogFailed { why: why.unwrap_or_else(|| "the writer ended".to_owned()) }
    }

    /// Stops in order: no new connections, farewell to every stream, what was submitted is logged and
    /// answered, the log is closed.
    ///
    /// # Errors
    /// When the log failed, before or meanwhile.
    pub async fn shutdown(mut self) -> Result<(), NodeError> {
        self.health.set_not_serving::<RegistryServer<RegistryApi>>().await;
        self.stop.cancel();
        let _ = self.desk.director.send(DirectorMail::Stop).await;
        if let Err(error) = (&mut self.edge).await {
            warn!(%error, "the edge ended badly");
        }
        self.desk.tasks.close();
        let _ = self.desk.writer.send(WriterMail::Stop).await;
        let mut threads = std::mem::take(&mut self.threads);
        let director = threads.pop();
        let desk = self.desk.clone();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
            let _ = desk.director.blocking_send(DirectorMail::Quit);
            if let Some(director) = director {
                let _ = director.join();
            }
        });
        let _ = joined.await;
        let why = self.failed.borrow().clone();
        why.map_or(Ok(()), |why| Err(NodeError::LogFailed { why }))
    }
}

fn log_settings(settings: &Settings) -> LogSettings {
    LogSettings {
        directory: settings.data_dir.clone(),
        switch_directory: Some(settings.switch_dir.clone()).filter(|path| *path != PathBuf::new()),
        durability: match settings.durability {
            Durability::Synced => roster_store::Durability::Synced,
            Durability::Os => roster_store::Durability::Os,
            Durability::None => roster_store::Durability::None,
        },
        rebuild_min: settings.log.rebuild_min.as_u64(),
        rebuild_growth: settings.log.rebuild_growth,
        history: settings.log.history.0,
        history_max: settings.log.history_max.as_u64(),
        segment_max: settings.log.segment_max.as_u64(),
    }
}

fn director_settings(settings: &Settings) -> DirectorSettings {
    let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    DirectorSettings {
        spans: Spans {
            ping_interval: settings.sessions.ping_interval.0,
            ping_timeout: settings.sessions.ping_timeout.0,
            check_timeout: settings.sessions.check_timeout.0,
            restart_grace: settings.sessions.restart_grace.0,
        },
        watches: WatchSettings {
            outbox_groups: settings.watches.outbox_groups,
            outbox_bytes: bytes(settings.watches.outbox_bytes),
            resume_bytes: bytes(settings.watches.resume_bytes),
            watches_per_stream: settings.limits.watches_per_stream,
        },
        guard: GuardSettings { fraction: settings.sessions.guard_fraction, least: settings.sessions.guard_least },
        bookmark_interval: settings.watches.bookmark_interval.0,
    }
}
