//! A node: opened from its log, ready, serving, and stopped in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use roster_core::directory::Command;
use roster_core::queue;
use roster_proto::server::admin_server::AdminServer;
use roster_proto::server::backup_server::BackupServer;
use roster_proto::server::queues_server::QueuesServer;
use roster_proto::server::registry_server::RegistryServer;
use roster_store::{Disk, LocalLog, LogSettings, LogStatus, OpenError, OrderedLog, RealDisk};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::broker::{self, BROKER_MAIL_MAX, Broker, BrokerMail};
use crate::clock::{Entropy, OnwardClock, System, WallClock};
use crate::dialer::Dialer;
use crate::director::{Director, DirectorSettings, Links};
use crate::edge::{
    Accept, AdminApi, BackupApi, Budget, Desk, Feeds, QueueDesk, QueuesApi, Readings, RegistryApi, Surfaces, Turns,
    serve,
};
use crate::guard::GuardSettings;
use crate::liveness::Spans;
use crate::mail::{DIRECTOR_MAIL_MAX, DirectorMail, WriterMail};
use crate::pulse::Pulse;
use crate::recovery::{QueueRecovery, Recovery};
use crate::settings::{Durability, Settings};
use crate::stamps::Stamps;
use crate::submission::WRITER_MAIL_MAX;
use crate::watch::WatchSettings;
use crate::writer::Writer;

/// Of the log of the queues, below the data directory and below the switch directory.
const QUEUE_DIRECTORY: &str = "queues";
/// How long a node that stops waits until what consumers have said is in the log.
const SETTLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

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
        let log = LocalLog::open(disk.clone(), log_settings(&settings), clock.now(), &mut recovery)?;
        note_recovery(&log.status());
        let directory = recovery.into_directory();
        let mut recovery = QueueRecovery::default();
        let queue_log = LocalLog::open(disk, queue_log_settings(&settings), clock.now(), &mut recovery)?;
        note_recovery(&queue_log.status());
        let queues = recovery.into_queues();
        let feeds: Feeds = vec![("directory", log.feed()), ("queues", queue_log.feed())];

        let mut epoch = [0; 8];
        entropy.fill(&mut epoch).map_err(NodeError::Entropy)?;
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let limits = &settings.limits;
        let budget = Budget::new(bytes(limits.operation_bytes), bytes(limits.waiting_bytes));
        let queue_budget = Budget::new(bytes(limits.publish_bytes), bytes(limits.waiting_bytes));
        // Whatever the edge has under way, there is room for what the director itself has to say.
        let (writer_mail, writer_box) = mpsc::channel(budget.submissions_max().saturating_add(WRITER_MAIL_MAX));
        let (director_mail, director_box) = mpsc::channel(DIRECTOR_MAIL_MAX);
        let (director_urgent, director_urgent_box) = mpsc::channel(DIRECTOR_MAIL_MAX);
        let (queue_writer_mail, queue_writer_box) = mpsc::channel(WRITER_MAIL_MAX);
        let (broker_mail, broker_box) = mpsc::channel(BROKER_MAIL_MAX);
        let (fatal, failed) = watch::channel(None);
        let onward: Arc<dyn WallClock> = Arc::new(OnwardClock::new(clock.clone(), queue_log.last_at()));
        let writer = Writer::new(Box::new(log), writer_box, director_urgent.clone(), clock.clone(), fatal.clone());
        let queue_writer =
            Writer::new(Box::new(queue_log), queue_writer_box, broker_mail.clone(), onward.clone(), fatal);
        let (view, queue_view) = (writer.view(), queue_writer.view());
        let stamps = Arc::new(Stamps::new(directory.revision()));
        let pulse = Pulse::new();
        let director = Director::new(
            directory,
            Links {
                mail: director_box,
                urgent: director_urgent_box,
                writer: writer_mail.clone(),
                log: view.clone(),
                edge: pulse.clone(),
                stamps: stamps.clone(),
            },
            director_settings(&settings),
        );
        let broker =
            Broker::new(queues, broker_box, queue_writer_mail.clone(), onward, entropy.clone(), queue_view.clone());
        let broker = broker.map_err(NodeError::Thread)?;
        let director_runtime = runtime()?;
        let broker_runtime = runtime()?;
        let threads = Threads {
            writers: vec![thread("writer", move || writer.run())?, thread("queue-writer", move || queue_writer.run())?],
            owners: vec![
                thread("director", move || director_runtime.block_on(director.run()))?,
                thread("broker", move || broker_runtime.block_on(broker.run()))?,
            ],
        };

        let desk = Desk {
            writer: writer_mail,
            director: director_mail,
            urgent: director_urgent,
            budget,
            turns: Turns::new(),
            readings: Arc::new(Readings::new(stamps)),
            queues: QueueDesk { writer: queue_writer_mail, broker: broker_mail, budget: queue_budget },
            entropy,
            limits: settings.limits.clone(),
            epoch: u64::from_le_bytes(epoch),
            gauges: Arc::default(),
            tasks: TaskTracker::new(),
        };
        let admin = AdminApi {
            desk: desk.clone(),
            log: view,
            queue_log: queue_view,
            started: clock.now(),
            listen,
            durability: settings.durability,
        };
        let backup = BackupApi::new(desk.clone(), clock, feeds);
        let stop = CancellationToken::new();
        desk.tasks.spawn(pulse.beat(stop.clone()));
        let unless_it_serves = stop.clone().drop_guard();
        let node = Self::serve(desk, admin, backup, (listener, stop), threads, failed).await?;
        unless_it_serves.disarm();
        info!(%listen, durability = settings.durability.as_str(), "serving");
        Ok(node)
    }

    async fn serve(
        desk: Desk,
        admin: AdminApi,
        backup: BackupApi,
        (listener, stop): (Option<TcpListener>, CancellationToken),
        threads: Threads,
        failed: watch::Receiver<Option<String>>,
    ) -> Result<Node, NodeError> {
        // Ready is when the start itself is in both logs: from here every restored session's grace counts.
        let started = async {
            desk.submit(Command::StartNode).await?;
            desk.submit_to_queues(queue::Command::StartNode).await
        };
        if let Err(status) = started.await {
            let why = failed.borrow().clone().unwrap_or_else(|| status.message().to_owned());
            return Err(NodeError::LogFailed { why });
        }
        let listen = admin.listen;
        let (health_reporter, health) = tonic_health::server::health_reporter();
        health_reporter.set_serving::<RegistryServer<RegistryApi>>().await;
        health_reporter.set_serving::<QueuesServer<QueuesApi>>().await;
        let message_bytes = usize::try_from(desk.limits.message_bytes.as_u64()).unwrap_or(usize::MAX);
        let registry = RegistryServer::new(RegistryApi(desk.clone())).max_decoding_message_size(message_bytes);
        let queues = QueuesServer::new(QueuesApi(desk.clone())).max_decoding_message_size(message_bytes);
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(roster_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .ok();
        let backup = BackupServer::new(backup.until(stop.clone()));
        let mut routes = Routes::builder();
        routes.add_service(queues).add_service(AdminServer::new(admin)).add_service(backup);
        routes.add_service(health);
        if let Some(reflection) = reflection {
            routes.add_service(reflection);
        }
        let (dialer, inside) = Dialer::new();
        let surfaces = Surfaces::new(registry, routes.routes());
        let accept = Accept { listener, inside, surfaces, desk: desk.clone(), stop: stop.clone() };
        let edge = tokio::spawn(serve(accept));
        Ok(Node { listen, dialer, desk, stop, edge, threads, failed, health: health_reporter })
    }
}

