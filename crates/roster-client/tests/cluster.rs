//! A cluster against a node in memory: who is called while members come, go, refuse and break.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{
    Announcement, Change, Client, Cluster, Connect, ConnectError, Handle, Instance, LeastInFlight, Link, NoneUsable,
    Picked, Registrar, Selector, WatchEvent, Weighted, ZoneFirst,
};
use tokio::sync::watch;

/// Of the stopped clock: it costs nothing, and nothing that goes well takes that long.
const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn eventually(mut happened: impl FnMut() -> bool) {
    within(async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Where clients lead to.
#[derive(Debug, Clone, Default)]
struct Network {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    refusing: BTreeSet<u16>,
    attempts: BTreeMap<u16, usize>,
    /// By port; dropped or `true` when broken.
    lines: BTreeMap<u16, Vec<watch::Sender<bool>>>,
    disconnected: usize,
}

#[derive(Debug)]
struct Line {
    port: u16,
    broken: watch::Receiver<bool>,
    open: Arc<AtomicUsize>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Default)]
struct Connector {
    network: Network,
    open: Arc<AtomicUsize>,
    /// Broken clients are only noticed by asking.
    is_mute: Arc<AtomicBool>,
}

impl Connect for Connector {
    type Client = Line;

    async fn connect(&self, instance: &Instance) -> Result<Line, ConnectError> {
        let port = instance.registration.address.port();
        let mut state = self.network.state.lock().unwrap();
        *state.attempts.entry(port).or_default() += 1;
        if state.refusing.contains(&port) {
            return Err("connection refused".into());
        }
        let (sender, broken) = watch::channel(false);
        state.lines.entry(port).or_default().push(sender);
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Line { port, broken, open: self.open.clone() })
    }

    fn is_closed(&self, client: &Line) -> bool {
        *client.broken.borrow()
    }

    async fn closed(&self, client: &Line) -> String {
        if self.is_mute.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let _ = client.broken.clone().wait_for(|broken| *broken).await;
        "reset by peer".to_owned()
    }

    async fn disconnect(&self, _: &Instance, client: Arc<Line>) {
        drop(client);
        self.network.state.lock().unwrap().disconnected += 1;
    }
}

impl Connector {
    fn refuse(&self, port: u16, refuses: bool) {
        let mut state = self.network.state.lock().unwrap();
        if refuses {
            state.refusing.insert(port);
        } else {
            state.refusing.remove(&port);
        }
    }

    fn break_lines(&self, port: u16) {
        let mut state = self.network.state.lock().unwrap();
        state.lines.remove(&port).unwrap_or_default().iter().for_each(|line| {
            line.send_replace(true);
        });
    }

