//! A process of this binary that plays a part in the demo.
//!
//! It is held by its standard input: when that closes, because the demo let go or was itself killed, it
//! ends. Its group is its own, so that a Ctrl-C reaches only the demo, which then stops the others in order.

use std::ffi::OsStr;
use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a process may take to say a line, and to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    what: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Held here and not by `child`, which would let go of it when it is waited for.
    leash: ChildStdin,
}

impl Process {
    /// Starts `roster demo-part` with these arguments; what it says on standard error goes to `log`.
    ///
    /// # Errors
    /// When this binary is not to be found, or may not be run.
    pub(super) fn start<A: AsRef<OsStr>>(
        what: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
        log: File,
    ) -> anyhow::Result<Self> {
        let what = what.into();
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(&program);
        // Settings of whoever tries the demo are meant for another node.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROSTER_") {
                command.env_remove(name);
            }
        }
        command.arg("demo-part").args(arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| format!("start {what} from {}", program.display()))?;
        let (Some(leash), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{what} has no pipes");
        };
        Ok(Self { what, child, lines: BufReader::new(stdout).lines(), leash })
    }

    /// Its number, as long as it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next line that begins so, without its beginning.
    ///
    /// # Errors
    /// When it ends before, or does not say it in time.
    pub(super) async fn hear(&mut self, beginning: &str) -> anyhow::Result<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let line = timeout_at(until, self.lines.next_line()).await;
            let line = line.with_context(|| format!("{} did not say {beginning:?} within {PATIENCE:?}", self.what))?;
            let line = line.with_context(|| format!("hear {}", self.what))?;
            let Some(line) = line else { bail!("{} ended before it said {beginning:?}", self.what) };
            if let Some(rest) = line.strip_prefix(beginning) {
                return Ok(rest.to_owned());
            }
        }
    }

    /// # Errors
    /// When it has ended before.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id else { bail!("{} has ended by itself", self.what) };
        kill_process(id, signal).with_context(|| format!("signal {}", self.what))
    }

    /// Its end, which must have a cause already.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.with_context(|| format!("{} did not end within {PATIENCE:?}", self.what))?;
        ended.with_context(|| format!("wait for {}", self.what))
    }

    /// Ends it without a word.
    ///
    /// # Errors
    /// When the operating system does not know it.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.what))
    }

    /// Stops it in order, and without mercy when that takes too long.
    ///
    /// # Errors
    /// When mercy was not enough.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        // One that has ended needs no telling.
        let _ = self.signal(Signal::TERM);
        let ended = self.ended().await;
        if ended.is_err() {
            let _ = self.child.kill().await;
        }
        drop(self.leash);
        ended.map(|_| ())
    }
}
