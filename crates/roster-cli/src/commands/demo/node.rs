//! The node of the demo, which is `roster serve` in a process of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::folder::Folder;
use super::process::Process;

#[derive(Debug)]
pub(super) struct Node {
    process: Process,
    listen: SocketAddr,
    ready_after: Duration,
}

impl Node {
    /// Starts it on a free port of this machine, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come to serving.
    pub(super) async fn start(folder: &Folder) -> anyhow::Result<Self> {
        Self::start_at(folder, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start_at(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Self> {
        let arguments: [OsString; 5] = [
            "node".into(),
            "--listen".into(),
            listen.to_string().into(),
            "--data-dir".into(),
            folder.data().into_os_string(),
        ];
        let began = Instant::now();
        let mut process = Process::start("the node", arguments, folder.log()?)?;
        let line = process.hear("roster ").await?;
        let ready_after = began.elapsed();
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let listen = url.and_then(|url| url.trim_end_matches(':').parse().ok());
        let listen = listen.with_context(|| format!("the node did not say where it serves, but {line:?}"))?;
        Ok(Self { process, listen, ready_after })
    }

    /// Starts it anew where it was, with the data that it had.
    ///
    /// # Errors
    /// When it does not come to serving.
    pub(super) async fn start_again(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Self> {
        Self::start_at(folder, listen).await.context("start the node again")
    }

    /// SIGKILL: nothing is written, answered or said any more. Where it was.
    ///
    /// # Errors
    /// When the operating system does not know it.
    pub(super) async fn kill(self) -> anyhow::Result<SocketAddr> {
        self.process.kill().await?;
        Ok(self.listen)
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// From the start of its process until it said that it serves.
    pub(super) fn ready_after(&self) -> Duration {
        self.ready_after
    }
}
