//! A singleton is replaced ten times while a client that knows only its name calls it all the time.
//!
//! ```text
//! cargo run -p roster-client --all-features --example rolling_singleton [http://127.0.0.1:7400]
//! ```
//! Without an address it brings its own node, with a log that is synced, in a temporary directory. It
//! ends by itself, and fails when a call failed or the fencing token did not grow.

mod echo;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use echo::{Echo, ask};
use roster_client::tonic::{Channel, Serving, follow, serve_registered};
use roster_client::{Client, Kind, State};
use roster_server::{Node, Settings};
use tokio::task::JoinSet;
use tonic::service::Routes;

const SERVICE: &str = "example/scheduler";
const ROTATIONS: usize = 10;
const CALLERS: usize = 4;
/// What takes longer than this here is not going well.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(PATIENCE, run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (url, node) = match std::env::args().nth(1) {
        Some(url) => (url, None),
        None => {
            let listen = "127.0.0.1:0".parse()?;
            let settings = Settings { listen, data_dir: directory.path().to_owned(), ..Settings::default() };
            let node = Node::start(settings).await?;
            (format!("http://{}", node.listen()), Some(node))
        }
    };
    // Two clients, as two processes would have: one serves, one calls.
    let serves = Client::builder().endpoint(&url).name("rolling_singleton: serves").build()?;
    let calls = Client::builder().endpoint(&url).name("rolling_singleton: calls").build()?;

    let mut holder = serve(&serves, "number 0").await?;
    let channel = follow(&calls, SERVICE)?;
    println!("{} answers", ask(&channel, 0).await?);
    let mut token = channel.token().ok_or("a singleton has a token")?;
    println!("rotation  0: token {token}");

    let traffic = Traffic::start(&channel);
    for rotation in 1..=ROTATIONS {
        let name = format!("number {rotation}");
        let next = serve(&serves, &name).await?;
        // The node tells the holder to leave: it drains, deregisters and finishes its calls.
        holder.until(std::future::pending()).await?;
        holder = next;
        while ask(&channel, 0).await? != name {}
        let former = std::mem::replace(&mut token, channel.token().ok_or("a singleton has a token")?);
        println!("rotation {rotation:2}: token {token}, {} calls so far", traffic.made());
        if token <= former {
            return Err(format!("the token {token} does not follow {former}").into());
        }
    }
    let (made, failed) = traffic.stop().await;
    holder.until(std::future::ready(())).await?;
    channel.close().await;
    if let Some(node) = node {
        node.shutdown().await?;
    }
    println!("{made} calls, {} failed", failed.len());
    match failed.first() {
        Some(why) => Err(format!("a call failed: {why}").into()),
        None => Ok(()),
    }
}

/// One more instance of the singleton, which waits for the present one to leave.
async fn serve(client: &Client, name: &str) -> Result<Serving, Box<dyn Error>> {
    let serving = serve_registered(client, SERVICE, Routes::new(Echo::new(name)))
        .announce(|announcement| announcement.kind(Kind::Singleton).handover(Duration::from_secs(10)))
        .start()
        .await?;
    match serving.handle().settled().await {
        State::Refused(refusal) => Err(refusal.message.into()),
        State::Waiting | State::Active { .. } | State::Pending { .. } | State::Offline { .. } | State::Ended => {
            Ok(serving)
        }
    }
}

/// Calls all the time, some at once, half of them slow.
struct Traffic {
    made: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    callers: JoinSet<Vec<String>>,
}

impl Traffic {
    fn start(channel: &Channel) -> Self {
        let (made, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (channel, made, over) = (channel.clone(), made.clone(), over.clone());
            callers.spawn(async move {
                let mut failed = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    if let Err(status) = ask(&channel, (caller % 2 * 20) as u64).await {
                        failed.push(status.to_string());
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
                failed
            });
        }
        Self { made, over, callers }
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// The calls that were made, and why some of them failed.
    async fn stop(self) -> (usize, Vec<String>) {
        self.over.store(true, Ordering::Relaxed);
        let failed = self.callers.join_all().await.concat();
        (self.made.load(Ordering::Relaxed), failed)
    }
}
