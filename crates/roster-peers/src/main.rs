//! `roster-peers`: puts the load of `roster bench` on peers of Roster, and says what it measured as JSON.
//!
//! `cargo xtask bench --peers` starts the peers and this program. It speaks each peer's own protocol
//! barely, as `roster bench` does with a node, so that what is measured is the server. The names of the
//! figures are the same for all peers. Beside them stands `floor`: what the machine does at best.

mod etcd;
mod floor;
mod measured;
mod process;
mod queue;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "roster-peers")]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

/// Workloads. `--address` is HOST:PORT of the server, `--pid` its process.
#[derive(Debug, Subcommand)]
enum Load {
    /// Puts keys under leases
    EtcdRegister(etcd::RegisterLoad),
    /// Changes keys that many watch
    EtcdFanout(etcd::FanoutLoad),
    /// Lets leases run out
    EtcdCrash(etcd::CrashLoad),
    /// Waits until a server counts all keys, and reads them
    EtcdAnswer(etcd::AnswerLoad),
    /// Looks at the memory of the server
    EtcdMemory(etcd::MemoryLoad),
    /// Reads the keys of a service
    EtcdGet(etcd::GetLoad),
    /// What this machine does at best: gRPC that does nothing, syncs, memory
    Floor(floor::FloorLoad),
    /// A gRPC server that does nothing, until its standard input ends
    FloorServer,
    /// Connects, and waits to be killed
    FloorVictim(floor::Victim),
    /// Publishes to a Redis stream; with --consume also reads and acknowledges
    Redis(queue::QueueLoad),
    /// Publishes to a JetStream stream; with --consume also reads and acknowledges
    Jetstream(queue::QueueLoad),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let measured = match Arguments::parse().load {
        Load::EtcdRegister(load) => etcd::register(&load).await?,
        Load::EtcdFanout(load) => etcd::fanout(&load).await?,
        Load::EtcdCrash(load) => etcd::crash(&load).await?,
        Load::EtcdAnswer(load) => etcd::answer(&load).await?,
        Load::EtcdMemory(load) => etcd::memory(&load).await?,
        Load::EtcdGet(load) => etcd::get(&load).await?,
        Load::Floor(load) => floor::floor(&load).await?,
        Load::FloorServer => return floor::serve().await,
        Load::FloorVictim(victim) => return floor::wait(&victim).await,
        Load::Redis(load) => queue::redis(load).await?,
        Load::Jetstream(load) => queue::jetstream(load).await?,
    };
    println!("{}", measured.json());
    Ok(())
}
