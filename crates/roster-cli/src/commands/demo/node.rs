//! A node of the demo, which is `roster serve` in a process of its own: the registry, or one that has
//! itself registered as a member of a service of queues.

use std::ffi::OsString;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use roster_core::Address;
use rustix::process::Signal;

use super::folder::Folder;
use super::process::Process;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long a member that leaves gives its consumers.
const LEAVE_WITHIN: &str = "5s";

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
        Self::start_at(folder, ANY_PORT).await
    }

    async fn start_at(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with("the node".to_owned(), folder.data(), listen, Vec::new(), folder.log()?).await
    }

    /// Starts one that keeps queues and joins `service` by itself: as that number, with a directory of its
    /// own, which is that of the one before it under this number. It serves then, but may not be
    /// registered yet.
    ///
    /// # Errors
    /// When it does not come to serving.
    pub(super) async fn start_member(
        folder: &Folder,
        number: usize,
        listen: Option<SocketAddr>,
        registry: &str,
        service: &str,
    ) -> anyhow::Result<Self> {
        let number_said = number.to_string();
        let joins = [
            ["--join", registry],
            ["--service", service],
            ["--node-index", &number_said],
            ["--leave-within", LEAVE_WITHIN],
        ];
        let joins = joins.into_iter().flatten().map(OsString::from).collect();
        let listen = listen.unwrap_or(ANY_PORT);
        let what = format!("member {number} of {service}");
        Self::start_with(what, folder.member_data(number), listen, joins, folder.log()?).await
    }

    async fn start_with(
        what: String,
        data: PathBuf,
        listen: SocketAddr,
        more: Vec<OsString>,
        log: File,
    ) -> anyhow::Result<Self> {
        let mut arguments: Vec<OsString> = vec!["node".into(), "--listen".into(), listen.to_string().into()];
        arguments.extend(["--data-dir".into(), data.into_os_string()]);
        arguments.extend(more);
        let began = Instant::now();
        let mut process = Process::start(what.clone(), arguments, log)?;
        let line = process.hear("roster ").await?;
        let ready_after = began.elapsed();
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let listen = url.and_then(|url| url.trim_end_matches(':').parse().ok());
        let listen = listen.with_context(|| format!("{what} did not say where it serves, but {line:?}"))?;
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

    /// SIGTERM, to those who shall stop at the same time.
    ///
    /// # Errors
    /// When it has ended before.
    pub(super) fn ask_to_stop(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Whether it ended well, once it has.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(super) async fn ended(mut self) -> anyhow::Result<bool> {
        Ok(self.process.ended().await?.success())
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    /// What it is registered with, if it is.
    ///
    /// # Errors
    /// When it listens where nobody could call it.
    pub(super) fn address(&self) -> anyhow::Result<Address> {
        Ok(Address::parse(&self.listen.ip().to_string(), self.listen.port().into())?)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// From the start of its process until it said that it serves.
    pub(super) fn ready_after(&self) -> Duration {
        self.ready_after
    }
}
