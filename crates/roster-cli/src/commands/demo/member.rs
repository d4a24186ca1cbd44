//! A member of a service: a process that listens, and registers itself.

use std::time::Duration;

use anyhow::Context;
use roster_core::Address;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::folder::Folder;
use super::part;
use super::process::Process;

/// How long a call to a member may take.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Member {
    process: Process,
    address: Address,
}

impl Member {
    /// Starts its process and waits until that listens, not until it is registered.
    ///
    /// # Errors
    /// When it does not come to listening.
    pub(super) async fn start(service: &str, node: &str, folder: &Folder) -> anyhow::Result<Self> {
        let arguments = ["member", service, "--server", node];
        let mut process = Process::start(format!("a member of {service}"), arguments, folder.log()?)?;
        let said = process.hear(part::LISTENS_AT).await?;
        let port = said.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = port.with_context(|| format!("a member listens at {said:?}, which has no port"))?;
        Ok(Self { process, address: Address::parse("127.0.0.1", port)? })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// # Errors
    /// When it has ended before.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Whether it ended well, once it has.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(super) async fn ended(mut self) -> anyhow::Result<bool> {
        Ok(self.process.ended().await?.success())
    }

    pub(super) async fn kill(self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

/// Calls whoever is at this address. What it answers.
///
/// # Errors
/// When nobody answers.
pub(super) async fn call(address: &Address) -> anyhow::Result<String> {
    let call = async {
        let mut stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(CALL_DEADLINE, call).await.with_context(|| format!("{address} did not answer"))?;
    answer.with_context(|| format!("call {address}"))
}
