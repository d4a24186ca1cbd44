//! `roster.v1.Admin`.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use roster_core::Timestamp;
use roster_proto::convert::{status_of, unavailable};
use roster_proto::server::admin_server::Admin;
use roster_proto::v1;
use roster_store::LogStatus;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::{Desk, stopping};
use crate::broker::{self, Broker};
use crate::mail::{DirectorMail, WriterMail};
use crate::settings::Durability;
use crate::writer::LogView;

#[derive(Debug, Clone)]
pub(crate) struct AdminApi {
    pub(crate) desk: Desk,
    pub(crate) log: LogView,
    pub(crate) queue_log: LogView,
    pub(crate) started: Timestamp,
    pub(crate) listen: SocketAddr,
    pub(crate) durability: Durability,
}

impl AdminApi {
    fn work(&self) -> v1::Work {
        let Desk { gauges, budget, queues, .. } = &self.desk;
        let calls = [&gauges.calls, &gauges.checks, &gauges.admin_calls, &gauges.rebuilds, &gauges.requeues];
        v1::Work {
            calls: calls.into_iter().map(|calls| calls.load(Ordering::Relaxed) as u64).sum(),
            refused_calls: gauges.refused_calls.load(Ordering::Relaxed),
            operation_bytes: budget.under_way_bytes(),
            waiting_operation_bytes: budget.waiting_bytes(),
            refused_operations: budget.refused(),
            publish_bytes: queues.budget.under_way_bytes(),
            waiting_publish_bytes: queues.budget.waiting_bytes(),
            refused_publications: queues.budget.refused(),
        }
    }
}

#[tonic::async_trait]
impl Admin for AdminApi {
    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let (reply, counts) = oneshot::channel();
        self.desk.tell(DirectorMail::Counts(reply)).await?;
        let counts = counts.await.map_err(|_| stopping())?;
        let queues = self.desk.read_queues(Broker::counts).await?;
        let status = v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: self.started.get(),
            listen: self.listen.to_string(),
            durability: self.durability.as_str().to_owned(),
            read_only: self.log.read_only().unwrap_or_default(),
            position: counts.position.get(),
            sessions: counts.sessions as u64,
            sessions_connected: counts.sessions_connected as u64,
            services: counts.services as u64,
            instances: counts.instances as u64,
            watch_streams: counts.watch_streams as u64,
            watches: counts.watches as u64,
            connections: self.desk.gauges.connections.load(Ordering::Relaxed) as u64,
            watch_resets: counts.watch_resets,
            process_id: std::process::id().into(),
            guard: counts.held.why,
            guarded_sessions: counts.held.sessions,
            guarded_instances: counts.held.instances,
            log: Some(encode_log(self.log.status())),
            queue_log: Some(encode_log(self.queue_log.status())),
            queues_read_only: self.queue_log.read_only().unwrap_or_default(),
            queues: queues.queues,
            queue_messages: queues.messages,
            queue_bytes: queues.bytes,
            queue_producers: queues.producers,
            queue_consumers: queues.consumers,
            work: Some(self.work()),
        };
        Ok(Response::new(status))
    }

    async fn release_guard(
        &self,
        _request: Request<v1::ReleaseGuardRequest>,
    ) -> Result<Response<v1::ReleaseGuardResponse>, Status> {
        let (reply, held) = oneshot::channel();
        self.desk.tell(DirectorMail::ReleaseGuard(reply)).await?;
        let held = held.await.map_err(|_| stopping())?;
        Ok(Response::new(v1::ReleaseGuardResponse { sessions: held.sessions, instances: held.instances }))
    }

    async fn rebuild(&self, _request: Request<v1::RebuildRequest>) -> Result<Response<v1::RebuildResponse>, Status> {
        // Both logs, at the same time; the answer is about the directory's.
        let (reply, done) = oneshot::channel();
        self.desk.writer.send(WriterMail::Rebuild(reply)).await.map_err(|_| stopping())?;
        let (reply, queues_done) = oneshot::channel();
        self.desk.queues.writer.send(broker::WriterMail::Rebuild(reply)).await.map_err(|_| stopping())?;
        let (done, queues_done) = tokio::join!(done, queues_done);
        let given_up =
            |of: &str, why: String| status_of(&unavailable(format!("the rebuild of the {of} was given up: {why}")));
        let done = done.map_err(|_| stopping())?.map_err(|why| given_up("directory", why))?;
        queues_done.map_err(|_| stopping())?.map_err(|why| given_up("queues", why))?;
        Ok(Response::new(v1::RebuildResponse {
            generation: done.generation,
            position: done.position.get(),
            snapshot_bytes: done.bytes,
        }))
    }
}

fn encode_log(log: LogStatus) -> v1::LogStatus {
    v1::LogStatus {
        directory: log.directory.display().to_string(),
        switch_directory: log.switch_directory.map(|path| path.display().to_string()).unwrap_or_default(),
        generation: log.generation,
        snapshot_position: log.snapshot_position.get(),
        snapshot_bytes: log.snapshot_bytes,
        log_bytes: log.log_bytes,
        segments: log.segments as u64,
        history_bytes: log.history_bytes,
        rebuilding: log.rebuilding,
        syncs: log.counters.syncs,
        batches: log.counters.batches,
        commands: log.counters.commands,
        rebuilds: log.counters.rebuilds,
        recovery_notes: log.notes.iter().map(ToString::to_string).collect(),
    }
}
