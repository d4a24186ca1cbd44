//! Two versions of a service come and go while somebody watches.
//!
//! ```text
//! cargo run -p roster-client --features testing --example register_and_watch [http://127.0.0.1:7400]
//! ```
//! Without an address it brings its own node, in memory. It ends by itself.

use std::error::Error;
use std::time::Duration;

use roster_client::testing::FakeNode;
use roster_client::{Announcement, Change, Client, Selector, State, Watch, WatchEvent};

/// What takes longer than this here is not going well.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(PATIENCE, run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    let node = FakeNode::listen().await?;
    let url = std::env::args().nth(1).unwrap_or_else(|| node.url().to_owned());
    let client = Client::builder().endpoint(url).name("register_and_watch").build()?;

    // Know who serves.
    let mut watch = client.watch(Selector::parse("example/orders")?).start();
    let view = watch.view();
    view.loaded().await?;
    tell_until(&mut watch, |change| matches!(change, Change::Loaded { .. })).await;

    // Be known.
    let registrar = client.registrar().start();
    let old = registrar.register(Announcement::new("example/orders", "127.0.0.1", 8081)?.version(1));
    if let State::Refused(refusal) = old.settled().await {
        return Err(refusal.message.into());
    }
    tell_until(&mut watch, |change| matches!(change, Change::Up(_))).await;

    // A higher version takes over as soon as it is up, and the old one is told to leave.
    let new = registrar.register(Announcement::new("example/orders", "127.0.0.1", 8082)?.version(2));
    new.settled().await;
    if let Some((reason, _)) = old.offline().await {
        println!("version 1 is told to leave: {reason:?}");
    }
    old.leave().await?;
    tell_until(&mut watch, |change| matches!(change, Change::Removed { .. })).await;
    for instance in view.current().all() {
        println!("left: {}:{}", instance.registration.address.host(), instance.registration.address.port());
    }

    // Leave without a failed call: drain, wait for those who watch, deregister; then say goodbye.
    new.leave().await?;
    tell_until(&mut watch, |change| matches!(change, Change::Removed { .. })).await;
    registrar.close().await?;
    println!("the view has {} instances", view.current().all().count());
    Ok(())
}

/// Prints what the watch tells, up to what is awaited.
async fn tell_until(watch: &mut Watch, awaited: impl Fn(&Change) -> bool) {
    while let Some(event) = watch.next().await {
        let WatchEvent::Change(change) = event else { continue };
        match &change {
            Change::Up(instance) => println!("up: version {}", instance.registration.version),
            Change::Draining(instance) => println!("draining: version {}", instance.registration.version),
            Change::Removed { instance, cause } => {
                println!("removed: version {} ({cause:?})", instance.registration.version);
            }
            Change::Suspect(_)
            | Change::Changed(_)
            | Change::MainChanged { .. }
            | Change::Replaced { .. }
            | Change::Loaded { .. } => {}
        }
        if awaited(&change) {
            return;
        }
    }
}
