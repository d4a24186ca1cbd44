//! Which workload, against which node.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;

use super::client::{self, ClientLoad, ClientWorker};
use super::crash::{self, CrashLoad};
use super::fanout::{self, FanoutLoad};
use super::get::{self, GetLoad};
use super::growth::{self, GrowthLoad};
use super::memory::{self, MemoryLoad};
use super::node::{BenchNode, Grounds};
use super::overload::{self, OverloadLoad};
use super::queue::{self, QueueLoad};
use super::register::{self, RegisterLoad};
use super::restart::{self, RestartLoad};
use crate::commands::serve::{self, Serve};
use crate::commands::words;
use crate::exit::{Ending, Exit};
use crate::render::{Measured, Screen};

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    load: Load,
}

/// Which node is measured, and for how long at most.
#[derive(Debug, clap::Args)]
struct Place {
    /// Where the node of its own keeps its data [default: a new folder in the place for temporary files]
    #[arg(long, global = true, value_name = "DIR")]
    own_data_dir: Option<PathBuf>,
    /// A setting of the node of its own; several allowed
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = serve::setting)]
    settings: Vec<(String, String)>,
    /// It is given up after so long
    #[arg(long, global = true, value_name = "SPAN", default_value = "10min", value_parser = words::span)]
    within: Duration,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Registers many instances at once
    Register(RegisterLoad),
    /// Changes instances that many watch
    Fanout(FanoutLoad),
    /// Kills registered processes
    Crash(CrashLoad),
    /// Reads all instances of a service
    Get(GetLoad),
    /// Publishes to a queue, and consumes from it
    Queue(QueueLoad),
    /// Kills a node and starts it again
    Restart(RestartLoad),
    /// Looks at the memory of the node
    Memory(MemoryLoad),
    /// Asks whether anything costs more as there is more
    Growth(GrowthLoad),
    /// Asks for far more than the node can do
    Overload(OverloadLoad),
    /// Looks at what the SDK costs a process that uses it
    Client(ClientLoad),
    /// A node that ends with whoever started it
    #[command(hide = true, after_help = "Examples:\n  roster bench node --listen 127.0.0.1:0")]
    Node(Box<Serve>),
    /// A process in which the SDK is measured; ends with whoever started it
    #[command(hide = true, after_help = "Examples:\n  roster bench client --part registrations")]
    ClientWorker(ClientWorker),
}

/// `given` is what the caller named with --server; without it, a node of its own is started.
pub(crate) fn run(bench: Bench, given: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let Bench { place, load } = bench;
    match &load {
        Load::Node(serve) => {
            end_with_the_benchmark()?;
            return serve::run(serve);
        }
        Load::ClientWorker(worker) => {
            end_with_the_benchmark()?;
            return client::work(worker, given);
        }
        Load::Register(_)
        | Load::Fanout(_)
        | Load::Crash(_)
        | Load::Get(_)
        | Load::Queue(_)
        | Load::Restart(_)
        | Load::Memory(_)
        | Load::Growth(_)
        | Load::Overload(_)
        | Load::Client(_) => {}
    }
    let measured = measuring_runtime()?.block_on(async {
        if load.starts_its_nodes() && !given.is_empty() {
            return Err(Ending::error(Exit::Usage, "this workload starts nodes of its own: leave --server out"));
        }
        let settings: Vec<String> = place.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let grounds = Grounds { data_dir: place.own_data_dir.as_deref(), settings: &settings };
        let measuring = measure(load, given, grounds);
        let given_up = || Ending::error(Exit::Failure, format!("not done within {:?}; see --within", place.within));
        tokio::time::timeout(place.within, measuring).await.map_err(|_| given_up())?
    })?;
    screen.show(&measured)?;
    Ok(Exit::Success)
}

impl Load {
    fn starts_its_nodes(&self) -> bool {
        match self {
            Self::Restart(_) | Self::Growth(_) => true,
            Self::Register(_)
            | Self::Fanout(_)
            | Self::Crash(_)
            | Self::Get(_)
            | Self::Queue(_)
            | Self::Memory(_)
            | Self::Overload(_)
            | Self::Client(_)
            | Self::ClientWorker(_)
            | Self::Node(_) => false,
        }
    }
}

async fn measure(load: Load, given: &[String], grounds: Grounds<'_>) -> anyhow::Result<Measured> {
    let node = async || match given {
        [] => anyhow::Ok(BenchNode::Own(Box::new(grounds.start(&[]).await?))),
        [url] => Ok(BenchNode::Given(url.clone())),
        [..] => Err(Ending::error(Exit::Usage, "one node is measured at a time; name one --server")),
    };
    match load {
        Load::Register(load) => register::run(&load, &node().await?).await,
        Load::Fanout(load) => fanout::run(&load, &node().await?).await,
        Load::Crash(load) => crash::run(&load, &node().await?).await,
        Load::Get(load) => get::run(&load, &node().await?).await,
        Load::Queue(load) => queue::run(&load, &node().await?).await,
        Load::Memory(load) => memory::run(&load, &node().await?).await,
        Load::Overload(load) => overload::run(&load, &node().await?).await,
        Load::Restart(load) => restart::run(&load, grounds).await,
        Load::Growth(load) => growth::run(&load, grounds).await,
        Load::Client(load) => client::run(&load, &node().await?).await,
        Load::Node(_) | Load::ClientWorker(_) => Err(Ending::error(Exit::Usage, "it measures nothing by itself")),
    }
}

/// Whatever way the benchmark ends, nothing of it stays behind.
fn end_with_the_benchmark() -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("ask to end with the benchmark")
}

pub(super) fn measuring_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

/// This program, to be started once more.
pub(super) fn own_program() -> anyhow::Result<OsString> {
    Ok(std::env::current_exe().context("find this program")?.into_os_string())
}
