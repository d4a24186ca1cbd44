//! The disk, the memory, and how soon the kernel says that a process is gone.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::measured::{Latencies, Measured};

/// A command that waited for nobody, and a batch under load.
const SIZES: [usize; 2] = [512, 64 * 1024];
const VICTIMS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Appends that are synced one after the other.
pub(super) fn disk(mut measured: Measured, folder: &Path, syncs: u32) -> anyhow::Result<Measured> {
    for bytes in SIZES {
        // As the log does: beyond its length, in a file that grows.
        let mut file: File = tempfile::tempfile_in(folder).context("make a file to sync")?;
        let block = vec![b'x'; bytes];
        let mut latencies = Latencies::new()?;
        let start = Instant::now();
        for _ in 0..syncs {
            let began = Instant::now();
            file.write_all(&block).context("write a file")?;
            file.sync_data().context("sync a file")?;
            latencies.record(began.elapsed());
        }
        let rate = f64::from(syncs) / start.elapsed().as_secs_f64();
        measured = measured
            .figure(format!("syncs_of_{bytes}_per_second"), rate)
            .times(&format!("sync_of_{bytes}"), &latencies);
    }
    Ok(measured)
}

/// How fast memory is touched for the first time, and copied.
pub(super) fn memory(measured: Measured, bytes: usize) -> Measured {
    let rate = |start: Instant| bytes as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    // Not of zeros: those the kernel would only promise.
    let from = black_box(vec![1_u8; bytes]);
    let fresh = rate(start);
    let mut into = black_box(vec![2_u8; bytes]);
    let start = Instant::now();
    into.copy_from_slice(&from);
    let copied = rate(start);
    black_box(into);
    measured.figure("fresh_bytes_per_second", fresh).figure("copied_bytes_per_second", copied)
}

#[derive(Debug, clap::Args)]
pub(crate) struct Victim {
    #[arg(long)]
    address: String,
}

/// # Errors
/// When it cannot connect.
pub(crate) async fn wait(victim: &Victim) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(&victim.address).await.context("connect")?;
    stream.read_u8().await.context("wait for the end")?;
    Ok(())
}

/// From SIGKILL of a process to the end of its connection at the other side.
pub(super) async fn closed(measured: Measured) -> anyhow::Result<Measured> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
    let address = listener.local_addr().context("look at the address")?.to_string();
    let mut latencies = Latencies::new()?;
    for _ in 0..VICTIMS {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.args(["floor-victim", "--address", &address]).stdin(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().context("start a process")?;
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        let (mut stream, _) = accepted.context("a process did not connect")?.context("accept a connection")?;
        let killed = Instant::now();
        process.start_kill().context("kill a process")?;
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.context("it is not closed")?;
        latencies.record(killed.elapsed());
        // A reset says it as well.
        ensure!(read.as_ref().map_or(true, |bytes| *bytes == 0), "a killed process said something");
        process.wait().await.context("wait for a killed process")?;
    }
    Ok(measured.times("killed_to_closed", &latencies))
}
