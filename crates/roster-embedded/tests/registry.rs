//! The registry and the SDK together, over sockets and inside one process.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

mod ways;

use std::time::Duration;

use roster_client::{Announcement, Change, Client, Kind, OfflineReason, Selector, State, Watch, WatchEvent};
use ways::{Ground, Process, Way, each_way, soon, until};

each_way!(
    who_leaves_is_seen_draining_and_then_gone,
    a_restart_of_the_node_is_no_change_for_watchers,
    a_killed_process_is_suspect_and_then_lost,
    a_singleton_is_handed_over,
);

fn announcement(port: u16) -> Announcement {
    Announcement::new("orders", "10.0.0.7", port).unwrap()
}

fn watch(client: &Client) -> Watch {
    client.watch(Selector::parse("orders").unwrap()).start()
}

/// The next change, in a few letters: `up 8080`, `removed 8080 Logout`.
async fn told(watch: &mut Watch) -> String {
    loop {
        let event = soon("a change", watch.next()).await.expect("the watch goes on");
        let WatchEvent::Change(change) = event else { continue };
        let port = |instance: &roster_client::Instance| instance.registration.address.port();
        return match &change {
            Change::Loaded { .. } => "loaded".to_owned(),
            Change::Up(instance) => format!("up {}", port(instance)),
            Change::Suspect(instance) => format!("suspect {}", port(instance)),
            Change::Changed(instance) => format!("changed {}", port(instance)),
            Change::Draining(instance) => format!("draining {}", port(instance)),
            Change::Removed { instance, cause } => {
                let cause = cause.map_or("without a cause".to_owned(), |cause| format!("{cause:?}"));
                format!("removed {} {cause}", port(instance))
            }
            Change::Replaced { .. } => "replaced".to_owned(),
            Change::MainChanged { .. } => continue,
        };
    }
}

async fn who_leaves_is_seen_draining_and_then_gone(way: Way) {
    let ground = Ground::start(way).await;
    let mut watch = watch(&ground.client());
    assert_eq!(told(&mut watch).await, "loaded");
    let registrar = ground.client().registrar().start();
    let handle = registrar.register(announcement(8080));
    assert!(matches!(soon("an answer", handle.settled()).await, State::Active { .. }));
    assert_eq!(told(&mut watch).await, "up 8080");
    soon("to leave", handle.leave()).await.unwrap();
    assert_eq!(told(&mut watch).await, "draining 8080");
    assert_eq!(told(&mut watch).await, "removed 8080 Logout");
    soon("a farewell", registrar.close()).await.unwrap();
    ground.stop().await;
}

async fn a_restart_of_the_node_is_no_change_for_watchers(way: Way) {
    let mut ground = Ground::start(way).await;
    let registrar = ground.client().registrar().start();
    let handle = registrar.register(announcement(8080));
    soon("an answer", handle.settled()).await;
    let client = ground.client();
    let mut watch = watch(&client);
    assert_eq!([told(&mut watch).await, told(&mut watch).await], ["up 8080", "loaded"]);
    ground.restart().await;
    let second = registrar.register(announcement(8081));
    assert!(matches!(soon("an answer", second.settled()).await, State::Active { .. }));
    // Nothing between these but that the state is whole again.
    let next = loop {
        match told(&mut watch).await {
            loaded if loaded == "loaded" => {}
            next => break next,
        }
    };
    assert_eq!(next, "up 8081");
    assert_eq!(watch.view().current().all().count(), 2);
    until("that its session is back", async || {
        let listed = soon("a list", client.list(&Selector::parse("orders").unwrap())).await.unwrap();
        listed.iter().all(|instance| instance.liveness == roster_client::Liveness::Up)
    })
    .await;
    soon("a farewell", registrar.close()).await.unwrap();
    ground.stop().await;
}

async fn a_killed_process_is_suspect_and_then_lost(way: Way) {
    let ground = Ground::start(way).await;
    let mut watch = watch(&ground.client());
    assert_eq!(told(&mut watch).await, "loaded");
    let process = Process::start();
    let client = ground.client();
    let kept = process.run(async move {
        let registrar = client.registrar().grace(Duration::from_millis(100)).start();
        let handle = registrar.register(announcement(8080));
        handle.settled().await;
        (registrar, handle)
    });
    let kept = kept.await;
    assert_eq!(told(&mut watch).await, "up 8080");
    process.kill();
    assert_eq!(told(&mut watch).await, "suspect 8080");
    assert_eq!(told(&mut watch).await, "removed 8080 LostContact");
    drop(kept);
    ground.stop().await;
}

async fn a_singleton_is_handed_over(way: Way) {
    let ground = Ground::start(way).await;
    let (first, second) = (ground.client().registrar().start(), ground.client().registrar().start());
    let leader = |port| announcement(port).kind(Kind::Singleton).handover(Duration::from_secs(60));
    let mut holder = first.register(leader(8080));
    let State::Active { token: Some(held), .. } = soon("an answer", holder.settled()).await else {
        panic!("it does not hold the name")
    };
    let mut newcomer = second.register(leader(8081));
    assert!(matches!(soon("an answer", newcomer.settled()).await, State::Pending { .. }));
    let told = soon("to be told", async {
        loop {
            if let State::Offline { reason, .. } = holder.state() {
                return reason;
            }
            holder.changed().await;
        }
    });
    assert_eq!(told.await, OfflineReason::Handover);
    soon("to leave", holder.leave()).await.unwrap();
    let promoted = soon("the promotion", async {
        loop {
            if let State::Active { token: Some(token), .. } = newcomer.state() {
                return token;
            }
            newcomer.changed().await;
        }
    });
    assert!(promoted.await > held, "the token grows");
    soon("a farewell", first.close()).await.unwrap();
    soon("a farewell", second.close()).await.unwrap();
    ground.stop().await;
}
