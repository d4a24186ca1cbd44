//! Producers of logs and their collectors find each other by name, in both directions.
//!
//! ```text
//! cargo run -p roster-client --all-features --example log_collection [http://127.0.0.1:7400]
//! ```
//! *Pull*: producers register themselves, and collectors follow the stream of each. *Push*: collectors
//! register themselves, and producers bring their lines to each. Either way every collector gets every
//! line that the ring of a producer still keeps, once, whoever starts first, restarts or goes.
//!
//! Without an address it brings its own node, in a temporary directory. It ends by itself, and fails when
//! a collector lacks a line or got one twice.

mod logs;

use std::error::Error;
use std::time::Duration;

use logs::{Book, Collecting, Producing, Pull, Push, Ring, Writer, ring};
use roster_client::tonic::{Serving, serve_registered};
use roster_client::{Client, Cluster};
use roster_server::{Node, Settings};
use tokio::sync::watch;
use tonic::service::Routes;

/// What takes longer than this here is not going well.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a server takes calls after it has left.
const LINGER: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
enum Pattern {
    Pull,
    Push,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
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
    for pattern in [Pattern::Pull, Pattern::Push] {
        let late = |_| format!("{pattern:?}: a collector lacks lines after {PATIENCE:?}");
        tokio::time::timeout(PATIENCE, run(pattern, &url)).await.map_err(late)??;
    }
    if let Some(node) = node {
        node.shutdown().await?;
    }
    Ok(())
}

async fn run(pattern: Pattern, url: &str) -> Result<(), Box<dyn Error>> {
    // Each with a client of its own, as in a process of its own.
    let books = [Book::default(), Book::default()];
    let mut rings = Vec::new();

    // A collector is there before any producer.
    let first = Collector::start(pattern, url, &books[0]).await?;
    let orders = Producer::start(pattern, url, "orders", &mut rings).await?;
    orders.write(40);
    all_there(&books[..1], &rings).await;

    // A producer writes before it is known, and more than its ring keeps while the only collector is away.
    first.stop().await?;
    let billing = Producer::start(pattern, url, "billing", &mut rings).await?;
    billing.write(100);
    orders.write(10);

    // The collector comes back to where it was, and another one joins.
    let first = Collector::start(pattern, url, &books[0]).await?;
    let second = Collector::start(pattern, url, &books[1]).await?;
    all_there(&books, &rings).await;

    // A producer restarts: what it wrote at last is collected, and it begins anew elsewhere.
    orders.write(5);
    orders.leave().await?;
    let orders = Producer::start(pattern, url, "orders", &mut rings).await?;
    orders.write(20);
    all_there(&books, &rings).await;

    // Collectors restart one after the other under traffic.
    first.stop().await?;
    billing.write(15);
    let first = Collector::start(pattern, url, &books[0]).await?;
    second.stop().await?;
    orders.write(15);
    let second = Collector::start(pattern, url, &books[1]).await?;
    all_there(&books, &rings).await;

    // Producers go, collectors last.
    billing.write(5);
    billing.leave().await?;
    orders.leave().await?;
    all_there(&books, &rings).await;
    first.stop().await?;
    second.stop().await?;
    report(pattern, &books)
}

/// Waits until each collector has what the rings keep.
async fn all_there(books: &[Book], rings: &[Ring]) {
    for book in books {
        for ring in rings {
            book.has_all_of(ring).await;
        }
    }
}

fn report(pattern: Pattern, books: &[Book]) -> Result<(), Box<dyn Error>> {
    println!("{pattern:?}\n  collector  producer  run  lines  gone before  twice");
    let mut twice = 0;
    for (collector, book) in books.iter().enumerate() {
        let (mut of, mut run) = (String::new(), 0);
        for ((producer, _), page) in book.pages() {
            run = if of == producer { run + 1 } else { 1 };
            let (lines, missed) = (page.lines.len(), page.missed());
            println!("  {:<9}  {producer:<8}  {run:>3}  {lines:>5}  {missed:>11}  {:>5}", collector + 1, page.twice);
            (of, twice) = (producer, twice + page.twice);
        }
    }
    if twice == 0 { Ok(()) } else { Err(format!("{pattern:?}: {twice} lines came twice").into()) }
}

/// Something that writes a log.
struct Producer {
    lines: Writer,
    bringing: Bringing,
}

/// How the lines of a producer leave it.
enum Bringing {
    /// It is registered and asked for them.
    Pulled(Serving),
    /// It finds the collectors; the other field tells when it has brought everything.
    Pushed(Cluster<Push>, watch::Sender<()>),
}

impl Producer {
    async fn start(pattern: Pattern, url: &str, name: &str, rings: &mut Vec<Ring>) -> Result<Self, Box<dyn Error>> {
        let client = Client::builder().endpoint(url).name(format!("log producer {name}")).build()?;
        let (lines, ring) = ring(name);
        rings.push(ring.clone());
        let bringing = match pattern {
            Pattern::Pull => {
                let name = name.to_owned();
                let serving = serve_registered(&client, "example/log-producers", Routes::new(Producing(ring)))
                    .announce(move |announcement| announcement.metadata("producer", &name))
                    .linger(LINGER);
                Bringing::Pulled(serving.start().await?)
            }
            Pattern::Push => {
                let (left, busy) = watch::channel(());
                let collectors = client.cluster("example/log-collectors", Push { ring, busy })?.build();
                // The first question starts the search.
                let _ = collectors.changes();
                Bringing::Pushed(collectors, left)
            }
        };
        Ok(Self { lines, bringing })
    }

    fn write(&self, lines: usize) {
        for line in 1..=lines {
            self.lines.write(format!("line {line} of {lines}"));
        }
    }

    /// Ends its log, and leaves when whoever follows it has the end.
    async fn leave(self) -> Result<(), Box<dyn Error>> {
        drop(self.lines);
        match self.bringing {
            Bringing::Pulled(serving) => {
                serving.until(std::future::ready(())).await?;
            }
            Bringing::Pushed(collectors, left) => {
                // The connector holds one end itself, and each worker one more.
                while left.receiver_count() > 1 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                collectors.close().await;
            }
        }
        Ok(())
    }
}

/// Something that gathers the logs of all producers.
enum Collector {
    /// It finds the producers; the other field ends its streams.
    Pulls(Cluster<Pull>, watch::Sender<()>),
    /// It is registered, and lines are brought to it.
    IsPushedTo(Serving),
}

impl Collector {
    async fn start(pattern: Pattern, url: &str, book: &Book) -> Result<Self, Box<dyn Error>> {
        let client = Client::builder().endpoint(url).name("log collector").build()?;
        match pattern {
            Pattern::Pull => {
                let (end, stop) = watch::channel(());
                let producers = client.cluster("example/log-producers", Pull { book: book.clone(), stop })?.build();
                // The first question starts the search.
                let _ = producers.changes();
                Ok(Self::Pulls(producers, end))
            }
            Pattern::Push => {
                let routes = Routes::new(Collecting(book.clone()));
                let serving = serve_registered(&client, "example/log-collectors", routes).linger(LINGER);
                Ok(Self::IsPushedTo(serving.start().await?))
            }
        }
    }

    async fn stop(self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Pulls(producers, end) => {
                drop(end);
                producers.close().await;
            }
            Self::IsPushedTo(serving) => {
                serving.until(std::future::ready(())).await?;
            }
        }
        Ok(())
    }
}
