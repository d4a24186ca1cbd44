//! A `roster` that goes on running, and its lines as they come.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a busy machine; a test that works never waits for so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Came, and no test has asked for it yet: the two outputs are not in order with one another.
    waiting: Vec<String>,
}

impl Running {
    /// Starts `roster` against the node at `url`; lines of both its outputs are heard.
    pub(crate) fn start(url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("roster"));
        command.args(arguments).env("ROSTER_SERVER", url);
        Self::of(command)
    }

    /// The same of a command with an input or an environment of its own.
    pub(crate) fn of(mut command: Command) -> Self {
        let command = command.env("NO_COLOR", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        Self { child, lines, waiting: Vec::new() }
    }

    /// The first line with this in it, of those that were not heard before.
    pub(crate) fn hear(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.waiting.iter().position(|line| line.contains(text)) {
                return self.waiting.remove(at);
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.waiting.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no line with {text:?}, but these: {:#?}", self.waiting)
                }
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The code it ends with, once it has, and the lines that were not heard.
    pub(crate) fn end(mut self) -> (i32, Vec<String>) {
        let deadline = Instant::now() + DEADLINE;
        // Both outputs close when it ends.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.waiting.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it did not end, but said: {:#?}", self.waiting),
            }
        }
        (self.child.wait().unwrap().code().unwrap(), std::mem::take(&mut self.waiting))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
