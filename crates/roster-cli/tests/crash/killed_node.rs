//! A node that is killed again and again while 64 processes' worth of registrars register.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use roster_client::{
    Announcement, Change, Client, Connection, Handle, InstanceId, Kind, Registrar, Selector, State, Token,
};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::node::{self, Node};
use crate::{PATIENCE, scale, soon};

const REGISTRARS: u16 = 64;
const LEADER: &str = "leader";

/// Every acknowledgement so far.
#[derive(Clone)]
struct Acknowledged {
    instances: Arc<Mutex<HashMap<InstanceId, Announcement>>>,
    count: watch::Sender<usize>,
    /// How many more may be asked for, or registering would grow without end while a node starts.
    budget: Arc<Semaphore>,
}

/// What goes on beyond the moment of a crash: a node is killed in the middle of something.
const UNDER_WAY: usize = 256;

impl Acknowledged {
    fn note(&self, instance: InstanceId, announcement: Announcement) {
        let mut instances = self.instances.lock().unwrap();
        let double = instances.insert(instance, announcement);
        assert!(double.is_none(), "instance {instance} was given out twice");
        self.count.send_replace(instances.len());
    }
}

/// Registers one instance after the other until the budget is closed, and keeps all of them.
async fn register_on(client: Client, number: u16, acknowledged: Acknowledged) -> Kept {
    let registrar = client.registrar().start();
    let mut handles = Vec::new();
    for port in 1..=u16::MAX {
        let Ok(permit) = acknowledged.budget.acquire().await else { break };
        permit.forget();
        let service = format!("work-{}", port % 10);
        let announcement = Announcement::new(&service, &format!("10.0.0.{number}"), port).unwrap();
        let handle = registrar.register(announcement.clone());
        match soon("an acknowledgement", handle.settled()).await {
            State::Active { instance, .. } => acknowledged.note(instance, announcement),
            other => panic!("{other:?} is not active"),
        }
        handles.push(handle);
    }
    Kept { _handles: handles, registrar }
}

struct Kept {
    _handles: Vec<Handle>,
    registrar: Registrar,
}

/// Hands a singleton over from one registrar to the other until it is told to stop. The tokens, in order.
async fn hand_over(client: Client, other: Client, stop: watch::Receiver<bool>) -> Vec<Token> {
    let registrars = [client.registrar().start(), other.registrar().start()];
    let mut tokens = Vec::new();
    let mut holder: Option<Handle> = None;
    for turn in 1..=u16::MAX {
        if *stop.borrow() {
            break;
        }
        let announcement = Announcement::new(LEADER, "10.0.1.1", turn).unwrap().kind(Kind::Singleton);
        let newcomer = registrars[usize::from(turn % 2)].register(announcement);
        match soon("a hand-over", newcomer.settled()).await {
            State::Active { token: Some(token), .. } => tokens.push(token),
            other => panic!("{other:?} does not hold the name"),
        }
        if let Some(before) = holder.replace(newcomer) {
            soon("the end of the former holder", before.offline()).await;
        }
    }
    tokens
}

/// The session that a new process gets.
async fn new_session(client: &Client) -> u64 {
    let registrar = client.registrar().start();
    let mut connection = registrar.connection();
    let connected = connection.wait_for(|connection| matches!(connection, Connection::Connected { .. }));
    let session = match &*soon("a session", connected).await.unwrap() {
        Connection::Connected { session, .. } => session.get(),
        other => panic!("{other:?}"),
    };
    registrar.close().await.unwrap();
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_nothing_that_it_acknowledged_and_nobody_flaps() {
    let crashes = scale("ROSTER_TEST_CRASHES", 5);
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), &[]);
    let listen = node.listen;
    let ledger = Ledger::open(&node::client(listen)).await;
    let (stop, stopped) = watch::channel(false);
    let (count, mut counted) = watch::channel(0);
    let acknowledged = Acknowledged { instances: Arc::default(), count, budget: Arc::new(Semaphore::new(0)) };
    let mut registrars = JoinSet::new();
    for number in 1..=REGISTRARS {
        registrars.spawn(register_on(node::client(listen), number, acknowledged.clone()));
    }
    let leaders = tokio::spawn(hand_over(node::client(listen), node::client(listen), stopped));

    let mut last_session = 0;
    let mut restarts = Vec::new();
    for crash in 0..crashes {
        // Somewhere between two moments, another one each time; in the middle of all that is under way.
        let more = 1 + usize::try_from((crash * 7919) % 700).unwrap();
        let goal = *counted.borrow() + more;
        acknowledged.budget.add_permits(more + UNDER_WAY);
        soon("more acknowledgements", counted.wait_for(|count| *count >= goal)).await.unwrap();
        let before = acknowledged.instances.lock().unwrap().clone();
        node.kill();
        let start = std::time::Instant::now();
        node = Node::start_at(listen, folder.path(), &[]);
        restarts.push(start.elapsed());
        let present = node.client.list(&Selector::All).await.unwrap();
        let present: HashMap<_, _> = present.into_iter().map(|instance| (instance.id, instance)).collect();
        for (id, announcement) in &before {
            let instance = present.get(id).unwrap_or_else(|| panic!("crash {crash}: instance {id} was lost"));
            assert_eq!(*instance.registration, *announcement.registration(), "crash {crash}");
        }
        let session = new_session(&node.client).await;
        assert!(session > last_session, "session {session} after {last_session}");
        last_session = session;
    }
    stop.send_replace(true);
    acknowledged.budget.close();

    let mut kept = Vec::new();
    while let Some(registrar) = soon("the end of a registrar", registrars.join_next()).await {
        kept.push(registrar.unwrap());
    }
    let tokens = leaders.await.unwrap();
    assert!(tokens.is_sorted_by(|one, next| one < next), "fencing tokens only grow: {tokens:?}");
    assert!(tokens.len() > 1, "the singleton was handed over");

    // Every session has come back, and the watcher knows everything.
    let registered = acknowledged.instances.lock().unwrap().len();
    crate::until("every session is up and seen", || async {
        let view = ledger.view.current();
        let up = view.all().filter(|instance| instance.liveness == roster_client::Liveness::Up);
        up.filter(|instance| instance.registration.service.as_str() != LEADER).count() == registered
    })
    .await;
    let of_the_living = |change: &Change| match change {
        Change::Removed { instance, .. } | Change::Suspect(instance) | Change::Replaced { old: instance, .. } => {
            instance.registration.service.as_str() != LEADER
        }
        Change::Up(instance) | Change::Changed(instance) | Change::Draining(instance) => {
            instance.registration.service.as_str() != LEADER
        }
        Change::MainChanged { .. } | Change::Loaded { .. } => true,
    };
    let flaps: Vec<_> = ledger.losses().into_iter().filter(of_the_living).collect();
    assert!(flaps.is_empty(), "{} flaps, the first {:?}", flaps.len(), flaps.first());
    println!(
        "{crashes} crashes, {registered} registrations acknowledged and none lost, {} hand-overs, no flap; \
         restart {:?} at most",
        tokens.len(),
        restarts.iter().max(),
    );
    for kept in kept {
        tokio::time::timeout(PATIENCE, kept.registrar.close()).await.unwrap().unwrap();
    }
}
