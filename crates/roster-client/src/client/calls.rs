//! The calls that are asked and answered once.
//!
//! Each may be made twice without harm, so a call that found no node at one address goes to the next
//! within its deadline.

use std::error::Error as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roster_core::directory::Instance;
use roster_core::{Cutover, InstanceId, Position, Selector, ServiceName, SessionId};
use roster_proto::convert::{encode_cutover, parse_cutover, parse_instance};
use roster_proto::v1;
use tonic::{Code, Response, Status};

use super::{Client, DrainStream};
use crate::endpoint::Lease;
use crate::error::Error;
use crate::stream::Loss;

/// How a node found the session that somebody could not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It answered a ping within the deadline.
    Alive,
    /// It did not: suspect, and removed when its grace ends.
    Suspect,
    /// Restored by a restart of the node and not back yet.
    Unconfirmed,
    /// No such session, or it has no instance of that service.
    Unknown,
}

/// A service in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSummary {
    pub service: ServiceName,
    pub up: u32,
    pub unconfirmed: u32,
    pub suspect: u32,
    pub draining: u32,
    pub pending: u32,
    /// Versions below it are refused.
    pub floor: u64,
    pub cutover: Cutover,
    /// Whether an operator has set the cutover policy.
    pub cutover_by_operator: bool,
    pub main: Option<InstanceId>,
}

impl Client {
    /// The current main of a service, if it has an instance.
    ///
    /// # Errors
    /// Those of every call: [`Error::Unreachable`], [`Error::TimedOut`], [`Error::Refused`] and
    /// [`Error::Failed`].
    pub async fn get_main(&self, service: &ServiceName) -> Result<Option<Instance>, Error> {
        const CALL: &str = "get_main";
        let request = v1::GetMainRequest { service: service.as_str().to_owned() };
        let (endpoint, answer) = self
            .call(CALL, |lease| {
                let (mut registry, request) = (lease.registry(), request.clone());
                async move { registry.get_main(request).await }
            })
            .await?;
        answer.main.as_ref().map(parse_instance).transpose().map_err(|wrong| unintelligible(CALL, endpoint, &wrong))
    }

