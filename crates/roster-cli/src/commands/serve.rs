//! `roster serve`: a node, from its settings to its last farewell.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use roster_client::Client;
use roster_server::{Node, Settings};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::membership::{Join, Membership};
use super::{node, remainder};
use crate::exit::{self, Ending, Exit};
use crate::wrapped::StopSignals;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster serve
  roster serve --data-dir /var/lib/roster --listen 127.0.0.1:7400
  roster serve --config /etc/roster.toml --set log.history=15min
  roster serve --print-settings > roster.toml
  roster serve --listen 127.0.0.1:7501 --join http://127.0.0.1:7400 --service orders-queue

Settings are joined from the defaults, the file, the environment (`log.rebuild-min` is
ROSTER_LOG_REBUILD_MIN) and these flags, each over the one before. SIGTERM or SIGINT lets the node
take leave of its sessions and watches; a second one ends it at once, and nothing that was answered
is lost by that. With --join the node is itself a member of a service: it registers when it serves,
and when it stops, callers are sent elsewhere before it says goodbye.")]
pub(crate) struct Serve {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where the log lives
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// A second directory, best on another disk; generations alternate between the two
    #[arg(long, value_name = "DIR")]
    switch_dir: Option<String>,
    /// When a command counts as durable: synced, os or none
    #[arg(long, value_name = "WORD")]
    durability: Option<String>,
    /// Listen beyond this machine without credentials
    #[arg(long)]
    insecure: bool,
    /// Any other setting; several allowed
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    join: Join,
    /// Print the effective settings as TOML, and end
    #[arg(long)]
    print_settings: bool,
    /// The form of the log lines
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
    /// Which log lines: error, warn, info, debug, trace, or a filter such as roster_server=debug,info
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// An object a line
    Json,
}

pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it like log.history=15min")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Serve {
    /// The flags as settings, in the words of the file.
    fn overrides(&self) -> Vec<(String, String)> {
        let named = [
            ("listen", &self.listen),
            ("data-dir", &self.data_dir),
            ("switch-dir", &self.switch_dir),
            ("durability", &self.durability),
        ];
        let mut overrides: Vec<(String, String)> = self.settings.clone();
        overrides.extend(named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
        if self.insecure {
            overrides.push(("insecure".to_owned(), "true".to_owned()));
        }
        overrides
    }
}

pub(crate) fn run(serve: &Serve) -> anyhow::Result<Exit> {
    let environment = |name: &str| std::env::var(name).ok();
    let settings = Settings::load(serve.config.as_deref(), environment, &serve.overrides())
        .map_err(|wrong| Ending::error(Exit::Usage, exit::chain(&wrong.into())))?;
    if serve.print_settings {
        io::stdout().write_all(settings.to_toml().as_bytes())?;
        return Ok(Exit::Success);
    }
    let registry = serve.join.registry()?;
    log_to_stderr(serve)?;
    use_small_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let exit = runtime.block_on(until_stopped(settings, serve, registry));
    // After a second signal there may be work left; nobody waits for it.
    runtime.shutdown_background();
    exit
}

/// A node takes buffers of all sizes and gives them back, on many threads. In huge pages of 2 MiB each of them
/// is zeroed far beyond what is used of it: that was two fifths of the processor time of publishing, and twice
/// the memory of an idle node. The allocator is built not to ask for them (`no_thp`), for it reserves its memory
/// before this runs; some kernels give them unasked.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel may use huge pages");
    }
}

async fn until_stopped(settings: Settings, serve: &Serve, registry: Option<Client>) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::listen()?;
    let data_dir = settings.data_dir.clone();
    let durability = settings.durability;
    let mut node = tokio::select! {
        node = Node::start(settings) => node?,
        // A long recovery has told nobody anything yet, so there is nothing to take leave of.
        _ = signals.next() => return Ok(Exit::Success),
    };
    let restored = restored(node.listen()).await;
    let (listen, data_dir) = (node.listen(), data_dir.display());
    match serve.log_format {
        LogFormat::Text => writeln!(
            io::stdout(),
            "roster {} serves at http://{listen}: data in {data_dir}, durability {}; {restored}",
            env!("CARGO_PKG_VERSION"),
            durability.as_str(),
        )?,
        LogFormat::Json => {
            info!(version = env!("CARGO_PKG_VERSION"), %listen, %data_dir, durability = durability.as_str(), restored, "ready");
        }
    }

    let mut membership = match &registry {
        Some(registry) => Membership::begin(&serve.join, registry, listen)?,
        None => None,
    };
    let failure = loop {
        tokio::select! {
            failure = node.failed() => break Some(failure),
            _ = signals.next() => break None,
            () = tell(&mut membership) => {}
        }
    };
    info!("stopping; a second signal ends it at once");
    let stopping = async {
        // A node that cannot go on has nothing to wait for.
        if let Some(membership) = membership.filter(|_| failure.is_none()) {
            membership.leave(async |deadline| remainder::worked_off(&asked_at(listen), deadline).await).await;
        }
        node.shutdown().await
    };
    tokio::select! {
        stopped = stopping => stopped?,
        _ = signals.next() => {
            warn!("ended at once");
            return Ok(Exit::Failure);
        }
    }
    match failure {
        Some(failure) => Err(failure.into()),
        None => {
            info!("stopped");
            Ok(Exit::Success)
        }
    }
}

async fn tell(membership: &mut Option<Membership>) {
    match membership {
        Some(membership) => membership.tell().await,
        None => std::future::pending().await,
    }
}

/// What the node has in its directory, asked the way anybody would ask it.
async fn restored(listen: SocketAddr) -> String {
    let status = match node::client(&[asked_at(listen)]) {
        Ok(client) => client.status().await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => format!(
            "position {}, restored {} instances of {} services in {} sessions",
            status.position, status.instances, status.services, status.sessions
        ),
        Err(error) => format!("its status is not to be had: {}", exit::chain(&error)),
    }
}

/// Where the node is asked from this machine.
fn asked_at(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

fn log_to_stderr(serve: &Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&serve.log_level)
        .map_err(|wrong| Ending::error(Exit::Usage, format!("--log-level {:?}: {wrong}", serve.log_level)))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match serve.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
