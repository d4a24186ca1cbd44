//! One child process in a process group of its own.
//!
//! Of its own, so that a Ctrl-C at the terminal reaches only the wrapper: the child must go on
//! serving until the registry has told its callers to leave.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::exit::Exit;

/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: i32 = 128;

#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
}

impl Child {
    /// Starts the program with its arguments.
    ///
    /// # Errors
    /// When there is no such program, or it may not be run.
    pub(crate) fn start(program: &OsString, arguments: &[OsString]) -> anyhow::Result<Self> {
        let process = Command::new(program)
            .args(arguments)
            .process_group(0)
            // Only if the wrapper itself fails; on every other way it is told to stop before.
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let group = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { process, group })
    }

    /// Its end, as the exit of this binary. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    /// When the operating system does not know it.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Exit> {
        let status = self.process.wait().await.context("wait for the command")?;
        // The number may be given to another group from here on.
        self.group = None;
        Ok(exit_of(status))
    }

    /// Sends it, and what it started, a signal. Nothing happens when it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The only failure is that nobody is there any more.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Sends the signal, then SIGKILL if it has not ended within `patience`. Its end.
    ///
    /// # Errors
    /// When the operating system does not know it.
    pub(crate) async fn stop(&mut self, signal: Signal, patience: Duration) -> anyhow::Result<Exit> {
        self.signal(signal);
        if let Ok(ended) = tokio::time::timeout(patience, self.ended()).await {
            return ended;
        }
        eprintln!("roster: the command did not stop within {patience:?}; it is killed");
        self.signal(Signal::KILL);
        self.ended().await
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| ENDED_BY_SIGNAL + signal));
    Exit::OfCommand(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start(&"sh".into(), &["-c".into(), script.into()]).expect("there is a shell")
    }

    #[tokio::test]
    async fn the_end_of_a_command_is_passed_on() {
        assert_eq!(shell("exit 7").ended().await.unwrap(), Exit::OfCommand(7));
        assert_eq!(shell("kill -TERM $$").ended().await.unwrap(), Exit::OfCommand(143));
    }

    #[tokio::test]
    async fn a_command_that_does_not_stop_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let deaf = folder.path().join("deaf");
        let mut stubborn = shell(&format!("trap '' TERM; touch {}; while :; do sleep 1; done", deaf.display()));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !deaf.exists() {
            assert!(tokio::time::Instant::now() < deadline, "the command ignores the signal by now");
            tokio::task::yield_now().await;
        }
        let exit = stubborn.stop(Signal::TERM, Duration::from_millis(50)).await.unwrap();
        assert_eq!(exit, Exit::OfCommand(137));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(async { Child::start(&"/no/such/program".into(), &[]).unwrap_err() });
        assert!(error.to_string().contains("/no/such/program"));
    }
}
