//! `roster.v1.Registry`.

use bytes::Bytes;
use roster_core::directory::{Caller, Command, Directory, Instance, ServiceSummary};
use roster_core::{InstanceId, Label, Position, Selector, ServiceName, SessionId};
use roster_proto::convert::{encode_cutover, invalid, parse_cutover, put_instance, status_of};
use roster_proto::encoded;
use roster_proto::server::registry_server::Registry;
use roster_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::readings::{Asked, Reading};
use super::session::{self, DRAIN_MILLIS_DEFAULT, SessionResponses};
use super::watch::{self, WatchResponses};
use super::{Desk, stopping};
use crate::mail::DirectorMail;

/// The most entries of one page, and how many there are when the caller names no number.
const PAGE_MAX: usize = 1000;
/// What an instance with some facts takes as bytes, about.
const INSTANCE_BYTES_USUAL: usize = 128;
/// Steps of a drain's progress that a caller may leave unread.
const PROGRESS_STEPS: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct RegistryApi(pub(crate) Desk);

type Answer<T> = Result<Response<T>, Status>;
type DrainResponses = tokio_stream::adapters::Map<
    ReceiverStream<v1::DrainProgress>,
    fn(v1::DrainProgress) -> Result<v1::DrainProgress, Status>,
>;

#[tonic::async_trait]
impl Registry for RegistryApi {
    type SessionStream = SessionResponses;
    type WatchStream = WatchResponses;
    type DrainStream = DrainResponses;

    async fn session(
        &self,
        request: Request<Streaming<roster_proto::encoded::SessionRequest>>,
    ) -> Answer<SessionResponses> {
        session::open(self.0.clone(), request.into_inner()).map(Response::new)
    }

