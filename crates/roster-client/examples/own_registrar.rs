//! A registrar without the SDK: what an SDK in any language sends and hears. Two of them hand a singleton
//! over.
//!
//! ```text
//! cargo run -p roster-client --all-features --example own_registrar [http://127.0.0.1:7400]
//! ```
//! Three things are to be done, and all of them on one stream, `roster.v1.Registry/Session`: open a
//! session, keep its stream (answer pings, hear notices, resume it when it breaks), register. The messages
//! are those of `crates/roster-proto/proto/roster/v1/registry.proto`.
//!
//! Without an address it brings its own node, in a temporary directory. It ends by itself, and fails when
//! the hand-over does not go as told here.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use roster_proto::v1;
use roster_proto::v1::notice::Notice;
use roster_proto::v1::operation::Operation;
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::result::Outcome;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;
use roster_server::{Node, Settings, Span};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// What takes longer than this here is not going well; a node pings a quiet session every 5 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the newcomer waits for the holder to leave; then it takes over all the same.
const HANDOVER: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(PATIENCE, run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (url, node) = match std::env::args().nth(1) {
        Some(url) => (url, None),
        None => {
            let listen = "127.0.0.1:0".parse()?;
            let mut settings = Settings { listen, data_dir: directory.path().to_owned(), ..Settings::default() };
            // So that there is a ping to be seen soon.
            settings.sessions.ping_interval = Span(Duration::from_millis(500));
            let node = Node::start(settings).await?;
            (format!("http://{}", node.listen()), Some(node))
        }
    };

    // Version 1 of the singleton serves.
    let mut first = Session::open(&url, "own_registrar 1").await?;
    let (held, token) = match first.register(leader(8081, 1, 1), Duration::ZERO).await? {
        // Registered and visible. The token is for the resources that the singleton writes to: it grows
        // with each holder, so that they can tell a late write of a former one.
        Outcome::Active(active) => (active.instance_id, active.fencing_token),
        // What is wrong and what to do; `code` is for programs, `message` for people.
        Outcome::Refusal(refusal) => return Err(refusal.message.into()),
        other @ (Outcome::Pending(_) | Outcome::Done(_)) => return Err(format!("unexpected: {other:?}").into()),
    };
    println!("version 1 holds the name: instance {held}, token {token}");
    // Nothing to say: the node asks whether this process is there, and is answered.
    first.answered_a_ping().await?;
    println!("version 1 has answered a ping");

    // Version 2 comes, and waits.
    let mut second = Session::open(&url, "own_registrar 2").await?;
    let waiting = match second.register(leader(8082, 2, 2), HANDOVER).await? {
        // Registered, but not visible yet: `ahead` holds the name and was told to leave.
        Outcome::Pending(pending) if pending.ahead == held => pending.instance_id,
        Outcome::Refusal(refusal) => return Err(refusal.message.into()),
        other @ (Outcome::Active(_) | Outcome::Pending(_) | Outcome::Done(_)) => {
            return Err(format!("unexpected: {other:?}").into());
        }
    };
    println!("version 2 waits: instance {waiting}");

    // The holder hears of it, ends its work, and leaves.
    let deadline = match first.notice(held).await? {
        // It need not leave at once: it is removed at the deadline. 0 says that it is removed already,
        // which is so with every reason but this one and that an operator drains it.
        Notice::Offline(offline) if offline.reason() == v1::offline::Reason::Handover => offline.deadline_ms,
        other @ (Notice::Offline(_) | Notice::Promoted(_)) => return Err(format!("unexpected: {other:?}").into()),
    };
    println!("version 1 is told to leave within {deadline} ms, and says goodbye");
    first.goodbye().await?;

    // That promotes who waits.
    let grown = match second.notice(waiting).await? {
        Notice::Promoted(promoted) => promoted.fencing_token,
        other @ Notice::Offline(_) => return Err(format!("unexpected: {other:?}").into()),
    };
    println!("version 2 holds the name: token {grown}");
    if grown <= token {
        return Err(format!("the token {grown} does not follow {token}").into());
    }

    // A connection breaks, and the session goes on over another one before its grace ends.
    let second = second.resumed(&url).await?;
    let kept = second.kept.iter().any(|instance| instance.id == waiting && instance.fencing_token == grown);
    println!(
        "version 2 has lost its stream and resumed its session; it {} the name",
        if kept { "holds" } else { "lost" }
    );
    if !kept {
        return Err("a resumed session has lost its instance".into());
    }
    second.goodbye().await?;
    if let Some(node) = node {
        node.shutdown().await?;
    }
    Ok(())
}

/// What an instance says about itself.
fn leader(port: u32, version: u64, node_index: u32) -> v1::Registration {
    v1::Registration {
        // Segments joined by `/`; who watches `example/` hears of it, too.
        service: "example/leader".to_owned(),
        // Where others reach it, not where it listens.
        host: "127.0.0.1".to_owned(),
        port,
        kind: v1::Kind::Singleton.into(),
        // A higher version takes the name over, a lower one than that which serves is refused.
        version,
        // The caller's number of this node. Who comes back with the same address, kind and index while
        // its former session is lost takes its own place again, at once.
        node_index,
        // Weight, zone, tags and metadata are for those who call it.
        ..v1::Registration::default()
    }
}

/// A session and its stream.
struct Session {
    requests: mpsc::Sender<v1::SessionRequest>,
    responses: Streaming<v1::SessionResponse>,
    /// What resumes it. The secret comes with the first welcome only, and stays valid.
    id: u64,
    secret: Vec<u8>,
    /// What it owned when its stream began, to be compared with what it shall own.
    kept: Vec<v1::Instance>,
    operations: u64,
    pings: u64,
    /// Notices come when they come: also before the answer that somebody waits for.
    notices: VecDeque<v1::Notice>,
}

