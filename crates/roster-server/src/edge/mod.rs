//! The edge: the accept loop and the gRPC surfaces. It decodes, validates and encodes; it decides nothing.

mod accept;
mod admin;
mod admission;
mod arrival;
mod at_once;
mod backup;
mod budget;
mod consume;
mod corked;
mod publish;
mod queues;
mod readings;
mod registry;
mod session;
mod surfaces;
mod turns;
mod watch;

pub(crate) use accept::{Accept, serve};
pub(crate) use admin::AdminApi;
pub(crate) use backup::{BackupApi, Feeds};
pub(crate) use budget::{Budget, Crowd, Ticket};
pub(crate) use queues::QueuesApi;
pub(crate) use readings::Readings;
pub(crate) use registry::RegistryApi;
pub(crate) use surfaces::Surfaces;
pub(crate) use turns::Turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use roster_core::Position;
use roster_core::directory::{Command, Directory, Outcome};
use roster_proto::convert::{status_of, unavailable};
use roster_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::broker;
use crate::clock::Entropy;
use crate::mail::{DirectorMail, Origin, Submission, WriterMail};
use crate::settings::LimitSection;

/// What every surface needs: the way to the writer and to the director.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) writer: mpsc::Sender<WriterMail>,
    pub(crate) director: mpsc::Sender<DirectorMail>,
    /// Mail that the director takes in first: signs of life, and who asks for them.
    pub(crate) urgent: mpsc::Sender<DirectorMail>,
    /// What is on its way to the log. Who has a ticket finds room at the writer.
    pub(crate) budget: Budget,
    pub(crate) turns: Turns,
    pub(crate) readings: Arc<Readings>,
    pub(crate) queues: QueueDesk,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: LimitSection,
    /// One run of this node.
    pub(crate) epoch: u64,
    pub(crate) gauges: Arc<Gauges>,
    /// Owns the tasks of streams.
    pub(crate) tasks: TaskTracker,
}

/// The same for queues.
#[derive(Debug, Clone)]
pub(crate) struct QueueDesk {
    pub(crate) writer: mpsc::Sender<broker::WriterMail>,
    pub(crate) broker: mpsc::Sender<broker::BrokerMail>,
    /// What is published and not yet applied, and what waits for room.
    pub(crate) budget: Budget,
}

/// How much of what is limited is in use.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) connections: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    pub(crate) checks: AtomicUsize,
    pub(crate) admin_calls: AtomicUsize,
    pub(crate) rebuilds: AtomicUsize,
    pub(crate) requeues: AtomicUsize,
    pub(crate) refused_calls: AtomicU64,
    pub(crate) sessions: AtomicUsize,
    pub(crate) watch_streams: AtomicUsize,
    pub(crate) producers: AtomicUsize,
    pub(crate) consumers: AtomicUsize,
    pub(crate) backup_streams: AtomicUsize,
    pub(crate) next_stream: AtomicU64,
}

impl Desk {
    /// Logs one command and waits until it is applied.
    pub(crate) async fn submit(&self, command: Command) -> Result<(Position, Outcome), Status> {
        let (reply, answer) = oneshot::channel();
        let ticket = self.budget.enter_alone().await.ok_or_else(stopping)?;
        let submission = Submission::new(vec![command], Origin::Unary { reply, ticket });
        send(&self.writer, WriterMail::Submission(submission)).await?;
        answer.await.map_err(|_| stopping())?.map_err(|refusal| status_of(&refusal))
    }

    /// Reads the directory as it is between two batches.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Directory) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |directory: &Directory| drop(reply.send(read(directory))));
        self.tell(DirectorMail::Read(read)).await?;
        answer.await.map_err(|_| stopping())
    }

    pub(crate) fn tell(&self, mail: DirectorMail) -> impl Future<Output = Result<(), Status>> + Send {
        send(&self.director, mail)
    }

    /// Tells what the director takes in first.
    pub(crate) fn tell_soon(&self, mail: DirectorMail) -> impl Future<Output = Result<(), Status>> + Send {
        send(&self.urgent, mail)
    }
}

/// Waits for room and sends.
///
/// What is sent is kept once while it waits. `Sender::send`, and any `async fn` around it, keep each argument
/// twice, and every stream's task is as large as the largest thing that it may wait for.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice")]
pub(crate) fn send<T: Send>(to: &mpsc::Sender<T>, mail: T) -> impl Future<Output = Result<(), Status>> + Send {
    async move {
        to.reserve().await.map_err(|_| stopping())?.send(mail);
        Ok(())
    }
}

pub(crate) fn stopping() -> Status {
    status_of(&unavailable("the node stops; try again later or elsewhere"))
}

pub(crate) fn too_many(limit: &str, max: usize) -> Status {
    status_of(&too_much(limit, max as u64))
}

pub(crate) fn too_much(limit: &str, max: u64) -> v1::Refusal {
    v1::Refusal {
        code: v1::refusal::Code::LimitExceeded.into(),
        message: format!("{limit} is limited to {max} on this node; try again later or elsewhere"),
        limit: limit.to_owned(),
        limit_max: max,
        ..Default::default()
    }
}

/// One of a limited number of places; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gauges: Arc<Gauges>,
    of: fn(&Gauges) -> &AtomicUsize,
}

impl Place {
    /// A place, or nothing when all `max` are taken.
    pub(crate) fn take(gauges: &Arc<Gauges>, of: fn(&Gauges) -> &AtomicUsize, max: usize) -> Option<Self> {
        let taken =
            of(gauges).fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| (used < max).then_some(used + 1));
        taken.ok().map(|_| Self { gauges: gauges.clone(), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.of)(&self.gauges).fetch_sub(1, Ordering::AcqRel);
    }
}
