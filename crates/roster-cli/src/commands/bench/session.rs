//! A bare session stream.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use roster_proto::v1::{self, farewell::Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::node::BenchNode;

/// How long the node may take to say goodbye.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(30);
/// Request messages that wait for the connection. A benchmark that hands over more than this waits.
const MESSAGES_WAITING: usize = 64;
/// A welcome names all that the session owns.
const WELCOME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a session is resumed with.
#[derive(Debug, Clone)]
pub(super) struct Name {
    session_id: u64,
    secret: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Session {
    name: Name,
    requests: mpsc::Sender<v1::SessionRequest>,
    responses: Streaming<v1::SessionResponse>,
}

impl Session {
    /// Over a connection of its own.
    ///
    /// # Errors
    /// When the node cannot be reached, or does not welcome it.
    pub(super) async fn open(node: &BenchNode) -> anyhow::Result<Self> {
        Self::open_on(node.connect().await?, None).await
    }

    /// Over a connection that others may use too; without a grace it has the node's.
    ///
    /// # Errors
    /// When the node does not welcome it.
    pub(super) async fn open_on(channel: Channel, grace: Option<Duration>) -> anyhow::Result<Self> {
        let grace_ms = grace.map(|grace| u32::try_from(grace.as_millis()).unwrap_or(u32::MAX));
        let hello = v1::Hello { grace_ms, ..v1::Hello::default() };
        Ok(Self::greet(channel, hello).await?.0)
    }

    /// The session again, and what the node says that it owns.
    ///
    /// # Errors
    /// When the node cannot be reached, or does not know it.
    pub(super) async fn resume(node: &BenchNode, name: Name) -> anyhow::Result<(Self, Vec<v1::Instance>)> {
        let hello =
            v1::Hello { session_id: name.session_id, secret: name.secret.clone().into(), ..v1::Hello::default() };
        let (mut session, welcome) = Self::greet(node.connect().await?, hello).await?;
        ensure!(welcome.resumed, "the session was opened anew");
        session.name = name;
        Ok((session, welcome.instances))
    }

    async fn greet(channel: Channel, hello: v1::Hello) -> anyhow::Result<(Self, v1::Welcome)> {
        let hello = v1::Hello { client: "roster bench".to_owned(), ..hello };
        let (requests, outgoing) = mpsc::channel(MESSAGES_WAITING);
        requests.send(v1::SessionRequest { request: Some(Request::Hello(hello)) }).await.context("say hello")?;
        let mut registry = RegistryClient::new(channel).max_decoding_message_size(WELCOME_BYTES_MAX);
        let opening = registry.session(ReceiverStream::new(outgoing)).await.context("open a session")?;
        let mut responses = opening.into_inner();
        match responses.message().await.context("open a session")?.and_then(|message| message.response) {
            Some(Response::Welcome(welcome)) => {
                let name = Name { session_id: welcome.session_id, secret: welcome.secret.to_vec() };
                Ok((Self { name, requests, responses }, welcome))
            }
            other => bail!("no welcome, but {other:?}"),
        }
    }

    /// The number that the node knows it by.
    pub(super) fn id(&self) -> u64 {
        self.name.session_id
    }

    /// Hands requests over while somebody else reads the answers.
    pub(super) fn hands(&self) -> mpsc::Sender<v1::SessionRequest> {
        self.requests.clone()
    }

    pub(super) fn name(&self) -> Name {
        self.name.clone()
    }

    /// Hands over, without waiting for an answer.
    ///
    /// # Errors
    /// When the stream has ended.
    pub(super) async fn operate(&self, operations: Vec<v1::Operation>) -> anyhow::Result<()> {
        self.send(Request::Operations(v1::Operations { operations })).await
    }

    /// Returns when it is registered. Nothing else may be under way.
    ///
    /// # Errors
    /// When it is refused, or the stream ends.
    pub(super) async fn register_one(&mut self, registration: v1::Registration) -> anyhow::Result<()> {
        self.operate(vec![register(0, registration)]).await?;
        self.results().await?.iter().try_for_each(|result| active(result).map(|_| ()))
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
        Some(v1::result::Outcome::Refusal(refusal)) => {
            // Of several that are refused together only the first has the words.
            bail!("a registration was refused ({}): {}", refusal.code().as_str_name(), refusal.message)
        }
        other => bail!("a registration is not active, but {other:?}"),
    }
}
