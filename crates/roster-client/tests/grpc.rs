//! tonic clients and servers that know nothing of each other but a name, over real sockets.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

#[path = "../examples/echo/mod.rs"]
mod echo;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use echo::{Echo, ask};
use roster_client::testing::FakeNode;
use roster_client::tonic::{Channel, Ending, Lines, ServeError, Serving, channel, discover, follow, serve_registered};
use roster_client::{
    Announcement, Change, Client, Kind, OfflineReason, Refusal, RefusalCode, Selector, State, WatchEvent,
};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::service::Routes;
use tower::discover::Change as Discovered;

const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn eventually(mut happened: impl AsyncFnMut() -> bool) {
    within(async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().build().unwrap()
}

/// A server that runs until it is told to stop.
struct Member {
    echo: Echo,
    port: u16,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Ending, ServeError>>,
}

impl Member {
    async fn start(client: &Client, name: &str, announce: fn(Announcement) -> Announcement) -> Self {
        let echo = Echo::new(name);
        let builder = serve_registered(client, "echo", Routes::new(echo.clone())).announce(announce);
        let serving = within(builder.start()).await.unwrap();
        within(serving.handle().settled()).await;
        Self::run(serving, echo)
    }

    fn run(serving: Serving, echo: Echo) -> Self {
        let port = serving.local_addr().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(serving.until(async {
            let _ = stopped.await;
        }));
        Self { echo, port, stop, ended }
    }

    async fn stop(self) -> Ending {
        drop(self.stop);
        within(self.ended).await.unwrap().unwrap()
    }
}

fn plain(announcement: Announcement) -> Announcement {
    announcement
}

fn singleton(announcement: Announcement) -> Announcement {
    announcement.kind(Kind::Singleton).handover(Duration::from_secs(10))
}

/// Calls all the time, by some at once.
struct Load {
    done: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    callers: JoinSet<Vec<String>>,
}

impl Load {
    fn start(channel: &Channel, callers: usize) -> Self {
        let (done, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (channel, done, over) = (channel.clone(), done.clone(), over.clone());
            tasks.spawn(async move {
                let mut failed = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    if let Err(status) = ask(&channel, u64::from(caller % 2 == 0)).await {
                        failed.push(status.to_string());
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failed
            });
        }
        Self { done, over, callers: tasks }
    }

    /// Waits until so many further calls were made.
    async fn more(&self, calls: usize) {
        let until = self.done.load(Ordering::Relaxed) + calls;
        eventually(async || self.done.load(Ordering::Relaxed) >= until).await;
    }

    /// The failures.
    async fn stop(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        within(self.callers.join_all()).await.concat()
    }
}

async fn who(channel: &Channel, calls: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..calls {
        names.insert(within(ask(channel, 0)).await.unwrap());
    }
    names
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn a_channel_follows_joins_and_leaves_under_load_without_a_failed_call() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let one = Member::start(&client, "one", plain).await;
    let channel = channel(&client, "echo").unwrap();
    assert_eq!(who(&channel, 3).await, names(["one"]));
    let load = Load::start(&channel, 8);
    load.more(100).await;
    let two = Member::start(&client, "two", plain).await;
    let three = Member::start(&client, "three", plain).await;
    eventually(async || who(&channel, 6).await == names(["one", "two", "three"])).await;
    load.more(100).await;
    for leaver in [one, three] {
        assert_eq!(leaver.stop().await, Ending::Shutdown);
        load.more(100).await;
    }
    assert_eq!(who(&channel, 6).await, names(["two"]));
    assert!(two.echo.answered() > 100);
    assert_eq!(load.stop().await, [""; 0]);
}

#[tokio::test]
async fn a_member_that_refuses_connections_gets_no_call() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let _one = Member::start(&client, "one", plain).await;
    let registrar = client.registrar().start();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let deaf = registrar.register(Announcement::new("echo", "127.0.0.1", free).unwrap());
    within(deaf.settled()).await;
    let channel = channel(&client, "echo").unwrap();
    for _ in 0..100 {
        assert_eq!(within(ask(&channel, 0)).await.unwrap(), "one");
    }
    assert_eq!(channel.cluster().members().len(), 2);
}

#[tokio::test]
async fn a_call_for_which_there_is_nobody_waits_and_then_says_why() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let channel = channel(&client, "echo").unwrap();
    let patient = channel.clone();
    let waiting = tokio::spawn(async move { ask(&patient, 0).await });
    let impatient = ask(&channel.patience(Duration::from_millis(100)), 0).await.unwrap_err();
    assert_eq!((impatient.code(), impatient.message()), (Code::Unavailable, "no instance of echo is registered"));
    let _one = Member::start(&client, "one", plain).await;
    assert_eq!(within(waiting).await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn a_call_ends_at_its_own_deadline() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let channel = channel(&client, "echo").unwrap();
    let mut request = tonic::codegen::http::Request::new(tonic::body::Body::empty());
    request.headers_mut().insert("grpc-timeout", "20m".parse().unwrap());
    let status = within(tower::ServiceExt::oneshot(channel, request)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "no answer within 20ms"));
}

