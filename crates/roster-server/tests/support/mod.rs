//! A node on a free port with a directory of its own, and bare gRPC streams to it.

#![allow(clippy::unwrap_used, reason = "a file of tests")]
#![allow(unreachable_pub, clippy::wildcard_enum_match_arm, reason = "shared by tests, which panic at what is left")]
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod held_disk;
pub mod queues;

use std::time::Duration;

use roster_proto::v1;
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use roster_server::{Node, Settings, Span};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Nothing that a test waits for may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

pub fn settings(directory: &TempDir) -> Settings {
    let mut settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
    settings.data_dir = directory.path().join("data");
    settings.sessions.ping_interval = Span(Duration::from_millis(500));
    settings
}

pub async fn start(directory: &TempDir) -> Node {
    Node::start(settings(directory)).await.expect("the node starts")
}

pub async fn channel(node: &Node) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", node.listen())).unwrap();
    soon("a connection", endpoint.connect()).await.unwrap()
}

pub async fn registry(node: &Node) -> RegistryClient<Channel> {
    RegistryClient::new(channel(node).await)
}

/// One session stream over a connection of its own.
pub struct Session {
    pub requests: mpsc::Sender<v1::SessionRequest>,
    pub responses: Streaming<v1::SessionResponse>,
    pub welcome: v1::Welcome,
    next_request: u64,
}

impl Session {
    pub async fn open(node: &Node, grace_ms: u32) -> Self {
        Self::hello(node, v1::Hello { grace_ms: Some(grace_ms), client: "test".into(), ..Default::default() }).await
    }

    pub async fn resume(node: &Node, welcome: &v1::Welcome) -> Self {
        let secret = welcome.secret.clone();
        Self::hello(node, v1::Hello { session_id: welcome.session_id, secret, ..Default::default() }).await
    }

    pub async fn hello(node: &Node, hello: v1::Hello) -> Self {
        let (requests, mut responses) = bare(node, hello).await;
        match soon("a welcome", responses.message()).await.unwrap().unwrap().response {
            Some(Response::Welcome(welcome)) => Self { requests, responses, welcome, next_request: 1 },
            other => panic!("{other:?} is no welcome"),
        }
    }

    pub async fn send(&self, request: Request) {
        self.requests.send(v1::SessionRequest { request: Some(request) }).await.unwrap();
    }

    /// The next message that is no ping; pings are answered.
    pub async fn next(&mut self) -> Option<Response> {
        loop {
            let message = soon("a response", self.responses.message()).await.ok().flatten()?;
            match message.response {
                Some(Response::Ping(ping)) => self.send(Request::Pong(v1::Pong { nonce: ping.nonce })).await,
                response => return response,
            }
        }
    }

    pub async fn operate(&mut self, operation: v1::operation::Operation) -> v1::result::Outcome {
        let request_id = self.next_request;
        self.next_request += 1;
        let operation = v1::Operation { request_id, operation: Some(operation) };
        self.send(Request::Operations(v1::Operations { operations: vec![operation] })).await;
        loop {
            if let Response::Results(results) = self.next().await.expect("the stream goes on") {
                let result = results.results.into_iter().find(|result| result.request_id == request_id);
                if let Some(outcome) = result.and_then(|result| result.outcome) {
                    return outcome;
                }
            }
        }
    }

    pub async fn register(&mut self, registration: v1::Registration) -> v1::result::Outcome {
        self.register_with(v1::Register { registration: Some(registration), ..Default::default() }).await
    }

    pub async fn register_with(&mut self, register: v1::Register) -> v1::result::Outcome {
        self.operate(v1::operation::Operation::Register(register)).await
    }

    /// The instance id of a registration that must become active.
    pub async fn up(&mut self, registration: v1::Registration) -> u64 {
        match self.register(registration).await {
            v1::result::Outcome::Active(active) => active.instance_id,
            other => panic!("{other:?} is not active"),
        }
    }

    pub async fn goodbye(mut self) {
        self.send(Request::Goodbye(v1::Goodbye {})).await;
        while let Some(response) = self.next().await {
            if let Response::Farewell(farewell) = response {
                assert_eq!(farewell.reason(), v1::farewell::Reason::Goodbye);
                return;
            }
        }
        panic!("no farewell");
    }
}

