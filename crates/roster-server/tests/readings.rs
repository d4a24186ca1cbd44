//! What is read of a service is never older than what was told, although most readings are kept ones.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a file of tests")]

mod support;

use roster_proto::v1;
use roster_proto::v1::operation::Operation;
use roster_proto::v1::registry_client::RegistryClient;
use roster_proto::v1::result::Outcome;
use roster_server::Node;
use support::{Session, Watch, member, registry, singleton, soon, start};
use tempfile::tempdir;
use tonic::transport::Channel;

/// Reads a service, and sees that positions do not go back.
struct Reader {
    registry: RegistryClient<Channel>,
    position: u64,
}

impl Reader {
    async fn new(node: &Node) -> Self {
        Self { registry: registry(node).await, position: 0 }
    }

    async fn list(&mut self, service: &str) -> v1::ListInstancesResponse {
        let request = v1::ListInstancesRequest { selector: service.into(), ..Default::default() };
        let answer = self.registry.list_instances(request).await.unwrap().into_inner();
        assert!(answer.position >= self.position, "{} after {}: KR2", answer.position, self.position);
        self.position = answer.position;
        answer
    }

    /// Each instance in a few words. Reads twice: the second time nothing has changed, and both agree.
    async fn read(&mut self, service: &str) -> Vec<String> {
        let (first, second) = (self.list(service).await, self.list(service).await);
        assert_eq!(first.instances, second.instances, "KR2");
        let main = self.registry.get_main(v1::GetMainRequest { service: service.into() }).await.unwrap().into_inner();
        assert!(main.position >= self.position, "KR2");
        if let Some(main) = &main.main {
            assert!(first.instances.contains(main), "KR2");
        }
        let main = main.main.map_or(0, |main| main.id);
        first.instances.iter().map(|instance| words(instance, main)).collect()
    }

    /// As soon as it reads so. Until then it may change between two readings.
    async fn reads(&mut self, service: &str, expected: &[&str]) {
        let reading = async {
            while self.glance(service).await != expected {
                tokio::task::yield_now().await;
            }
        };
        soon(&expected.join(", "), reading).await;
        assert_eq!(self.read(service).await, expected);
    }

    async fn glance(&mut self, service: &str) -> Vec<String> {
        let list = self.list(service).await;
        let main = self.registry.get_main(v1::GetMainRequest { service: service.into() }).await.unwrap().into_inner();
        let main = main.main.map_or(0, |main| main.id);
        list.instances.iter().map(|instance| words(instance, main)).collect()
    }
}

fn words(instance: &v1::Instance, main: u64) -> String {
    let facts = instance.registration.as_ref().unwrap();
    let liveness = match instance.liveness() {
        v1::Liveness::Up => "up",
        v1::Liveness::Unconfirmed => "unconfirmed",
        v1::Liveness::Suspect => "suspect",
        v1::Liveness::Unspecified => "?",
    };
    let mut words = format!("{} {liveness}", facts.port);
    for (so, word) in [
        (instance.pending, " pending"),
        (instance.draining, " draining"),
        (instance.id == main, " main"),
        (facts.weight() != 100, " light"),
    ] {
        words.push_str(if so { word } else { "" });
    }
    words
}

fn drain(instance_id: u64) -> Operation {
    Operation::Drain(v1::DrainInstance { instance_id, deadline_ms: Some(0) })
}

async fn done(session: &mut Session, operation: Operation) {
    let outcome = session.operate(operation).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}

