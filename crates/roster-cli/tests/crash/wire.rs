//! Bare gRPC streams to a node, for what the SDK would smooth over.

use std::net::SocketAddr;

use roster_proto::v1;
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::soon;

pub(crate) async fn connect(listen: SocketAddr) -> RegistryClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{listen}")).unwrap().tcp_nodelay(true);
    RegistryClient::new(soon("a connection", endpoint.connect()).await.unwrap())
}

/// A session over a connection of its own.
pub(crate) struct Session {
    requests: mpsc::Sender<v1::SessionRequest>,
    responses: Streaming<v1::SessionResponse>,
}

impl Session {
    pub(crate) async fn open(listen: SocketAddr, grace_ms: u32) -> Self {
        let (requests, outgoing) = mpsc::channel(1024);
        let hello = v1::Hello { grace_ms: Some(grace_ms), client: "test".into(), ..Default::default() };
        requests.send(v1::SessionRequest { request: Some(Request::Hello(hello)) }).await.unwrap();
        let mut registry = connect(listen).await;
        let mut responses =
            soon("a session", registry.session(ReceiverStream::new(outgoing))).await.unwrap().into_inner();
        let welcome = soon("a welcome", responses.message()).await.unwrap().unwrap().response;
        assert!(matches!(welcome, Some(Response::Welcome(_))), "{welcome:?} is no welcome");
        Self { requests, responses }
    }

    async fn send(&self, request: Request) {
        self.requests.send(v1::SessionRequest { request: Some(request) }).await.unwrap();
    }

    /// Hands over, in one message.
    pub(crate) async fn ask(&self, operations: Vec<v1::Operation>) {
        self.send(Request::Operations(v1::Operations { operations })).await;
    }

    /// The next results; pings are answered. `None` when the stream has ended.
    pub(crate) async fn results(&mut self) -> Option<Vec<v1::Result>> {
        loop {
            match self.responses.message().await.ok()??.response? {
                Response::Results(results) => return Some(results.results),
                Response::Ping(ping) => self.send(Request::Pong(v1::Pong { nonce: ping.nonce })).await,
                Response::Farewell(_) => return None,
                Response::Welcome(_) | Response::Notice(_) | Response::DrainProgress(_) => {}
            }
        }
    }

    /// What one registration came to.
    pub(crate) async fn register(&mut self, registration: v1::Registration) -> v1::result::Outcome {
        self.ask(vec![register(0, registration)]).await;
        let mut results = soon("a result", self.results()).await.expect("the session stands");
        results.pop().unwrap().outcome.unwrap()
    }

    /// The instance of a registration that must become active.
    pub(crate) async fn up(&mut self, registration: v1::Registration) -> u64 {
        match self.register(registration).await {
            v1::result::Outcome::Active(active) => active.instance_id,
            other => panic!("{other:?} is not active"),
        }
    }
}

pub(crate) fn register(request_id: u64, registration: v1::Registration) -> v1::Operation {
    let register = v1::Register { registration: Some(registration), ..Default::default() };
    v1::Operation { request_id, operation: Some(v1::operation::Operation::Register(register)) }
}

pub(crate) fn member(service: &str, port: u32) -> v1::Registration {
    v1::Registration {
        service: service.into(),
        host: "10.0.0.1".into(),
        port,
        kind: v1::Kind::Member.into(),
        ..Default::default()
    }
}

/// One watch on a stream and a connection of its own.
pub(crate) struct Watch {
    _requests: mpsc::Sender<v1::WatchRequest>,
    responses: Streaming<v1::WatchResponse>,
}

impl Watch {
    pub(crate) async fn open(listen: SocketAddr, selector: &str) -> Self {
        let (requests, outgoing) = mpsc::channel(1);
        let subscribe = vec![v1::Subscribe { watch_id: 1, selector: selector.into(), ..Default::default() }];
        requests.send(v1::WatchRequest { subscribe, ..Default::default() }).await.unwrap();
        let mut registry = connect(listen).await;
        let responses = soon("a watch", registry.watch(ReceiverStream::new(outgoing))).await.unwrap().into_inner();
        Self { _requests: requests, responses }
    }

    /// The next events, with the position of each.
    pub(crate) async fn events(&mut self) -> Vec<(u64, v1::event::Event)> {
        let response = self.responses.message().await.unwrap().expect("the watch goes on");
        let groups = response.deliveries.into_iter().map(|delivery| delivery.group.unwrap());
        let events = |group: v1::EventGroup| {
            let position = group.position;
            group.events.into_iter().map(move |event| (position, event.event.unwrap()))
        };
        groups.flat_map(events).collect()
    }
}
