//! A bare session stream over a connection of its own.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use roster_proto::v1::{self, farewell::Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::node::BenchNode;

/// How long the node may take to say goodbye.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(30);
/// Request messages that wait for the connection. A benchmark that hands over more than this waits.
const MESSAGES_WAITING: usize = 64;

#[derive(Debug)]
pub(super) struct Session {
    requests: mpsc::Sender<v1::SessionRequest>,
    responses: Streaming<v1::SessionResponse>,
}

impl Session {
    /// # Errors
    /// When the node cannot be reached, or does not welcome it.
    pub(super) async fn open(node: &BenchNode) -> anyhow::Result<Self> {
        let (requests, outgoing) = mpsc::channel(MESSAGES_WAITING);
        let hello = v1::Hello { client: "roster bench".to_owned(), ..v1::Hello::default() };
        requests.send(v1::SessionRequest { request: Some(Request::Hello(hello)) }).await.context("say hello")?;
        let mut registry = RegistryClient::new(node.connect().await?);
        let opening = registry.session(ReceiverStream::new(outgoing)).await.context("open a session")?;
        let mut responses = opening.into_inner();
        match responses.message().await.context("open a session")?.and_then(|message| message.response) {
            Some(Response::Welcome(_)) => Ok(Self { requests, responses }),
            other => bail!("no welcome, but {other:?}"),
        }
    }

    /// Hands over, without waiting for an answer.
    ///
    /// # Errors
    /// When the stream has ended.
    pub(super) async fn operate(&self, operations: Vec<v1::Operation>) -> anyhow::Result<()> {
        self.send(Request::Operations(v1::Operations { operations })).await
    }

    async fn send(&self, request: Request) -> anyhow::Result<()> {
        self.requests.send(v1::SessionRequest { request: Some(request) }).await.context("the session has ended")
    }

    /// The next results; pings are answered meanwhile.
    ///
    /// # Errors
    /// When the stream ends.
    pub(super) async fn results(&mut self) -> anyhow::Result<Vec<v1::Result>> {
        loop {
            match self.next().await? {
                Response::Results(results) => return Ok(results.results),
                Response::Farewell(farewell) => bail!("the node ended the session: {}", farewell.message),
                Response::Welcome(_) | Response::Ping(_) | Response::Notice(_) | Response::DrainProgress(_) => {}
            }
        }
    }

    /// Everything that it registered is logged out when this returns.
    ///
    /// # Errors
    /// When the node did not say goodbye in time; then the session ends after its grace.
    pub(super) async fn goodbye(mut self) -> anyhow::Result<()> {
        self.send(Request::Goodbye(v1::Goodbye {})).await?;
        let farewell = async {
            loop {
                if let Response::Farewell(farewell) = self.next().await? {
                    ensure!(farewell.reason() == Reason::Goodbye, "a farewell, but {:?}", farewell.reason());
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(FAREWELL_PATIENCE, farewell).await.context("no farewell came")?
    }

    async fn next(&mut self) -> anyhow::Result<Response> {
        let message = self.responses.message().await.context("the session has ended")?;
        let Some(response) = message.context("the session has ended")?.response else {
            bail!("the node says what this program does not know");
        };
        if let Response::Ping(ping) = &response {
            self.send(Request::Pong(v1::Pong { nonce: ping.nonce })).await?;
        }
        Ok(response)
    }
}

/// To register one member.
pub(super) fn register(request_id: u64, registration: v1::Registration) -> v1::Operation {
    let register = v1::Register { registration: Some(registration), ..v1::Register::default() };
    v1::Operation { request_id, operation: Some(v1::operation::Operation::Register(register)) }
}

/// # Errors
/// When it was refused, or is not visible.
pub(super) fn active(result: &v1::Result) -> anyhow::Result<u64> {
    match &result.outcome {
        Some(v1::result::Outcome::Active(active)) => Ok(active.instance_id),
        Some(v1::result::Outcome::Refusal(refusal)) => bail!("a registration was refused: {}", refusal.message),
        other => bail!("a registration is not active, but {other:?}"),
    }
}