/// The threads of a node, in the order in which they end.
#[derive(Debug, Default)]
struct Threads {
    writers: Vec<JoinHandle<()>>,
    owners: Vec<JoinHandle<()>>,
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    listen: SocketAddr,
    dialer: Dialer,
    desk: Desk,
    stop: CancellationToken,
    edge: tokio::task::JoinHandle<()>,
    threads: Threads,
    failed: watch::Receiver<Option<String>>,
    health: tonic_health::server::HealthReporter,
}

/// A node that is dropped ends without ceremony: its streams break, its threads end on their own.
impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.desk.director.try_send(DirectorMail::Stop);
        let _ = self.desk.queues.broker.try_send(BrokerMail::Stop);
        let _ = self.desk.writer.try_send(WriterMail::Stop);
        let _ = self.desk.queues.writer.try_send(broker::WriterMail::Stop);
        let _ = self.desk.director.try_send(DirectorMail::Quit);
        let _ = self.desk.queues.broker.try_send(BrokerMail::Quit);
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
        self.health.set_not_serving::<QueuesServer<QueuesApi>>().await;
        self.stop.cancel();
        let _ = self.desk.director.send(DirectorMail::Stop).await;
        let _ = self.desk.queues.broker.send(BrokerMail::Stop).await;
        if let Err(error) = (&mut self.edge).await {
            warn!(%error, "the edge ended badly");
        }
        self.desk.tasks.close();
        // What consumers have said is worth a moment: what is not in the log is delivered again.
        let (reply, settled) = oneshot::channel();
        if self.failed.borrow().is_none() && self.desk.queues.broker.send(BrokerMail::Settle(reply)).await.is_ok() {
            let _ = tokio::time::timeout(SETTLE_TIMEOUT, settled).await;
        }
        let _ = self.desk.writer.send(WriterMail::Stop).await;
        let _ = self.desk.queues.writer.send(broker::WriterMail::Stop).await;
        let threads = std::mem::take(&mut self.threads);
        let desk = self.desk.clone();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads.writers {
                let _ = thread.join();
            }
            let _ = desk.director.blocking_send(DirectorMail::Quit);
            let _ = desk.queues.broker.blocking_send(BrokerMail::Quit);
            for thread in threads.owners {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        let why = self.failed.borrow().clone();
        why.map_or(Ok(()), |why| Err(NodeError::LogFailed { why }))
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, NodeError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(NodeError::Thread)
}

fn runtime() -> Result<tokio::runtime::Runtime, NodeError> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(NodeError::Thread)
}

fn note_recovery(log: &LogStatus) {
    for note in &log.notes {
        warn!(%note, "recovery");
    }
}

/// The log of the queues lives below that of the directory and is kept in the same way.
fn queue_log_settings(settings: &Settings) -> LogSettings {
    let directory = log_settings(settings);
    LogSettings {
        directory: directory.directory.join(QUEUE_DIRECTORY),
        switch_directory: directory.switch_directory.map(|path| path.join(QUEUE_DIRECTORY)),
        ..directory
    }
}

fn log_settings(settings: &Settings) -> LogSettings {
    LogSettings {
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
        ..LogSettings::new(settings.data_dir.clone())
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
