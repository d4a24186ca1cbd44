//! One node that clients reach over sockets or inside the process, so that the same tests run both ways.

#![allow(unreachable_pub, dead_code, reason = "each test binary uses its own part")]

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use roster_client::queue::{QueueName, QueueStatus};
use roster_client::{Client, Transport};
use roster_embedded::{ENDPOINT, Embedded};
use roster_server::{Dialer, Node, Settings};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Uri};

/// Nothing that a test waits for may take longer; shorter than the time a consumer has for a message
/// unless a test says otherwise, so that nothing is awaited that only a timeout brings about.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

/// Waits for a state that is told by no signal.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// How clients reach the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    OverSockets,
    Inside,
}

/// A node with a directory, and on the way over sockets a port, that stay when it restarts.
pub struct Ground {
    directory: TempDir,
    running: Option<Running>,
    listen: SocketAddr,
    /// Leads to whichever node of this process there is.
    detour: Detour,
}

enum Running {
    Listening(Node),
    Embedded(Embedded),
}

impl Ground {
    pub async fn start(way: Way) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let mut ground = Self { directory: TempDir::new().unwrap(), running: None, listen, detour: Detour::default() };
        ground.run(way).await;
        ground
    }

    async fn run(&mut self, way: Way) {
        let data_dir = self.directory.path().join("data");
        let settings = Settings { listen: self.listen, data_dir, ..Settings::default() };
        self.running = Some(match way {
            Way::OverSockets => {
                let node = Node::start(settings).await.unwrap();
                self.listen = node.listen();
                Running::Listening(node)
            }
            Way::Inside => {
                let node = Embedded::start(settings).await.unwrap();
                *self.detour.0.lock().unwrap() = Some(node.transport().0);
                Running::Embedded(node)
            }
        });
    }

    /// Stops the node in order and starts it again at the same place. Clients are told nothing.
    pub async fn restart(&mut self) {
        let way = match self.running.take().unwrap() {
            Running::Listening(node) => {
                soon("the end of the node", node.shutdown()).await.unwrap();
                Way::OverSockets
            }
            Running::Embedded(node) => {
                soon("the end of the node", node.shutdown()).await.unwrap();
                Way::Inside
            }
        };
        soon("the node", self.run(way)).await;
    }

    pub async fn stop(mut self) {
        match self.running.take().unwrap() {
            Running::Listening(node) => soon("the end of the node", node.shutdown()).await.unwrap(),
            Running::Embedded(node) => soon("the end of the node", node.shutdown()).await.unwrap(),
        }
    }

    /// A client that outlives the node, as one of another process would.
    pub fn client(&self) -> Client {
        let builder = match self.running.as_ref().unwrap() {
            Running::Listening(_) => Client::builder().endpoint(format!("http://{}", self.listen)),
            Running::Embedded(_) => Client::builder().endpoint(ENDPOINT).transport(self.detour.clone()),
        };
        builder.name("test").build().unwrap()
    }
}

/// Reaches the node of the moment.
#[derive(Debug, Clone, Default)]
struct Detour(Arc<Mutex<Option<Dialer>>>);

impl Transport for Detour {
    fn channel(&self, endpoint: &Endpoint) -> Channel {
        let present = self.0.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let dialer = present.lock().unwrap().clone().unwrap();
            async move { Ok::<_, io::Error>(TokioIo::new(dialer.dial().await?)) }
        }))
    }
}

/// What would be another process: its connections break at once when it is killed, and it says nothing.
pub struct Process(Option<Runtime>);

impl Process {
    pub fn start() -> Self {
        Self(Some(Runtime::new().unwrap()))
    }

    /// Runs in it.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        soon("an answer of another process", self.0.as_ref().unwrap().spawn(work)).await.unwrap()
    }

    pub fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

pub async fn status(client: &Client, queue: &QueueName) -> QueueStatus {
    soon("a status", client.queues().get(queue)).await.unwrap()
}

/// Makes of each function that takes a [`Way`] two tests.
macro_rules! each_way {
    ($($name:ident),+ $(,)?) => {
        mod over_sockets {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::ways::Way::OverSockets).await;
            })+
        }

        mod inside {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::ways::Way::Inside).await;
            })+
        }
    };
}
pub(crate) use each_way;
