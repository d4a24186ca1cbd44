//! A node as a process: started, asked, stopped and killed.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use roster_client::{BackOff, Client};
use roster_proto::v1;
use rustix::process::{Pid, Signal, kill_process};

/// `roster`, without what the machine of the tester has set.
pub(crate) fn roster() -> Command {
    let mut command = Command::new(program());
    command.env_remove("ROSTER_SERVER").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

pub(crate) fn program() -> std::path::PathBuf {
    assert_cmd::cargo::cargo_bin("roster")
}

/// A port that is free now. Below those that the kernel gives to outgoing connections: a client that
/// tries again while the node is down could otherwise connect to itself, and keep the port.
pub(crate) fn free_port() -> u16 {
    let mut candidates = (0..1000_u32).map(|offset| {
        let start = std::process::id().wrapping_mul(31).wrapping_add(offset * 7 + next_number() * 97);
        u16::try_from(10_000 + start % 20_000).unwrap()
    });
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

/// Counts, so that the tests of one process ask for different ports.
fn next_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) client: Client,
}

impl Node {
    /// Starts a node on a free port.
    pub(crate) fn start(data_dir: &Path, settings: &[&str]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())), data_dir, settings)
    }

    /// Starts a node; returns when it serves.
    pub(crate) fn start_at(listen: SocketAddr, data_dir: &Path, settings: &[&str]) -> Self {
        Self::start_by(roster(), listen, data_dir, settings)
    }

    /// Starts a node that is a member of a service; returns when it serves.
    pub(crate) fn start_member(listen: SocketAddr, data_dir: &Path, registry: &Node, service: &str) -> Self {
        let mut command = serve(roster(), listen, data_dir);
        command.args(["--join", &registry.url(), "--service", service]);
        Self::start_command(command, listen)
    }

    /// Starts a node by a command that runs `roster` with the arguments that it is given.
    pub(crate) fn start_by(command: Command, listen: SocketAddr, data_dir: &Path, settings: &[&str]) -> Self {
        let mut command = serve(command, listen, data_dir);
        for setting in settings {
            command.args(["--set", setting]);
        }
        Self::start_command(command, listen)
    }

    fn start_command(mut command: Command, listen: SocketAddr) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("serves at"), "the node did not start, but said {line:?}");
        // Read on, or the pipe could fill.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        let client = client(listen);
        Self { child, listen, client }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_process(self.pid(), signal);
    }

    /// SIGKILL. Returns when the process is gone, with all its locks and ports.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn status(&self) -> v1::GetStatusResponse {
        self.client.status().await.unwrap()
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }
}

fn serve(mut command: Command, listen: SocketAddr, data_dir: &Path) -> Command {
    command.args(["serve", "--log-level", "warn", "--listen", &listen.to_string(), "--data-dir"]).arg(data_dir);
    command
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal_process(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// A client that does not wait long before it tries again.
pub(crate) fn client(listen: SocketAddr) -> Client {
    let back_off = BackOff { min: Duration::from_millis(10), max: Duration::from_millis(100) };
    Client::builder().endpoint(format!("http://{listen}")).back_off(back_off).name("test").build().unwrap()
}

/// A process that is killed when it is dropped.
pub(crate) struct Provider(Child);

impl Provider {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_process(self.0.id(), signal);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