#[tokio::test]
async fn f66_a_singleton_is_followed_through_ten_rotations_without_a_failed_call() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut holder = Member::start(&client, "0", singleton).await;
    let channel = follow(&client, "echo").unwrap();
    assert_eq!(who(&channel, 1).await, names(["0"]));
    let mut token = channel.token().unwrap();
    let load = Load::start(&channel, 4);
    for rotation in 1..=10 {
        let name = rotation.to_string();
        load.more(50).await;
        let next = Member::start(&client, &name, singleton).await;
        let before = next.echo.answered();
        // Nobody stops it but the node.
        let Member { ended, stop: _stop, .. } = std::mem::replace(&mut holder, next);
        assert_eq!(within(ended).await.unwrap().unwrap(), Ending::Offline(OfflineReason::Handover));
        eventually(async || holder.echo.answered() > before).await;
        let now = channel.token().unwrap();
        assert!(now > token, "{now} does not follow {token}");
        token = now;
    }
    assert_eq!(who(&channel, 3).await, names(["10"]));
    assert_eq!(load.stop().await, [""; 0]);
}

#[tokio::test]
async fn a_killed_member_costs_at_most_the_calls_that_it_had() {
    const CALLERS: usize = 4;
    let node = FakeNode::in_memory();
    let client = client(&node);
    let _one = Member::start(&client, "one", plain).await;
    // A process of its own, as far as sockets and streams go.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let two = {
        let client = client.clone();
        process.spawn(async move { Member::start(&client, "two", plain).await })
    };
    let _two = within(two).await.unwrap();
    let channel = channel(&client, "echo").unwrap();
    eventually(async || who(&channel, 4).await.len() == 2).await;
    let load = Load::start(&channel, CALLERS);
    load.more(100).await;
    process.shutdown_background();
    load.more(200).await;
    let failed = load.stop().await;
    assert!(failed.len() <= CALLERS, "{failed:?}");
    assert!(failed.iter().all(|why| why.contains("was lost")), "{failed:?}");
    assert_eq!(who(&channel, 4).await, names(["one"]));
    assert!(node.checks_asked() <= 1, "{}", node.checks_asked());
}

#[tokio::test]
async fn it_registers_when_it_accepts_and_answers_from_the_first_moment_on() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let mut watch = client.watch(Selector::All).start();
    let member = tokio::spawn({
        let client = client.clone();
        async move { Member::start(&client, "one", plain).await }
    });
    let up = within(async {
        loop {
            if let Some(WatchEvent::Change(Change::Up(instance))) = watch.next().await {
                break instance;
            }
        }
    })
    .await;
    let address = &up.registration.address;
    TcpStream::connect((address.host(), address.port())).await.unwrap();
    assert_eq!(who(&channel(&client, "echo").unwrap(), 1).await, names(["one"]));
    let member = within(member).await.unwrap();
    assert_eq!(member.port, address.port());
}

