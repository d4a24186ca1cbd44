//! One short process with a message on its standard input, and what it said last on its standard error.
//!
//! In a process group of its own, so that a Ctrl-C at the terminal reaches only the wrapper: the job may
//! finish what it has begun.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// Of its last line, so many bytes.
const LAST_LINE_BYTES_MAX: usize = 400;
/// What it left in the pipe is read for so long after its end: a process that it has left behind may keep
/// the pipe open for ever.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) input: Bytes,
}

/// How it ended. Its text is the reason of a failure: `exit code 3: no paper`.
#[derive(Debug)]
pub(crate) struct JobEnd {
    status: ExitStatus,
    last_line: String,
}

impl Job {
    /// Runs it to its end. Signals that come on `stop` are passed on to it and to what it started.
    ///
    /// # Errors
    /// When it cannot be started, or the operating system does not know its end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<Option<Signal>>) -> io::Result<JobEnd> {
        let Self { program, arguments, environment, input } = self;
        let mut process = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (stdin, stderr) = (process.stdin.take(), process.stderr.take());
        let mut last = LastLine::default();
        let status = {
            let mut fed = std::pin::pin!(feed(stdin, input));
            let mut heard = std::pin::pin!(hear(stderr, &mut last));
            let mut all = (false, false);
            // A signal that came before this one began is meant for it, too.
            stop.mark_changed();
            let status = loop {
                tokio::select! {
                    status = process.wait() => break status?,
                    () = &mut fed, if !all.0 => all.0 = true,
                    () = &mut heard, if !all.1 => all.1 = true,
                    Ok(()) = stop.changed() => {
                        let signal = *stop.borrow_and_update();
                        if let (Some(group), Some(signal)) = (group, signal) {
                            // The only failure is that nobody is there any more.
                            let _ = kill_process_group(group, signal);
                        }
                    }
                }
            };
            if !all.1 {
                let _ = timeout(LAST_WORDS_WITHIN, heard).await;
            }
            status
        };
        Ok(JobEnd { status, last_line: last.text() })
    }
}

/// Writes its input. A command that does not want it closes the pipe, or ends.
async fn feed(stdin: Option<ChildStdin>, input: Bytes) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&input).await;
    }
}

/// Passes its standard error on, and remembers the last line.
async fn hear(stderr: Option<ChildStderr>, last: &mut LastLine) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 4096];
    while let Ok(read) = stderr.read(&mut chunk).await
        && read > 0
    {
        last.push(&chunk[..read]);
        let mut ours = tokio::io::stderr();
        if ours.write_all(&chunk[..read]).await.is_ok() {
            let _ = ours.flush().await;
        }
    }
}

impl JobEnd {
    /// Whether it ended with 0.
    pub(crate) fn is_success(&self) -> bool {
        self.status.success()
    }
}

impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(f, "exit code {code}")?,
            (None, Some(signal)) => write!(f, "signal {signal}")?,
            (None, None) => f.write_str("an end without a code")?,
        }
        match self.last_line.as_str() {
            "" => Ok(()),
            line => write!(f, ": {line}"),
        }
    }
}

/// The last line that is not blank, of which only the beginning is kept.
#[derive(Debug, Default)]
struct LastLine {
    whole: Vec<u8>,
    begun: Vec<u8>,
}

impl LastLine {
    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LAST_LINE_BYTES_MAX - self.begun.len();
            self.begun.extend_from_slice(&line[..line.len().min(room)]);
            if line.len() < part.len() {
                let begun = std::mem::take(&mut self.begun);
                if !begun.trim_ascii().is_empty() {
                    self.whole = begun;
                }
            }
        }
    }

    fn text(&self) -> String {
        let line = if self.begun.trim_ascii().is_empty() { &self.whole } else { &self.begun };
        String::from_utf8_lossy(line.trim_ascii()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, input: &'static [u8]) -> JobEnd {
        let job = Job {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("ROSTER_ATTEMPT", "7".to_owned())],
            input: input.into(),
        };
        job.run(watch::channel(None).1).await.unwrap()
    }

    #[tokio::test]
    async fn a_job_gets_its_input_and_environment_and_0_is_success() {
        let end = shell("test \"$(cat)-$ROSTER_ATTEMPT\" = message-7", b"message").await;
        assert!(end.is_success(), "{end}");
    }

    #[tokio::test]
    async fn the_reason_of_a_failure_is_its_code_and_its_last_line() {
        assert_eq!(shell("echo first >&2; echo no paper >&2; exit 3", b"").await.to_string(), "exit code 3: no paper");
        assert_eq!(shell("exit 4", b"").await.to_string(), "exit code 4");
        assert_eq!(shell("kill -TERM $$", b"").await.to_string(), "signal 15");
    }

    #[tokio::test]
    async fn a_job_that_reads_nothing_ends_all_the_same() {
        let large: &'static [u8] = Box::leak(vec![b'x'; 1 << 20].into_boxed_slice());
        assert!(shell("exit 0", large).await.is_success());
    }

    #[tokio::test]
    async fn a_signal_is_passed_on() {
        let (stop, stopped) = watch::channel(None);
        let job = Job {
            program: "sh".into(),
            arguments: vec!["-c".into(), "sleep 60".into()],
            environment: Vec::new(),
            input: Bytes::new(),
        };
        let running = tokio::spawn(job.run(stopped));
        stop.send_replace(Some(Signal::TERM));
        let end = timeout(Duration::from_secs(20), running).await.unwrap().unwrap().unwrap();
        assert_eq!(end.to_string(), "signal 15");
    }

    #[test]
    fn only_the_beginning_of_the_last_line_is_kept() {
        let mut last = LastLine::default();
        last.push(b"one\n\ntw");
        last.push(b"o\n  \n");
        assert_eq!(last.text(), "two");
        last.push(&[b'x'; 9000]);
        assert_eq!(last.text().len(), LAST_LINE_BYTES_MAX);
    }
}