    /// The instances of what is selected, all pages.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn list(&self, selector: &Selector) -> Result<Vec<Instance>, Error> {
        const CALL: &str = "list";
        let mut instances = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListInstancesRequest { selector: selector.as_str().to_owned(), page_size: 0, page_token };
            let (endpoint, answer) = self
                .call(CALL, |lease| {
                    let (mut registry, request) = (lease.registry(), request.clone());
                    async move { registry.list_instances(request).await }
                })
                .await?;
            for wire in &answer.instances {
                instances.push(parse_instance(wire).map_err(|wrong| unintelligible(CALL, endpoint.clone(), &wrong))?);
            }
            if answer.next_page_token.is_empty() {
                return Ok(instances);
            }
            page_token = answer.next_page_token;
        }
    }

    /// The services whose names begin with `prefix`, which is empty or ends in `/`; all pages.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn services(&self, prefix: &str) -> Result<Vec<ServiceSummary>, Error> {
        const CALL: &str = "services";
        let mut services = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListServicesRequest { prefix: prefix.to_owned(), page_size: 0, page_token };
            let (endpoint, answer) = self
                .call(CALL, |lease| {
                    let (mut registry, request) = (lease.registry(), request.clone());
                    async move { registry.list_services(request).await }
                })
                .await?;
            for wire in answer.services {
                services.push(parse_summary(&wire).map_err(|wrong| unintelligible(CALL, endpoint.clone(), &wrong))?);
            }
            if answer.next_page_token.is_empty() {
                return Ok(services);
            }
            page_token = answer.next_page_token;
        }
    }

    /// Says that an instance of this session cannot be reached; the node asks it for a sign of life.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn check(&self, service: &ServiceName, session: SessionId) -> Result<CheckOutcome, Error> {
        const CALL: &str = "check";
        let request = v1::CheckRequest { service: service.as_str().to_owned(), session_id: session.get() };
        let (endpoint, answer) = self
            .call(CALL, |lease| {
                let (mut registry, request) = (lease.registry(), request.clone());
                async move { registry.check(request).await }
            })
            .await?;
        use v1::check_response::Outcome;
        match answer.outcome() {
            Outcome::Alive => Ok(CheckOutcome::Alive),
            Outcome::Suspect => Ok(CheckOutcome::Suspect),
            Outcome::Unconfirmed => Ok(CheckOutcome::Unconfirmed),
            Outcome::Unknown => Ok(CheckOutcome::Unknown),
            Outcome::Unspecified => {
                let why = format!("outcome {} is not known", answer.outcome);
                Err(Error::Unintelligible { call: CALL, endpoint, why })
            }
        }
    }

    /// Drains an instance as an operator, and tells how many of its watchers have taken that in until
    /// all have or the deadline has passed.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn drain(&self, instance: InstanceId, deadline: Duration) -> Result<DrainStream, Error> {
        let deadline_ms = Some(u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX));
        let request = v1::DrainRequest { instance_id: instance.get(), deadline_ms };
        let (endpoint, stream) = self
            .call("drain", |lease| {
                let (mut registry, request) = (lease.registry(), request);
                async move { registry.drain(request).await }
            })
            .await?;
        Ok(DrainStream::new(stream, endpoint, deadline + self.deadline()))
    }

    /// Sets an operator's cutover policy, which wins over what registrations bring; `None` clears it.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn set_cutover(
        &self,
        service: &ServiceName,
        cutover: Option<Cutover>,
        author: &str,
    ) -> Result<Position, Error> {
        let request = v1::SetCutoverRequest {
            service: service.as_str().to_owned(),
            cutover: cutover.map(encode_cutover),
            author: author.to_owned(),
        };
        let (_, answer) = self
            .call("set_cutover", |lease| {
                let (mut registry, request) = (lease.registry(), request.clone());
                async move { registry.set_cutover(request).await }
            })
            .await?;
        Ok(Position::new(answer.position))
    }

    /// How the node is.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn status(&self) -> Result<v1::GetStatusResponse, Error> {
        let call = |lease: &Lease| {
            let mut admin = lease.admin();
            async move { admin.get_status(v1::GetStatusRequest {}).await }
        };
        Ok(self.call("status", call).await?.1)
    }

    /// Lets those be removed whom the mass-loss guard holds; returns what it held.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn release_guard(&self) -> Result<v1::ReleaseGuardResponse, Error> {
        let call = |lease: &Lease| {
            let mut admin = lease.admin();
            async move { admin.release_guard(v1::ReleaseGuardRequest {}).await }
        };
        Ok(self.call("release_guard", call).await?.1)
    }

    /// Makes the node write a new snapshot and switch to it; returns when that is done, a minute at most.
    ///
    /// # Errors
    /// Those of every call, see [`get_main`](Self::get_main).
    pub async fn rebuild(&self) -> Result<v1::RebuildResponse, Error> {
        const DEADLINE: Duration = Duration::from_secs(60);
        let call = |lease: &Lease| {
            let mut admin = lease.admin();
            async move { admin.rebuild(v1::RebuildRequest {}).await }
        };
        Ok(self.call_within(DEADLINE, "rebuild", call).await?.1)
    }

    /// The answer and who gave it.
    pub(crate) async fn call<T, Answer>(
        &self,
        call: &'static str,
        ask: impl Fn(&Lease) -> Answer,
    ) -> Result<(String, T), Error>
    where
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_within(self.deadline(), call, ask).await
    }

    /// The answer and who gave it. The time is shared out among the addresses that are left, so that
    /// one that swallows everything does not use it up.
    async fn call_within<T, Answer>(
        &self,
        deadline: Duration,
        call: &'static str,
        ask: impl Fn(&Lease) -> Answer,
    ) -> Result<(String, T), Error>
    where
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let until = tokio::time::Instant::now() + deadline;
        let endpoints = &self.inner.endpoints;
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let mut failure = Error::NoEndpoint;
        for tried in 0..endpoints.len() {
            let index = (first + tried) % endpoints.len();
            let endpoint = endpoints[index].url().to_string();
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let share = left / u32::try_from(endpoints.len() - tried).unwrap_or(1);
            let lease = endpoints[index].lease();
            failure = match tokio::time::timeout(share, ask(&lease)).await {
                Ok(Ok(answer)) => {
                    self.inner.preferred.store(index, Ordering::Relaxed);
                    return Ok((endpoint, answer.into_inner()));
                }
                Ok(Err(status)) => {
                    let loss = Loss::from(status.clone());
                    match loss.refusal {
                        Some(refusal) => return Err(Error::Refused { call, endpoint, refusal: Box::new(refusal) }),
                        // A status with a cause was made here, by the connection; a node's has none.
                        None if status.code() == Code::Unavailable || status.source().is_some() => Error::Unreachable {
                            call,
                            endpoints: self.urls(),
                            source: Box::new(Status::unavailable(loss.why)),
                        },
                        None => return Err(Error::Failed { call, endpoint, source: Box::new(status) }),
                    }
                }
                Err(_) => {
                    endpoints[index].discard(&lease);
                    Error::TimedOut { call, endpoint, deadline }
                }
            };
        }
        // Who failed last is not whom the next call should wait for first.
        self.inner.preferred.store((first + 1) % endpoints.len(), Ordering::Relaxed);
        Err(failure)
    }

    fn urls(&self) -> String {
        self.inner.endpoints.iter().map(|endpoint| &**endpoint.url()).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn unintelligible(call: &'static str, endpoint: String, wrong: &v1::Refusal) -> Error {
    Error::Unintelligible { call, endpoint, why: wrong.message.clone() }
}

fn parse_summary(wire: &v1::ServiceSummary) -> Result<ServiceSummary, v1::Refusal> {
    Ok(ServiceSummary {
        service: ServiceName::parse(&wire.service).map_err(roster_proto::convert::invalid)?,
        up: wire.up,
        unconfirmed: wire.unconfirmed,
        suspect: wire.suspect,
        draining: wire.draining,
        pending: wire.pending,
        floor: wire.floor,
        cutover: wire.cutover.as_ref().map(parse_cutover).transpose()?.unwrap_or_default(),
        cutover_by_operator: wire.cutover_by_operator,
        main: (wire.main_instance_id != 0).then(|| InstanceId::new(wire.main_instance_id)),
    })
}