#[tokio::test]
async fn on_shutdown_it_drains_finishes_its_calls_and_says_goodbye() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let member = Member::start(&client, "one", plain).await;
    let port = member.port;
    let mut watch = client.watch(Selector::All).start();
    let channel = channel(&client, "echo").unwrap();
    who(&channel, 1).await;
    let slow = tokio::spawn({
        let channel = channel.clone();
        async move { ask(&channel, 600).await }
    });
    eventually(async || member.echo.asked() == 2).await;
    let connected = node.sessions_connected();
    assert_eq!(member.stop().await, Ending::Shutdown);
    assert_eq!(within(slow).await.unwrap().unwrap(), "one", "a call under way ends well");
    let mut seen = Vec::new();
    within(async {
        while seen.len() < 2 {
            match watch.next().await {
                Some(WatchEvent::Change(Change::Draining(_))) => seen.push("draining"),
                Some(WatchEvent::Change(Change::Removed { .. })) => seen.push("removed"),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(seen, ["draining", "removed"]);
    assert_eq!(node.sessions_connected(), connected - 1, "its session is closed");
    TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
}

#[tokio::test]
async fn a_call_that_chose_its_member_before_it_left_is_answered() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let member = Member::start(&client, "one", plain).await;
    let cluster = client.cluster("echo", Lines).unwrap().build();
    let line = {
        let picked = within(cluster.get_or_wait(DEADLINE)).await.unwrap();
        roster_client::tonic::Line::clone(&picked)
    };
    let ended = tokio::spawn(member.stop());
    eventually(async || cluster.members().is_empty()).await;
    assert_eq!(within(ask(&line, 0)).await.unwrap(), "one");
    within(ended).await.unwrap();
    let late = within(ask(&line, 0)).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    assert!(late.message().ends_with("is closed"), "{late}");
}

#[tokio::test]
async fn a_member_that_takes_no_more_requests_costs_none() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    // It closes without a word to the registry, and a call under way keeps its connection.
    let echo = Echo::new("one");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tonic::transport::Server::builder().add_routes(Routes::new(echo.clone()));
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tokio::spawn(server.serve_with_incoming_shutdown(incoming, async {
        let _ = stopped.await;
    }));
    let registrar = client.registrar().start();
    let _one = registrar.register(Announcement::new("echo", "127.0.0.1", port).unwrap());
    let channel = channel(&client, "echo").unwrap();
    who(&channel, 1).await;
    let slow = tokio::spawn({
        let channel = channel.clone();
        async move { ask(&channel, 1000).await }
    });
    eventually(async || echo.asked() == 2).await;
    let two = Member::start(&client, "two", plain).await;
    eventually(async || who(&channel, 4).await.contains("two")).await;
    drop(stop);
    eventually(async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    // What meets the closing connection goes to the other one; `who` fails when a call does.
    eventually(async || who(&channel, 4).await == names(["two"])).await;
    assert!(two.echo.answered() >= 4);
    assert_eq!(within(slow).await.unwrap().unwrap(), "one");
    within(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_ends_the_server_with_what_is_wrong() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let refusal = Refusal {
        code: RefusalCode::InvalidName.into(),
        message: "the name is reserved".to_owned(),
        ..Default::default()
    };
    node.refuse_next(refusal);
    let serving = serve_registered(&client, "echo", Routes::new(Echo::new("one"))).start().await.unwrap();
    let state = within(serving.handle().settled()).await;
    assert!(matches!(state, State::Refused(_)), "{state:?}");
    let served = within(serving.until(std::future::pending())).await;
    let error = served.unwrap_err().to_string();
    assert_eq!(error, "the registration of echo is refused: the name is reserved");
}

#[tokio::test]
async fn what_cannot_be_served_is_said_before_anything_is_registered() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let routes = || Routes::new(Echo::new("one"));
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let error = serve_registered(&client, "echo", routes()).listen(&listen).start().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {listen}"));
    let error = serve_registered(&client, "a b", routes()).start().await.unwrap_err();
    assert!(matches!(error, ServeError::InvalidWord(_)));
    let wrong = serve_registered(&client, "echo", routes()).announce(|echo| echo.tag(""));
    assert!(matches!(wrong.start().await.unwrap_err(), ServeError::InvalidWord(_)));
    assert_eq!(node.registrations_asked(), 0);
}

#[tokio::test]
async fn it_advertises_the_address_by_which_it_reaches_the_registry() {
    let node = FakeNode::listen().await.unwrap();
    let client = Client::builder().endpoint(node.url()).build().unwrap();
    let serving =
        serve_registered(&client, "echo", Routes::new(Echo::new("one"))).listen("0.0.0.0:0").start().await.unwrap();
    within(serving.handle().settled()).await;
    let service = roster_client::ServiceName::parse("echo").unwrap();
    let main = client.get_main(&service).await.unwrap().unwrap();
    assert_eq!(main.registration.address.to_string(), format!("127.0.0.1:{}", serving.local_addr().port()));
    let member = Member::run(serving, Echo::new("one"));
    member.stop().await;
    let serving = serve_registered(&client, "echo", Routes::new(Echo::new("one")))
        .advertise_host("orders.example")
        .advertise_port(443);
    let serving = serving.start().await.unwrap();
    within(serving.handle().settled()).await;
    let main = client.get_main(&service).await.unwrap().unwrap();
    assert_eq!(main.registration.address.to_string(), "orders.example:443");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn f56_a_dropped_channel_leaves_no_connection() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let member = Member::start(&client, "one", plain).await;
    let channel = channel(&client, "echo").unwrap();
    who(&channel, 2).await;
    assert_eq!(sockets_to(member.port), 1);
    drop(channel);
    eventually(async || sockets_to(member.port) == 0 && node.watches() == 0).await;
}

/// Connections of this host to a port, as the system counts them.
#[cfg(target_os = "linux")]
fn sockets_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(2).is_some_and(|to| to.ends_with(&remote)) && fields.get(3) == Some(&"01")
    };
    table.lines().filter(is_open).count()
}