#[tokio::test]
async fn whatever_was_told_is_read() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut reader = Reader::new(&node).await;
    let mut watch = Watch::on(&node, "orders").await;
    let (mut one, mut two) = (Session::open(&node, 60_000).await, Session::open(&node, 60_000).await);
    assert_eq!(reader.read("orders").await, [""; 0]);

    let first = one.up(member("orders", 1)).await;
    assert_eq!(reader.read("orders").await, ["1 up main"]);
    let main = v1::Registration { kind: v1::Kind::Main.into(), ..member("orders", 2) };
    two.up(main.clone()).await;
    assert_eq!(reader.read("orders").await, ["1 up", "2 up main"]);
    one.up(v1::Registration { weight: Some(7), ..member("orders", 1) }).await;
    assert_eq!(reader.read("orders").await, ["1 up light", "2 up main"]);
    done(&mut one, drain(first)).await;
    assert_eq!(reader.read("orders").await, ["1 up draining light", "2 up main"]);
    done(&mut one, Operation::Deregister(v1::Deregister { instance_id: first })).await;
    assert_eq!(reader.read("orders").await, ["2 up main"]);

    let welcome = two.welcome.clone();
    drop(two);
    watch.told_until("suspect StreamClosed").await;
    assert_eq!(reader.read("orders").await, ["2 suspect main"]);
    let two = Session::resume(&node, &welcome).await;
    assert_eq!(reader.read("orders").await, ["2 up main"]);

    let mut brief = Session::open(&node, 200).await;
    brief.up(member("orders", 3)).await;
    assert_eq!(reader.read("orders").await, ["2 up main", "3 up"]);
    drop(brief);
    watch.told_until("removed LostContact").await;
    assert_eq!(reader.read("orders").await, ["2 up main"]);

    drop(two);
    watch.told_until("suspect StreamClosed").await;
    let newcomer = one.up(main).await;
    assert!(newcomer > first, "the place was registered anew");
    assert_eq!(reader.read("orders").await, ["2 up main"]);
    one.up(v1::Registration { version: 2, ..member("orders", 4) }).await;
    assert_eq!(reader.read("orders").await, ["4 up main"]);
    one.goodbye().await;
    assert_eq!(reader.read("orders").await, [""; 0]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_watchers_do_not_see_is_read_too() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut reader = Reader::new(&node).await;
    let (mut holder, mut newcomer) = (Session::open(&node, 60_000).await, Session::open(&node, 60_000).await);
    holder.up(singleton("leader", 1)).await;
    assert_eq!(reader.read("leader").await, ["1 up main"]);
    let waiting = v1::Register { registration: Some(singleton("leader", 2)), handover_ms: 60_000, cutover: None };
    let Outcome::Pending(pending) = newcomer.register_with(waiting.clone()).await else { panic!("it does not wait") };
    assert_eq!(reader.read("leader").await, ["1 up main", "2 up pending"]);
    done(&mut newcomer, drain(pending.instance_id)).await;
    assert_eq!(reader.read("leader").await, ["1 up main", "2 up pending draining"]);
    let welcome = newcomer.welcome.clone();
    drop(newcomer);
    reader.reads("leader", &["1 up main", "2 suspect pending draining"]).await;
    let mut newcomer = Session::resume(&node, &welcome).await;
    assert_eq!(reader.read("leader").await, ["1 up main", "2 up pending draining"]);
    let light = v1::Registration { weight: Some(7), ..singleton("leader", 2) };
    newcomer.register_with(v1::Register { registration: Some(light), ..waiting }).await;
    assert_eq!(reader.read("leader").await, ["1 up main", "2 up pending draining light"]);
    holder.goodbye().await;
    assert_eq!(reader.read("leader").await, ["2 up draining main light"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn after_a_restart_what_is_not_back_is_read_as_unconfirmed() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    session.up(member("orders", 1)).await;
    assert_eq!(Reader::new(&node).await.read("orders").await, ["1 up main"]);
    node.shutdown().await.unwrap();

    let node = start(&directory).await;
    let mut reader = Reader::new(&node).await;
    assert_eq!(reader.read("orders").await, ["1 unconfirmed main"]);
    let _session = Session::resume(&node, &session.welcome).await;
    assert_eq!(reader.read("orders").await, ["1 up main"]);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_page_is_as_long_as_asked_for_also_of_a_service_that_was_read_whole() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    for port in 1..=5 {
        session.up(member("orders", port)).await;
    }
    let mut reader = Reader::new(&node).await;
    assert_eq!(reader.list("orders").await.instances.len(), 5);
    assert_eq!(pages(&mut reader, 2).await, [vec![1, 2], vec![3, 4], vec![5]]);
    node.shutdown().await.unwrap();
}

/// The ports of "orders", page by page.
async fn pages(reader: &mut Reader, page_size: u32) -> Vec<Vec<u32>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListInstancesRequest { selector: "orders".into(), page_size, page_token };
        let page = reader.registry.list_instances(request).await.unwrap().into_inner();
        pages.push(page.instances.into_iter().map(|instance| instance.registration.unwrap().port).collect());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_that_were_read_before_are_read_as_they_are() {
    let directory = tempdir().unwrap();
    let node = start(&directory).await;
    let mut session = Session::open(&node, 60_000).await;
    let mut ids = Vec::new();
    for port in 1..=6 {
        ids.push(session.up(member("orders", port)).await);
    }
    let mut reader = Reader::new(&node).await;
    for _ in 0..2 {
        assert_eq!(pages(&mut reader, 2).await, [vec![1, 2], vec![3, 4], vec![5, 6]]);
        // What begins with the same instance is not of the same length.
        assert_eq!(pages(&mut reader, 4).await, [vec![1, 2, 3, 4], vec![5, 6]]);
        assert_eq!(pages(&mut reader, 1).await, [1, 2, 3, 4, 5, 6].map(|port| vec![port]));
    }
    session.up(member("orders", 7)).await;
    assert_eq!(pages(&mut reader, 2).await, [vec![1, 2], vec![3, 4], vec![5, 6], vec![7]], "KR2");
    done(&mut session, Operation::Deregister(v1::Deregister { instance_id: ids[2] })).await;
    assert_eq!(pages(&mut reader, 2).await, [vec![1, 2], vec![4, 5], vec![6, 7]], "KR2");
    // The last instance of another service's page says where to go on by name.
    for (token, listed) in [("alpha 1", 6), ("zeta 1", 0)] {
        let request =
            v1::ListInstancesRequest { selector: "orders".into(), page_size: 10, page_token: token.to_owned() };
        assert_eq!(reader.registry.list_instances(request).await.unwrap().into_inner().instances.len(), listed);
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_answered_reads_its_change_among_many_who_change_and_read() {
    const SERVICES: u32 = 3;
    let directory = tempdir().unwrap();
    let node = std::sync::Arc::new(start(&directory).await);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6_u32 {
        let node = node.clone();
        tasks.spawn(async move {
            let (mut session, mut reader) = (Session::open(&node, 60_000).await, Reader::new(&node).await);
            for turn in 0..60 {
                let service = format!("service-{}", (task + turn) % SERVICES);
                let port = 1_000 * (task + 1) + turn;
                let Outcome::Active(active) = session.register(member(&service, port)).await else {
                    panic!("it is not active")
                };
                let id = active.instance_id;
                let read = reader.list(&service).await;
                assert!(read.instances.iter().any(|instance| instance.id == id), "{id} is not read: KR2");
                assert!(read.position >= active.position, "KR2");
                done(&mut session, Operation::Deregister(v1::Deregister { instance_id: id })).await;
                let read = reader.list(&service).await;
                assert!(read.instances.iter().all(|instance| instance.id != id), "{id} is still read: KR2");
                assert!(read.instances.is_sorted_by_key(|instance| instance.id));
                assert!(read.instances.iter().all(|instance| instance.id <= read.position), "KR2");
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let node = std::sync::Arc::into_inner(node).unwrap();
    node.shutdown().await.unwrap();
}