    fn attempts(&self, port: u16) -> usize {
        self.network.state.lock().unwrap().attempts.get(&port).copied().unwrap_or_default()
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

struct Scene {
    node: FakeNode,
    client: Client,
    registrar: Registrar,
    connector: Connector,
}

impl Scene {
    fn new() -> Self {
        let node = FakeNode::in_memory();
        let registrar = client(&node).registrar().start();
        Self { client: client(&node), registrar, connector: Connector::default(), node }
    }

    async fn register(&self, port: u16) -> Handle {
        self.announce(Announcement::new("orders", "10.0.0.7", port).unwrap()).await
    }

    async fn announce(&self, announcement: Announcement) -> Handle {
        let handle = self.registrar.register(announcement);
        within(handle.settled()).await;
        handle
    }

    fn cluster(&self, sticky: u32) -> Cluster<Connector> {
        self.client.cluster("orders", self.connector.clone()).unwrap().sticky(sticky).build()
    }
}

fn client(node: &FakeNode) -> Client {
    node.client_builder().build().unwrap()
}

async fn connected(cluster: &Cluster<Connector>, count: usize) {
    let mut changes = cluster.changes();
    let linked = || cluster.members().iter().filter(|member| member.link == Link::Connected).count();
    within(async {
        while linked() != count || cluster.members().len() != count {
            assert!(changes.changed().await);
        }
    })
    .await;
}

fn port(picked: &Picked<Connector>) -> u16 {
    picked.port
}

fn get(cluster: &Cluster<Connector>) -> u16 {
    port(&cluster.get().unwrap())
}

fn runs(ports: &[u16]) -> Vec<usize> {
    ports.chunk_by(|one, next| one == next).map(<[u16]>::len).collect()
}

#[tokio::test(start_paused = true)]
async fn f52_sixteen_calls_in_a_row_go_to_the_same_member() {
    let scene = Scene::new();
    let _handles = [scene.register(1).await, scene.register(2).await, scene.register(3).await];
    let cluster = scene.cluster(16);
    connected(&cluster, 3).await;
    let ports: Vec<_> = (0..96).map(|_| get(&cluster)).collect();
    assert_eq!(runs(&ports), [16; 6]);
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn f55_nothing_is_watched_or_connected_before_the_first_call() {
    let scene = Scene::new();
    let _handle = scene.register(1).await;
    let cluster = scene.cluster(1);
    let clone = cluster.clone();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((scene.node.watches(), scene.connector.open()), (0, 0));
    assert!(matches!(clone.get(), Err(NoneUsable::NeverReached { .. })));
    assert_eq!(port(&within(cluster.get_or_wait(DEADLINE)).await.unwrap()), 1);
    assert_eq!((scene.node.watches(), scene.connector.open()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn f53_a_closed_client_is_passed_over_at_once() {
    let scene = Scene::new();
    let _handles = [scene.register(1).await, scene.register(2).await];
    let cluster = scene.cluster(1000);
    scene.connector.is_mute.store(true, Ordering::Relaxed);
    connected(&cluster, 2).await;
    let first = get(&cluster);
    scene.connector.refuse(first, true);
    scene.connector.break_lines(first);
    assert_eq!(get(&cluster), 3 - first, "without any await in between");
    scene.connector.refuse(3 - first, true);
    scene.connector.break_lines(3 - first);
    let Err(NoneUsable::Unusable { members, .. }) = cluster.get() else { panic!("somebody is usable") };
    assert!(members.iter().all(|member| matches!(member.link, Link::Closed { .. })), "{members:?}");
}

#[tokio::test(start_paused = true)]
async fn f54_when_the_last_picked_leaves_the_next_call_goes_to_another() {
    let scene = Scene::new();
    let mut handles = vec![scene.register(1).await, scene.register(2).await];
    let cluster = scene.cluster(1000);
    connected(&cluster, 2).await;
    let first = get(&cluster);
    handles.remove(usize::from(first) - 1).deregister().await.unwrap();
    eventually(|| get(&cluster) != first).await;
    connected(&cluster, 1).await;
    eventually(|| scene.connector.open() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn f56_a_dropped_cluster_leaves_no_client_and_no_watch() {
    let scene = Scene::new();
    let _handles = [scene.register(1).await, scene.register(2).await];
    let cluster = scene.cluster(1);
    connected(&cluster, 2).await;
    let mut changes = cluster.changes();
    let picked = cluster.get().unwrap();
    drop(cluster);
    eventually(|| scene.connector.open() == 1 && scene.node.watches() == 0).await;
    drop(picked);
    eventually(|| scene.connector.open() == 0).await;
    while within(changes.changed()).await {}
    assert_eq!(scene.connector.network.state.lock().unwrap().disconnected, 2);
}

#[tokio::test(start_paused = true)]
async fn a_closed_cluster_has_disconnected_everybody() {
    let scene = Scene::new();
    let _handles = [scene.register(1).await, scene.register(2).await];
    let cluster = scene.cluster(1);
    connected(&cluster, 2).await;
    let clone = cluster.clone();
    within(cluster.close()).await;
    assert_eq!(scene.connector.open(), 0);
    assert!(matches!(clone.get_or_wait(DEADLINE).await, Err(NoneUsable::Ended { .. })));
    within(scene.cluster(1).close()).await;
}

#[tokio::test(start_paused = true)]
async fn f48_f49_who_refuses_at_first_joins_later_and_is_checked_once_a_second_at_most() {
    let scene = Scene::new();
    let _handle = scene.register(1).await;
    scene.connector.refuse(1, true);
    let cluster = scene.cluster(1);
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        let why = cluster.get().unwrap_err().to_string();
        if scene.connector.attempts(1) > 1 {
            assert!(why.contains("10.0.0.7:1 (instance"), "{why}");
            assert!(why.contains("times in a row: connection refused"), "{why}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(scene.connector.attempts(1) > 5, "it was not tried again");
    assert!((2..=11).contains(&scene.node.checks_asked()), "{} checks in 10 s", scene.node.checks_asked());
    scene.connector.refuse(1, false);
    assert_eq!(port(&within(cluster.get_or_wait(DEADLINE)).await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_reported_broken_is_made_anew() {
    let scene = Scene::new();
    let _handle = scene.register(1).await;
    let cluster = scene.cluster(1);
    let picked = within(cluster.get_or_wait(DEADLINE)).await.unwrap();
    cluster.report_broken(&picked, "it answered nonsense");
    cluster.report_broken(&picked, "it answered nonsense");
    let why = cluster.get().unwrap_err().to_string();
    assert!(why.contains("closed: it answered nonsense"), "{why}");
    within(cluster.get_or_wait(DEADLINE)).await.unwrap();
    assert_eq!((scene.connector.attempts(1), scene.node.checks_asked()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn none_usable_explains_whether_the_registry_or_the_service_is_missing() {
    let scene = Scene::new();
    scene.node.stop();
    let cluster = scene.cluster(1);
    let none = within(cluster.get_or_wait(Duration::from_secs(1))).await.unwrap_err().to_string();
    assert!(none.starts_with("no node of the registry was reached so far"), "{none}");
    assert!(none.contains("the node is down"), "{none}");
    scene.node.resume();
    let none = || cluster.get().unwrap_err().to_string();
    eventually(|| none() == "no instance of orders is registered").await;
    scene.node.stop();
    eventually(|| none().starts_with("no instance of orders is registered, as was known when the registry was lost"))
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_best_are_called_first() {
    let scene = Scene::new();
    let draining = scene.register(1).await;
    let cluster = scene.cluster(1);
    connected(&cluster, 1).await;
    let drain = draining.drain(Duration::from_secs(5)).await.unwrap();
    within(async {
        let mut drain = drain;
        let progress = drain.finished().await;
        assert_eq!((progress.seen, progress.watchers), (1, 1));
    })
    .await;
    assert_eq!(get(&cluster), 1, "there is nobody else");
    let other = client(&scene.node).registrar().grace(Duration::from_secs(300)).start();
    let up = other.register(Announcement::new("orders", "10.0.0.7", 2).unwrap());
    within(up.settled()).await;
    connected(&cluster, 2).await;
    assert!((0..10).all(|_| get(&cluster) == 2), "new work avoids who drains");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_any_watch_has_told_of_is_heeded_by_the_next_call() {
    let scene = Scene::new();
    let handles = [scene.register(1).await, scene.register(2).await];
    // All watches of a client learn at once, and the older ones are woken before that of the cluster.
    let mut watches = Vec::new();
    for _ in 0..8 {
        let watch = scene.client.watch(Selector::parse("orders").unwrap()).start();
        within(watch.view().loaded()).await.unwrap();
        watches.push(watch);
    }
    let cluster = scene.cluster(1);
    connected(&cluster, 2).await;
    let mut watchers = tokio::task::JoinSet::new();
    for mut watch in watches {
        let cluster = cluster.clone();
        watchers.spawn(async move {
            while !matches!(watch.next().await, Some(WatchEvent::Change(Change::Draining(_)))) {}
            (0..4).all(|_| get(&cluster) == 2)
        });
    }
    let mut draining = handles[0].drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!(within(draining.finished()).await.seen, 1);
    assert!(within(watchers.join_all()).await.into_iter().all(|heeded| heeded));
}

#[tokio::test(start_paused = true)]
async fn members_that_are_gone_after_a_loss_of_the_registry_are_dropped() {
    let scene = Scene::new();
    let _stays = scene.register(1).await;
    let leaves = scene.register(2).await;
    let cluster = scene.cluster(1);
    connected(&cluster, 2).await;
    scene.node.stop();
    assert!(cluster.get().is_ok(), "the registry is not needed for calls");
    let gone = tokio::spawn(leaves.deregister());
    scene.node.resume();
    let _ = within(gone).await;
    connected(&cluster, 1).await;
    assert!((0..4).all(|_| get(&cluster) == 1));
}

#[tokio::test(start_paused = true)]
async fn pickers_see_weight_zone_and_calls_under_way() {
    let scene = Scene::new();
    let orders = |port| Announcement::new("orders", "10.0.0.7", port).unwrap();
    let _one = scene.announce(orders(1).zone("a").weight(0)).await;
    let _two = scene.announce(orders(2).zone("b").weight(1)).await;
    let build = |builder: roster_client::ClusterBuilder<Connector>| builder.build();
    let builder = || scene.client.cluster("orders", scene.connector.clone()).unwrap();

    let weighted = build(builder().picker(Weighted::new()));
    connected(&weighted, 2).await;
    assert!((0..4).all(|_| get(&weighted) == 2), "weight 0 is drained");

    let near = build(builder().picker(ZoneFirst::new("a", LeastInFlight::new())));
    connected(&near, 2).await;
    assert!((0..4).all(|_| get(&near) == 1));

    let least = build(builder().picker(LeastInFlight::new()));
    connected(&least, 2).await;
    let held = [least.get().unwrap(), least.get().unwrap()];
    assert_ne!(port(&held[0]), port(&held[1]));
    let [kept, done] = held;
    drop(done);
    assert!((0..4).all(|_| get(&least) != port(&kept)));
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_is_an_instance_that_cannot_be_reached() {
    let scene = Scene::new();
    let _handle = scene.register(1).await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let connector = roster_client::connect_fn(move |_| {
        let attempt = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            assert!(attempt > 0, "the first attempt panics");
            Ok(())
        }
    });
    let cluster = scene.client.cluster("orders", connector).unwrap().build();
    within(cluster.get_or_wait(DEADLINE)).await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let client = Client::builder().endpoint("http://127.0.0.1:1").build().unwrap();
    assert_eq!(client.cluster("a b", Connector::default()).unwrap_err().what, "service name");
}