    async fn watch(&self, request: Request<Streaming<v1::WatchRequest>>) -> Answer<WatchResponses> {
        watch::open(self.0.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn get_main(&self, request: Request<v1::GetMainRequest>) -> Answer<encoded::GetMainResponse> {
        let service = service_name(&request.into_inner().service)?;
        let Reading { content, position, .. } = self.main(service).await?;
        Ok(Response::new(encoded::GetMainResponse { content, position: position.get() }))
    }

    async fn list_instances(
        &self,
        request: Request<v1::ListInstancesRequest>,
    ) -> Answer<encoded::ListInstancesResponse> {
        let request = request.into_inner();
        let selector = Selector::parse(&request.selector).map_err(|word| status_of(&invalid(word)))?;
        let after = parse_token(&request.page_token)?;
        let size = page_size(request.page_size);
        let (content, position) = match (selector, after) {
            (Selector::Service(service), None) => self.instances_of(service, InstanceId::new(0), size).await?,
            (Selector::Service(service), Some((last, after))) if last == service => {
                self.instances_of(service, after, size).await?
            }
            (selector @ (Selector::Service(_) | Selector::Prefix(_) | Selector::All), after) => {
                let page = self.0.read(move |directory| Page::read(directory, &selector, after, size)).await?;
                (page.content(), page.position)
            }
        };
        Ok(Response::new(encoded::ListInstancesResponse { content, position: position.get() }))
    }

    async fn list_services(&self, request: Request<v1::ListServicesRequest>) -> Answer<v1::ListServicesResponse> {
        let request = request.into_inner();
        let selector = Selector::parse(&request.prefix).map_err(|word| status_of(&invalid(word)))?;
        let after = if request.page_token.is_empty() { None } else { Some(service_name(&request.page_token)?) };
        let size = page_size(request.page_size);
        let (mut services, revision) = self
            .0
            .read(move |directory| (directory.services(&selector, after.as_ref(), size + 1), directory.revision()))
            .await?;
        let more = services.len() > size;
        services.truncate(size);
        Ok(Response::new(v1::ListServicesResponse {
            next_page_token: services.last().filter(|_| more).map(|last| last.name.to_string()).unwrap_or_default(),
            services: services.into_iter().map(summary_of).collect(),
            position: revision.get(),
        }))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Answer<v1::CheckResponse> {
        let request = request.into_inner();
        let service = service_name(&request.service)?;
        let (reply, outcome) = oneshot::channel();
        let session = SessionId::new(request.session_id);
        self.0.tell_soon(DirectorMail::Check { service, session, reply }).await?;
        let outcome = outcome.await.map_err(|_| stopping())?;
        Ok(Response::new(v1::CheckResponse { outcome: outcome.into() }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<DrainResponses> {
        let request = request.into_inner();
        let instance = InstanceId::new(request.instance_id);
        self.0.submit(Command::Drain { caller: Caller::Operator, instance }).await?;
        let (progress, steps) = mpsc::channel(PROGRESS_STEPS);
        let millis = request.deadline_ms.unwrap_or(DRAIN_MILLIS_DEFAULT);
        self.0.tell(DirectorMail::FollowDrain { instance, millis, progress }).await?;
        let steps = ReceiverStream::new(steps).map(Ok as fn(v1::DrainProgress) -> Result<v1::DrainProgress, Status>);
        Ok(Response::new(steps))
    }

    async fn set_cutover(&self, request: Request<v1::SetCutoverRequest>) -> Answer<v1::SetCutoverResponse> {
        let request = request.into_inner();
        let service = service_name(&request.service)?;
        let author = Label::parse("author", &request.author).map_err(|word| status_of(&invalid(word)))?;
        let cutover = request.cutover.as_ref().map(parse_cutover).transpose().map_err(|refusal| status_of(&refusal))?;
        let (position, _) = self.0.submit(Command::SetCutover { service, cutover, author }).await?;
        Ok(Response::new(v1::SetCutoverResponse { position: position.get() }))
    }
}

impl RegistryApi {
    /// A page of a service, encoded: what is beyond an id, and no id is 0.
    async fn instances_of(
        &self,
        service: ServiceName,
        after: InstanceId,
        size: usize,
    ) -> Result<(Bytes, Position), Status> {
        let (readings, asked) = (&self.0.readings, Asked::Instances(after));
        if let Some(kept) = readings.get(asked, &service)
            && kept.is_page_of(size)
        {
            return Ok((kept.content, kept.position));
        }
        let (name, stamps) = (service.clone(), readings.stamps());
        let read = move |directory: &Directory| {
            let selector = Selector::Service(name.clone());
            let stamp = stamps.of(&name);
            (Page::read(directory, &selector, Some((name, after)), size), stamp)
        };
        let (page, stamp) = self.0.read(read).await?;
        let (content, position) = (page.content(), page.position);
        let (instances, more) = (page.instances.len(), page.more);
        readings.keep(asked, service, Reading { content: content.clone(), instances, more, position, stamp });
        Ok((content, position))
    }

    /// The main of a service, encoded.
    async fn main(&self, service: ServiceName) -> Result<Reading, Status> {
        let readings = &self.0.readings;
        if let Some(kept) = readings.get(Asked::Main, &service) {
            return Ok(kept);
        }
        let (name, stamps) = (service.clone(), readings.stamps());
        let read = move |directory: &Directory| (directory.main(&name), directory.revision(), stamps.of(&name));
        let (main, position, stamp) = self.0.read(read).await?;
        let mut content = Vec::new();
        main.iter().for_each(|main| put_instance(1, main, &mut content));
        content.shrink_to_fit();
        let instances = usize::from(main.is_some());
        let reading = Reading { content: content.into(), instances, more: false, position, stamp };
        readings.keep(Asked::Main, service, reading.clone());
        Ok(reading)
    }
}

/// A page of instances as it was read.
struct Page {
    instances: Vec<Instance>,
    /// There are more.
    more: bool,
    position: Position,
}

impl Page {
    fn read(directory: &Directory, selector: &Selector, after: Option<(ServiceName, InstanceId)>, size: usize) -> Self {
        let mut instances = directory.instances(selector, after, size + 1);
        let more = instances.len() > size;
        instances.truncate(size);
        Self { instances, more, position: directory.revision() }
    }

    /// The fields of a `ListInstancesResponse` but the position.
    fn content(&self) -> Bytes {
        let mut content = Vec::with_capacity(self.instances.len() * INSTANCE_BYTES_USUAL);
        for instance in &self.instances {
            put_instance(1, instance, &mut content);
        }
        if let Some(last) = self.instances.last().filter(|_| self.more) {
            prost::encoding::string::encode(2, &token_of(last), &mut content);
        }
        content.shrink_to_fit();
        content.into()
    }
}

fn service_name(text: &str) -> Result<ServiceName, Status> {
    ServiceName::parse(text).map_err(|word| status_of(&invalid(word)))
}

fn page_size(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE_MAX) {
        0 => PAGE_MAX,
        asked => asked.min(PAGE_MAX),
    }
}

/// A page token is the last entry of the page before: `service id`.
fn token_of(instance: &Instance) -> String {
    format!("{} {}", instance.registration.service, instance.id)
}

fn parse_token(token: &str) -> Result<Option<(ServiceName, InstanceId)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token
        .split_once(' ')
        .and_then(|(service, id)| Some((ServiceName::parse(service).ok()?, InstanceId::new(id.parse().ok()?))));
    parsed.map(Some).ok_or_else(|| {
        status_of(&v1::Refusal {
            code: v1::refusal::Code::InvalidArgument.into(),
            message: "the page token is not one of this node's; begin with the first page".into(),
            ..Default::default()
        })
    })
}

fn summary_of(summary: ServiceSummary) -> v1::ServiceSummary {
    v1::ServiceSummary {
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
    }
}
