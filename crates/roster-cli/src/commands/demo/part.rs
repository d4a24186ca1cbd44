//! What the processes of the demo do. Not for use by hand: each ends when its standard input closes, so
//! that none outlives a demo, however that ends.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use roster_client::{Announcement, Handle, State};
use roster_core::ServiceName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::commands::serve::{self, Serve};
use crate::commands::{node, words};
use crate::exit::{Ending, Exit};
use crate::wrapped::StopSignals;

/// With this begins the line that says where a member listens.
pub(super) const LISTENS_AT: &str = "listens at ";

/// How long a caller may take to say something.
const CALLER_DEADLINE: Duration = Duration::from_secs(5);

/// One process of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoPart {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// `roster serve` on a leash
    Node(Box<Serve>),
    /// Listens, answers, and registers itself
    Member {
        #[arg(value_parser = words::service)]
        service: ServiceName,
    },
}

/// # Errors
/// What the part failed with.
pub(super) fn run(part: DemoPart, nodes: &[String]) -> anyhow::Result<Exit> {
    hold_on_to_stdin()?;
    match part.part {
        Part::Node(serve) => serve::run(&serve),
        Part::Member { service } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(be_member(&service, nodes))
        }
    }
}

/// Ends the process when nobody holds the other end: the demo is gone, and nobody waits for a goodbye.
fn hold_on_to_stdin() -> anyhow::Result<()> {
    let leash = || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
        std::process::exit(1);
    };
    std::thread::Builder::new().name("leash".to_owned()).spawn(leash).context("start a thread")?;
    Ok(())
}

async fn be_member(service: &ServiceName, nodes: &[String]) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::listen()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen")?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "{LISTENS_AT}{address}")?;

    let registrar = node::client(nodes)?.registrar().start();
    let announcement = Announcement::new(service.as_str(), &address.ip().to_string(), address.port())?;
    let handle = registrar.register(announcement);
    let answer = format!("{service} at {address}, process {}\n", std::process::id());
    tokio::select! {
        () = answer_all(listener, &answer) => {}
        left = stay_until(handle, &mut signals) => left?,
    }
    registrar.close().await?;
    Ok(Exit::Success)
}

async fn stay_until(handle: Handle, signals: &mut StopSignals) -> anyhow::Result<()> {
    tokio::select! {
        _ = signals.next() => {}
        _ = handle.offline() => {}
        why = refused(&handle) => return Err(Ending::error(Exit::Refused, format!("refused: {why}"))),
    }
    Ok(handle.leave().await?)
}

/// Why, if it is.
async fn refused(handle: &Handle) -> String {
    match handle.settled().await {
        State::Refused(refusal) => refusal.message,
        State::Active { .. } | State::Pending { .. } | State::Waiting | State::Offline { .. } | State::Ended => {
            std::future::pending().await
        }
    }
}

/// Calls are answered one after the other, for the callers are few; and until the end, for one that
/// drains still serves who has not heard of it.
async fn answer_all(listener: TcpListener, answer: &str) {
    loop {
        // A caller that has gone, or says nothing, is no loss.
        if let Ok((stream, _)) = listener.accept().await {
            let _ = timeout(CALLER_DEADLINE, answer_one(stream, answer)).await;
        }
    }
}

async fn answer_one(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    // Without reading, closing would tear down the answer.
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    let length = answer.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}connection: close\r\n\r\n{answer}").as_bytes()).await?;
    stream.shutdown().await
}