#[tokio::test]
async fn discover_tells_who_takes_new_work() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let registrar = client.registrar().start();
    let orders = |port| Announcement::new("orders", "10.0.0.7", port).unwrap();
    let one = registrar.register(orders(1));
    within(one.settled()).await;
    let port = |instance: &roster_client::Instance| instance.registration.address.port();
    let mut discovered = discover(&client, "orders", port).unwrap();
    let mut next = async || match within(discovered.next()).await.unwrap().unwrap() {
        Discovered::Insert(id, port) => (id, Some(port)),
        Discovered::Remove(id) => (id, None),
    };
    let (first, port) = next().await;
    assert_eq!(port, Some(1));
    let two = registrar.register(orders(2));
    within(two.settled()).await;
    let (second, port) = next().await;
    assert_eq!(port, Some(2));
    within(one.drain(DEADLINE)).await.unwrap();
    assert_eq!(next().await, (first, None), "who drains takes no new work");
    two.deregister().await.unwrap();
    assert_eq!(next().await, (second, None));
    node.kill_connections();
    let three = registrar.register(orders(3));
    within(three.settled()).await;
    assert_eq!(next().await.1, Some(3));
}

#[tokio::test]
async fn a_cluster_of_lines_becomes_a_channel_with_its_picker() {
    let node = FakeNode::in_memory();
    let client = client(&node);
    let _one = Member::start(&client, "one", plain).await;
    let _two = Member::start(&client, "two", plain).await;
    let channel = Channel::from(client.cluster("echo", Lines).unwrap().sticky(1000).build());
    assert_eq!(who(&channel, 20).await.len(), 1, "sticky");
}