impl Session {
    /// A new one. `grace` is how long it may be away before its instances are removed.
    async fn open(url: &str, client: &str) -> Result<Self, Box<dyn Error>> {
        let hello = v1::Hello { grace_ms: Some(3_000), client: client.to_owned(), ..v1::Hello::default() };
        Self::begin(url, hello).await
    }

    /// The same over another connection. A real one tries again and again, with pauses that grow, until its
    /// grace is over; a session that is gone by then is refused, and one opens a new one and registers
    /// everything again.
    async fn resumed(self, url: &str) -> Result<Self, Box<dyn Error>> {
        let hello = v1::Hello { session_id: self.id, secret: self.secret.clone().into(), ..v1::Hello::default() };
        let (secret, operations) = (self.secret.clone(), self.operations);
        drop((self.requests, self.responses));
        let resumed = Self::begin(url, hello).await?;
        Ok(Self { secret, operations, ..resumed })
    }

    /// The first request is `hello`, the first response `welcome`.
    async fn begin(url: &str, hello: v1::Hello) -> Result<Self, Box<dyn Error>> {
        let mut registry = RegistryClient::new(Channel::from_shared(url.to_owned())?.connect().await?);
        let (requests, outgoing) = mpsc::channel(16);
        requests.send(v1::SessionRequest { request: Some(Request::Hello(hello)) }).await?;
        let mut responses = registry.session(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = responses.message().await?.and_then(|first| first.response);
        let Some(Response::Welcome(welcome)) = first else {
            // A farewell says why, for one that the client broke the protocol.
            return Err(format!("no welcome but {first:?}").into());
        };
        let (id, secret, kept) = (welcome.session_id, welcome.secret.to_vec(), welcome.instances);
        Ok(Self { requests, responses, id, secret, kept, operations: 0, pings: 0, notices: VecDeque::new() })
    }

    async fn send(&self, request: Request) -> Result<(), Box<dyn Error>> {
        Ok(self.requests.send(v1::SessionRequest { request: Some(request) }).await?)
    }

    /// The next response. Pings are answered here: whoever registers must read its stream all the time,
    /// for one that does not answer within 5 s is suspect, and lost when its grace ends.
    async fn next(&mut self) -> Result<Response, Box<dyn Error>> {
        let message = self.responses.message().await?.ok_or("the node has ended the stream")?;
        match message.response.ok_or("a response of a kind that this program does not know")? {
            Response::Ping(ping) => {
                self.pings += 1;
                self.send(Request::Pong(v1::Pong { nonce: ping.nonce })).await?;
                Ok(Response::Ping(ping))
            }
            // Kept for whom it concerns.
            Response::Notice(notice) => {
                self.notices.push_back(notice);
                Ok(Response::Notice(notice))
            }
            response @ (Response::Welcome(_)
            | Response::Results(_)
            | Response::DrainProgress(_)
            | Response::Farewell(_)) => Ok(response),
        }
    }

    /// Registers, and waits for the answer: that comes when the registration is on the node's disk.
    async fn register(
        &mut self,
        registration: v1::Registration,
        handover: Duration,
    ) -> Result<Outcome, Box<dyn Error>> {
        self.operations += 1;
        // Comes back with the result: operations may be sent without waiting for those before, in batches.
        let request_id = self.operations;
        let register = v1::Register {
            registration: Some(registration),
            handover_ms: u32::try_from(handover.as_millis())?,
            // How many of a higher version must be up before it takes over; unset leaves it as it is, 1.
            cutover: None,
        };
        let operation = v1::Operation { request_id, operation: Some(Operation::Register(register)) };
        self.send(Request::Operations(v1::Operations { operations: vec![operation] })).await?;
        loop {
            if let Response::Results(results) = self.next().await? {
                let result = results.results.into_iter().find(|result| result.request_id == request_id);
                if let Some(outcome) = result.and_then(|result| result.outcome) {
                    return Ok(outcome);
                }
            }
        }
    }

    /// Waits for the next thing that the node tells about an instance of this session.
    async fn notice(&mut self, instance: u64) -> Result<Notice, Box<dyn Error>> {
        loop {
            while let Some(notice) = self.notices.pop_front() {
                if notice.instance_id == instance {
                    return Ok(notice.notice.ok_or("a notice of a kind that this program does not know")?);
                }
            }
            self.next().await?;
        }
    }

    async fn answered_a_ping(&mut self) -> Result<(), Box<dyn Error>> {
        while self.pings == 0 {
            self.next().await?;
        }
        Ok(())
    }

    /// Everything this session owns is logged out, and watchers are told that it left, not that it is lost.
    async fn goodbye(mut self) -> Result<(), Box<dyn Error>> {
        self.send(Request::Goodbye(v1::Goodbye {})).await?;
        loop {
            // The last message of every stream that the node ends.
            if let Response::Farewell(farewell) = self.next().await? {
                return match farewell.reason() {
                    v1::farewell::Reason::Goodbye => Ok(()),
                    other @ (v1::farewell::Reason::Unspecified
                    | v1::farewell::Reason::ResumedElsewhere
                    | v1::farewell::Reason::Shutdown
                    | v1::farewell::Reason::Expired
                    | v1::farewell::Reason::Protocol
                    | v1::farewell::Reason::TooSlow) => Err(format!("{other:?}: {}", farewell.message).into()),
                };
            }
        }
    }
}
