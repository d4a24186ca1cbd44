//! What the machine does at best, measured in the same run as the systems: the estimate of their limits.
//!
//! `server` is gRPC on the stack of the node (tonic on hyper) that does nothing with what it gets;
//! `calls` puts the load of the workloads on it; `machine` looks at the disk, the memory, and how soon a
//! connection of a killed process is closed. No system that does the same work through the same kernel and
//! the same gRPC can be better by more than the noise.

mod calls;
mod machine;
mod server;
mod wire;

use std::path::PathBuf;

use crate::measured::Measured;
use crate::process::settled_bytes;

pub(crate) use self::machine::{Victim, wait};
pub(crate) use self::server::serve;

#[derive(Debug, clap::Args)]
pub(crate) struct FloorLoad {
    /// On the disk that is measured
    #[arg(long)]
    data_dir: PathBuf,
    /// Everything is done so many times less
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    divide_by: u32,
}

/// The answer of a read: about 20 instances.
const ANSWER_BYTES: usize = 2_000;

pub(crate) async fn floor(load: &FloorLoad) -> anyhow::Result<Measured> {
    let size = |full: u32| (full / load.divide_by).max(64);
    let mut measured = machine::disk(Measured::default(), &load.data_dir, size(3_000))?;
    measured = machine::memory(measured, size(512) as usize * 1024 * 1024);
    measured = machine::closed(measured).await?;

    let server = server::Child::start().await?;
    let idle = settled_bytes(server.pid()).await?;
    measured = measured.figure("idle_bytes", idle as f64);
    measured = calls::connected(measured, &server, idle, size(1_000)).await?;
    drop(server);

    // Each on a server that did nothing before.
    let of_registrations = calls::Echo { name: "stream_64x16", connections: 64, in_flight: 16, bytes: 64 };
    measured = of_registrations.run(measured, &server::Child::start().await?, size(1_000_000)).await?;
    let of_messages = calls::Echo { name: "stream_4x256", connections: 4, in_flight: 256, bytes: 100 };
    measured = of_messages.run(measured, &server::Child::start().await?, size(1_000_000)).await?;
    measured = calls::unary(measured, &server::Child::start().await?, size(100_000), ANSWER_BYTES).await?;
    for watchers in [1_000, 5_000, 20_000] {
        measured = calls::push(measured, &server::Child::start().await?, watchers, size(40)).await?;
    }
    Ok(measured)
}
