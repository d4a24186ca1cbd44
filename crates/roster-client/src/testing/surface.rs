//! The calls that the node answers.

use std::sync::Arc;

use prost::Message;
use roster_core::directory::{Caller, Command, Outcome};
use roster_core::{InstanceId, Label, Selector, ServiceName, SessionId};
use roster_proto::convert::{encode_cutover, encode_instance, invalid, parse_cutover, put_instance, status_of};
use roster_proto::server::admin_server::Admin;
use roster_proto::server::registry_server::Registry;
use roster_proto::{encoded, v1};
use tokio::sync::mpsc;
use tokio::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::conversation::{DRAIN_DEADLINE_MILLIS, converse};
use super::ledger::{Book, instance_id};

/// Messages that wait for a reader.
const OUTBOX: usize = 4096;
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);
const PAGE_MAX: usize = 1000;

#[derive(Debug, Clone)]
pub(super) struct Surface {
    pub(super) book: Arc<Book>,
}

fn refused(word: roster_core::InvalidWord) -> Status {
    status_of(&invalid(word))
}

#[tonic::async_trait]
impl Registry for Surface {
    type SessionStream = ReceiverStream<Result<v1::SessionResponse, Status>>;
    type WatchStream = ReceiverStream<Result<encoded::WatchResponse, Status>>;
    type DrainStream = ReceiverStream<Result<v1::DrainProgress, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<roster_proto::encoded::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, responses) = mpsc::channel(OUTBOX);
        tokio::spawn(converse(self.book.clone(), request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn watch(
        &self,
        request: Request<Streaming<v1::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, responses) = mpsc::channel(OUTBOX);
        let mut requests = request.into_inner();
        let book = self.book.clone();
        let (watcher, epoch) = book.with(|ledger| (ledger.watchers.join(sender), ledger.epoch));
        tokio::spawn(async move {
            let mut bookmarks = tokio::time::interval(BOOKMARK_EVERY);
            bookmarks.reset();
            loop {
                let request = tokio::select! {
                    request = requests.message() => request,
                    _ = bookmarks.tick() => {
                        book.with(|ledger| ledger.watchers.bookmark(epoch, watcher, ledger.directory.revision()));
                        continue;
                    }
                };
                let goes_on = book.with(|ledger| {
                    if ledger.epoch != epoch {
                        return false;
                    }
                    match request {
                        Ok(Some(request)) => ledger.watchers.handle(&ledger.directory, epoch, watcher, &request),
                        Ok(None) | Err(_) => {
                            ledger.watchers.leave(watcher);
                            return false;
                        }
                    }
                    true
                });
                if !goes_on {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn get_main(
        &self,
        request: Request<v1::GetMainRequest>,
    ) -> Result<Response<encoded::GetMainResponse>, Status> {
        let service = ServiceName::parse(&request.get_ref().service).map_err(refused)?;
        Ok(Response::new(self.book.with(|ledger| {
            let mut content = Vec::new();
            ledger.directory.main(&service).iter().for_each(|main| put_instance(1, main, &mut content));
            encoded::GetMainResponse { content: content.into(), position: ledger.directory.revision().get() }
        })))
    }

    async fn list_instances(
        &self,
        request: Request<v1::ListInstancesRequest>,
    ) -> Result<Response<encoded::ListInstancesResponse>, Status> {
        let request = request.into_inner();
        let selector = Selector::parse(&request.selector).map_err(refused)?;
        let after = request
            .page_token
            .split_once(' ')
            .and_then(|(name, id)| Some((ServiceName::parse(name).ok()?, InstanceId::new(id.parse().ok()?))));
        let limit = page(request.page_size);
        Ok(Response::new(self.book.with(|ledger| {
            let instances = ledger.directory.instances(&selector, after, limit);
            let last = instances.last().filter(|_| instances.len() == limit);
            let content = v1::ListInstancesResponse {
                next_page_token: last
                    .map(|last| format!("{} {}", last.registration.service, last.id))
                    .unwrap_or_default(),
                instances: instances.iter().map(encode_instance).collect(),
                position: 0,
            };
            encoded::ListInstancesResponse {
                content: content.encode_to_vec().into(),
                position: ledger.directory.revision().get(),
            }
        })))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<v1::ListServicesResponse>, Status> {
        let request = request.into_inner();
        let selector = Selector::parse(&request.prefix).map_err(refused)?;
        let after = ServiceName::parse(&request.page_token).ok();
        let limit = page(request.page_size);
        Ok(Response::new(self.book.with(|ledger| {
            let services = ledger.directory.services(&selector, after.as_ref(), limit);
            let last = services.last().filter(|_| services.len() == limit);
            let summary = |summary: &roster_core::directory::ServiceSummary| v1::ServiceSummary {
                service: summary.name.to_string(),
                up: summary.up,
                unconfirmed: summary.unconfirmed,
                suspect: summary.suspect,
                draining: summary.draining,
                pending: summary.pending,
                floor: summary.floor,
                cutover: Some(encode_cutover(summary.cutover)),
                cutover_by_operator: summary.cutover_author.is_some(),
                main_instance_id: summary.main.map_or(0, InstanceId::get),
            };
            v1::ListServicesResponse {
                next_page_token: last.map(|last| last.name.to_string()).unwrap_or_default(),
                services: services.iter().map(summary).collect(),
                position: ledger.directory.revision().get(),
            }
        })))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        use roster_core::directory::Liveness;
        use v1::check_response::Outcome;
        let request = request.into_inner();
        let service = ServiceName::parse(&request.service).map_err(refused)?;
        let session = SessionId::new(request.session_id);
        let outcome = self.book.with(|ledger| {
            ledger.checks += 1;
            let owned = ledger.directory.session_instances(session);
            match owned.iter().find(|instance| instance.registration.service == service) {
                None => Outcome::Unknown,
                Some(instance) => match instance.liveness {
                    Liveness::Up => Outcome::Alive,
                    Liveness::Unconfirmed => Outcome::Unconfirmed,
                    Liveness::Suspect(_) => Outcome::Suspect,
                },
            }
        });
        Ok(Response::new(v1::CheckResponse { outcome: outcome.into() }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<Self::DrainStream>, Status> {
        let request = request.into_inner();
        let instance = instance_id(request.instance_id);
        let (sender, progress) = mpsc::channel(OUTBOX);
        self.book.with(|ledger| {
            let (_, outcome) = ledger.apply(Command::Drain { caller: Caller::Operator, instance });
            ledger.tell_owners();
            if let Outcome::Refused(refusal) = outcome {
                return Err(status_of(&refusal.into()));
            }
            let deadline_ms = request.deadline_ms.unwrap_or(DRAIN_DEADLINE_MILLIS);
            ledger.follow_drain(instance, deadline_ms, move |progress| {
                let _ = sender.try_send(Ok(progress));
            });
            Ok(())
        })?;
        Ok(Response::new(ReceiverStream::new(progress)))
    }

    async fn set_cutover(
        &self,
        request: Request<v1::SetCutoverRequest>,
    ) -> Result<Response<v1::SetCutoverResponse>, Status> {
        let request = request.into_inner();
        let service = ServiceName::parse(&request.service).map_err(refused)?;
        let cutover = request.cutover.as_ref().map(parse_cutover).transpose().map_err(|refusal| status_of(&refusal))?;
        let author = Label::parse("author", &request.author).map_err(refused)?;
        let (position, outcome) = self.book.with(|ledger| {
            let done = ledger.apply(Command::SetCutover { service, cutover, author });
            ledger.tell_owners();
            done
        });
        match outcome {
            Outcome::Refused(refusal) => Err(status_of(&refusal.into())),
            Outcome::Done
            | Outcome::Opened { .. }
            | Outcome::Resumed { .. }
            | Outcome::Active { .. }
            | Outcome::Pending { .. }
            | Outcome::Stale => Ok(Response::new(v1::SetCutoverResponse { position: position.get() })),
        }
    }
}

#[tonic::async_trait]
impl Admin for Surface {
    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(self.book.with(|ledger| {
            let counts = ledger.directory.counts();
            v1::GetStatusResponse {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                durability: "none".to_owned(),
                position: ledger.directory.revision().get(),
                sessions: counts.sessions as u64,
                sessions_connected: counts.connected as u64,
                services: counts.services as u64,
                instances: counts.instances as u64,
                watch_streams: ledger.watchers.count() as u64,
                watches: ledger.watchers.watches() as u64,
                ..Default::default()
            }
        })))
    }

    async fn release_guard(
        &self,
        _: Request<v1::ReleaseGuardRequest>,
    ) -> Result<Response<v1::ReleaseGuardResponse>, Status> {
        Err(Status::unimplemented("a node in memory has no mass-loss guard"))
    }

    async fn rebuild(&self, _: Request<v1::RebuildRequest>) -> Result<Response<v1::RebuildResponse>, Status> {
        Err(Status::unimplemented("a node in memory has nothing to rebuild"))
    }
}

fn page(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(asked @ 1..PAGE_MAX) => asked,
        Ok(_) | Err(_) => PAGE_MAX,
    }
}
