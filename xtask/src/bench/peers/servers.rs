//! A server on a free port of the loopback and in a new folder, ended and removed when it is dropped.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::programs::Programs;
use super::workloads::System;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    command: Command,
    pub(super) address: String,
    /// In microseconds since 1970.
    pub(super) started: u128,
    folder: TempDir,
}

impl Server {
    /// # Errors
    /// When it does not listen in time.
    pub(super) fn start(system: System, programs: &Programs, data: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("peer-", data).context("make a folder for a server")?;
        let (port, other) = (free_port()?, free_port()?);
        let address = format!("127.0.0.1:{port}");
        let mut command = command(system, programs, &address, other, folder.path())?;
        command.stdin(Stdio::null()).stdout(log(folder.path())?).stderr(log(folder.path())?);
        let (process, started) = spawn(&mut command)?;
        let mut server = Self { process, command, address, started, folder };
        server.wait()?;
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL, and a new process on the same folder; does not wait until it listens.
    ///
    /// # Errors
    /// When the process cannot be ended or started.
    pub(super) fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.process.kill().context("kill a server")?;
        self.process.wait().context("wait for a killed server")?;
        (self.process, self.started) = spawn(&mut self.command)?;
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&self.address).is_err() {
            if let Some(status) = self.process.try_wait().context("look at a server")? {
                let said = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("a server ended with {status}: {}", said.lines().last().unwrap_or("it said nothing"));
            }
            if Instant::now() > deadline {
                bail!("a server does not listen at {}", self.address);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only when it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(command: &mut Command) -> anyhow::Result<(Child, u128)> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_micros();
    Ok((command.spawn().context("start a server")?, started))
}

fn log(folder: &Path) -> anyhow::Result<fs::File> {
    fs::File::options().create(true).append(true).open(folder.join("log")).context("open a log")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("look for a free port")?.local_addr()?.port())
}

fn command(system: System, programs: &Programs, address: &str, other: u16, folder: &Path) -> anyhow::Result<Command> {
    let data = folder.join("data");
    fs::create_dir(&data).context("make a folder for data")?;
    Ok(match system {
        System::Roster | System::Machine => bail!("{} starts its own servers", system.name()),
        System::Etcd => {
            let (client, peer) = (format!("http://{address}"), format!("http://127.0.0.1:{other}"));
            let mut command = programs.start(&programs.etcd);
            command.arg("--data-dir").arg(data).args(["--log-level", "error", "--quota-backend-bytes", "8589934592"]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.arg("--initial-cluster").arg(format!("default={peer}"));
            command
        }
        System::Redis => {
            let port = address.rsplit(':').next().unwrap_or_default();
            let mut command = programs.start(&programs.redis);
            command.args(["--port", port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"]);
            command.args(["--save", ""]).arg("--dir").arg(data).env("LD_LIBRARY_PATH", &programs.libraries);
            command
        }
        System::JetstreamSynced | System::JetstreamDefault => {
            let sync = if system == System::JetstreamSynced { "  sync_interval: always\n" } else { "" };
            let text = format!("listen: \"{address}\"\njetstream {{\n  store_dir: \"{}\"\n{sync}}}\n", data.display());
            let settings = folder.join("nats.conf");
            fs::write(&settings, text).context("write the settings of a server")?;
            let mut command = programs.start(&programs.nats);
            command.arg("--config").arg(settings);
            command
        }
    })
}
