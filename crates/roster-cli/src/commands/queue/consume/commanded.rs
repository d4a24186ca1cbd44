//! A command for each message, some at a time; its end decides.

use std::ffi::OsString;
use std::io;

use anyhow::Context;
use roster_client::queue::{Claim, Message, QueueName};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::takings::{Meanwhile, Takings};
use crate::commands::queue::contact::Contact;
use crate::exit::Exit;
use crate::wrapped::{Job, JobEnd, StopSignals};

/// What is run.
pub(super) struct Task {
    pub(super) queue: QueueName,
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
}

impl Task {
    fn job(&self, claim: &Claim<Message>) -> Job {
        let environment = vec![
            ("ROSTER_QUEUE", self.queue.to_string()),
            ("ROSTER_MESSAGE_ID", claim.id.to_string()),
            ("ROSTER_ATTEMPT", claim.attempt.to_string()),
            ("ROSTER_CONTENT_TYPE", claim.message.content_type().to_owned()),
        ];
        let (program, arguments) = (self.program.clone(), self.arguments.clone());
        Job { program, arguments, environment, input: claim.message.payload().clone() }
    }
}

type Done = (Claim<Message>, io::Result<JobEnd>);

pub(super) async fn run(
    mut takings: Takings,
    mut contact: Contact,
    task: Task,
    parallel: usize,
) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::listen()?;
    let (stop, stopped) = watch::channel(None);
    let mut jobs: JoinSet<Done> = JoinSet::new();
    let over = loop {
        let meanwhile = if jobs.is_empty() { Meanwhile::Nothing } else { Meanwhile::Work };
        tokio::select! {
            biased;
            _ = signals.next() => {
                tell_of(jobs.len());
                break Ok(());
            }
            Some(done) = jobs.join_next(), if !jobs.is_empty() => {
                takings.touch();
                if let Err(error) = settle(done, &task) {
                    break Err(error);
                }
            }
            line = contact.next() => match line {
                Ok(line) => eprintln!("roster: {line}"),
                Err(error) => break Err(error),
            },
            taken = takings.next(meanwhile), if jobs.len() < parallel => match taken {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
                Ok(Some(claim)) => {
                    let (job, stopped) = (task.job(&claim), stopped.clone());
                    jobs.spawn(async move { (claim, job.run(stopped).await) });
                }
            },
        }
    };
    let mut failed = None;
    let closed = takings.close_after(finish(&mut jobs, &task, &mut signals, &stop, &mut failed)).await;
    over?;
    failed.map_or(Ok(()), Err)?;
    closed?;
    Ok(Exit::Success)
}

/// Lets the commands finish, and passes signals on to them.
async fn finish(
    jobs: &mut JoinSet<Done>,
    task: &Task,
    signals: &mut StopSignals,
    stop: &watch::Sender<Option<Signal>>,
    failed: &mut Option<anyhow::Error>,
) {
    while !jobs.is_empty() {
        tokio::select! {
            biased;
            signal = signals.next() => {
                stop.send_replace(Some(signal));
            }
            Some(done) = jobs.join_next() => {
                if let Err(error) = settle(done, task) {
                    failed.get_or_insert(error);
                }
            }
        }
    }
}

fn tell_of(running: usize) {
    match running {
        0 => {}
        1 => eprintln!("roster: 1 command finishes; a second signal is passed on to it"),
        running => eprintln!("roster: {running} commands finish; a second signal is passed on to them"),
    }
}

/// # Errors
/// When the command could not be run at all: no other message would fare better.
fn settle(done: Result<Done, JoinError>, task: &Task) -> anyhow::Result<()> {
    let (claim, ended) = done.context("run the command")?;
    match ended {
        Ok(end) if end.is_success() => claim.ack(),
        Ok(end) => claim.nack(end.to_string()),
        Err(error) => {
            claim.nack(format!("the command could not be started: {error}"));
            return Err(anyhow::Error::from(error).context(format!("start {}", task.program.display())));
        }
    }
    Ok(())
}
