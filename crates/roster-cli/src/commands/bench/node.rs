//! The node that is measured: one that runs already, or one of the benchmark's own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use roster_client::Client;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::{Channel, Endpoint};

use super::arguments::own_program;
use crate::commands::node;

/// How long a node may take until it serves, and a connection until it stands.
const PATIENCE: Duration = Duration::from_secs(60);
/// Deliveries to many watches of one connection must not wait for window updates.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The node that is measured.
#[derive(Debug)]
pub(super) enum BenchNode {
    /// Runs already, at this address.
    Given(String),
    Own(Box<OwnNode>),
}

/// Where a benchmark starts nodes of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grounds<'a> {
    pub(super) data_dir: Option<&'a Path>,
    pub(super) settings: &'a [String],
}

impl Grounds<'_> {
    /// A node with these settings beside the caller's, which come last and win.
    ///
    /// # Errors
    /// As [`OwnNode::start`].
    pub(super) async fn start(&self, settings: &[&str]) -> anyhow::Result<OwnNode> {
        let mut all: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        all.extend_from_slice(self.settings);
        OwnNode::start(self.data_dir, &all).await
    }
}

impl BenchNode {
    /// SIGKILL; returns when the process is gone.
    ///
    /// # Errors
    /// When it is not a node of the benchmark's own, which is all that may be killed.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.own()?.process.kill().await.context("kill the node")
    }

    /// Starts a killed node on the same folder, at another address; returns when it serves.
    ///
    /// # Errors
    /// As [`Self::kill`], and [`OwnNode::start`].
    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.own()?.start_again().await
    }

    fn own(&mut self) -> anyhow::Result<&mut OwnNode> {
        match self {
            Self::Own(own) => Ok(own),
            Self::Given(url) => bail!("the node at {url} was started by somebody else"),
        }
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Given(url) => url,
            Self::Own(own) => &own.url,
        }
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        node::client(&[self.url().to_owned()])
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// When the address is not one, or the node cannot be reached.
    pub(super) async fn connect(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url().to_owned())
            .with_context(|| format!("{} is no address of a node", self.url()))?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES);
        endpoint.connect().await.with_context(|| format!("connect to {}", self.url()))
    }
}

/// Killed when it is dropped, and its folder removed.
#[derive(Debug)]
pub(super) struct OwnNode {
    url: String,
    process: Child,
    /// Kept open: a node whose standard output is gone could not say good-bye.
    _stdout: BufReader<ChildStdout>,
    settings: Vec<String>,
    folder: TempDir,
}

impl OwnNode {
    /// Starts a node on a free port, in a new folder below `place`.
    ///
    /// # Errors
    /// When it cannot be started, or does not serve in time.
    pub(super) async fn start(place: Option<&Path>, settings: &[String]) -> anyhow::Result<Self> {
        let folder = match place {
            Some(place) => TempDir::with_prefix_in("roster-bench-", place),
            None => TempDir::with_prefix("roster-bench-"),
        };
        let folder = folder.context("make a folder for the node")?;
        let (url, process, stdout) = launch(folder.path(), settings).await?;
        Ok(Self { url, process, _stdout: stdout, settings: settings.to_vec(), folder })
    }

    /// Starts the node on the same folder, at another address.
    ///
    /// # Errors
    /// As [`Self::start`].
    async fn start_again(&mut self) -> anyhow::Result<()> {
        (self.url, self.process, self._stdout) = launch(self.folder.path(), &self.settings).await?;
        Ok(())
    }
}

async fn launch(folder: &Path, settings: &[String]) -> anyhow::Result<(String, Child, BufReader<ChildStdout>)> {
    let mut command = Command::new(own_program()?);
    command.args(["bench", "node", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"]);
    command.arg(folder);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().context("start a node")?;
    let Some(stdout) = process.stdout.take() else { bail!("a node without an output") };
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    let reading = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
    reading.context("the node did not say where it serves")?.context("hear the node")?;
    let url = line.split_whitespace().find(|word| word.starts_with("http://"));
    let Some(url) = url else { bail!("the node did not start; what it said stands above") };
    Ok((url.trim_end_matches(':').to_owned(), process, stdout))
}