pub async fn bare(node: &Node, hello: v1::Hello) -> (mpsc::Sender<v1::SessionRequest>, Streaming<v1::SessionResponse>) {
    let (requests, outgoing) = mpsc::channel(64);
    requests.send(v1::SessionRequest { request: Some(Request::Hello(hello)) }).await.unwrap();
    let responses = registry(node).await.session(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    (requests, responses)
}

pub fn member(service: &str, port: u32) -> v1::Registration {
    v1::Registration {
        service: service.into(),
        host: "127.0.0.1".into(),
        port,
        kind: v1::Kind::Member.into(),
        ..Default::default()
    }
}

pub fn singleton(service: &str, port: u32) -> v1::Registration {
    v1::Registration { kind: v1::Kind::Singleton.into(), ..member(service, port) }
}

/// One watch stream.
pub struct Watch {
    pub requests: mpsc::Sender<v1::WatchRequest>,
    pub responses: Streaming<v1::WatchResponse>,
    pub epoch: u64,
    waiting: std::collections::VecDeque<(Vec<u64>, v1::EventGroup)>,
}

impl Watch {
    pub async fn open(node: &Node) -> Self {
        let (requests, outgoing) = mpsc::channel(64);
        let responses = registry(node).await.watch(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, responses, epoch: 0, waiting: Default::default() }
    }

    pub async fn on(node: &Node, selector: &str) -> Self {
        let watch = Self::open(node).await;
        watch.subscribe(v1::Subscribe { watch_id: 1, selector: selector.into(), ..Default::default() }).await;
        watch
    }

    pub async fn subscribe(&self, subscribe: v1::Subscribe) {
        let request = v1::WatchRequest { subscribe: vec![subscribe], ..Default::default() };
        self.requests.send(request).await.unwrap();
    }

    pub async fn acknowledge(&self, position: u64) {
        self.requests.send(v1::WatchRequest { acknowledged: position, ..Default::default() }).await.unwrap();
    }

    /// The next group with the watches it is for.
    pub async fn next(&mut self) -> Option<(Vec<u64>, v1::EventGroup)> {
        loop {
            if let Some(next) = self.waiting.pop_front() {
                return Some(next);
            }
            let response = soon("an event", self.responses.message()).await.ok().flatten()?;
            self.epoch = response.epoch;
            self.waiting.extend(response.deliveries.into_iter().map(|d| (d.watch_ids, d.group.unwrap())));
        }
    }

    /// The words of the next group, bookmarks passed over.
    pub async fn told(&mut self) -> Vec<String> {
        loop {
            let (_, group) = self.next().await.expect("the watch goes on");
            let told: Vec<String> = group.events.iter().filter_map(|event| event.event.as_ref()).map(word).collect();
            if told != ["bookmark"] {
                return told;
            }
        }
    }

    /// Everything told up to the group that has this word.
    pub async fn told_until(&mut self, word: &str) -> Vec<String> {
        let telling = async {
            let mut told: Vec<String> = Vec::new();
            while !told.iter().any(|told| told == word) {
                told.extend(self.told().await);
            }
            told
        };
        soon(word, telling).await
    }
}

/// An event in a few letters: `up 4000`, `suspect`, `removed lost-contact`.
pub fn word(event: &v1::event::Event) -> String {
    use v1::event::Event;
    let port = |instance: &v1::Instance| instance.registration.as_ref().map_or(0, |registration| registration.port);
    match event {
        Event::Reset(_) => "reset".into(),
        Event::Loaded(_) => "loaded".into(),
        Event::Bookmark(_) => "bookmark".into(),
        Event::Up(instance) => match instance.liveness() {
            v1::Liveness::Unconfirmed => format!("up {} unconfirmed", port(instance)),
            v1::Liveness::Suspect => format!("up {} suspect", port(instance)),
            v1::Liveness::Up | v1::Liveness::Unspecified => format!("up {}", port(instance)),
        },
        Event::Changed(instance) => format!("changed {}", port(instance)),
        Event::Suspect(suspect) => format!("suspect {:?}", suspect.reason()),
        Event::Draining(_) => "draining".into(),
        Event::MainChanged(changed) if changed.instance_id == 0 => "no main".into(),
        Event::MainChanged(_) => "main".into(),
        Event::Replaced(replaced) => format!("replaced by {}", replaced.instance.as_ref().map_or(0, port)),
        Event::Removed(removed) => format!("removed {:?}", removed.cause()),
        Event::Refused(refusal) => format!("refused {:?}", refusal.code()),
    }
}
