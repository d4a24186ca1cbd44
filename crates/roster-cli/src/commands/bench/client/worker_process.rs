//! A worker, as the process that started it holds it.

use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::super::arguments::own_program;
use super::answer::{Answer, Errand};

/// Killed when it is dropped.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    child: Child,
    words: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl WorkerProcess {
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(url: &str, errand: &Errand) -> anyhow::Result<Self> {
        let errand = serde_json::to_string(errand).context("write an errand")?;
        let mut command = Command::new(own_program()?);
        command.args(["bench", "client-worker", "--server", url, &errand]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start a process to measure")?;
        let (Some(words), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("a process without pipes")
        };
        Ok(Self { child, words, lines: BufReader::new(stdout).lines() })
    }

    /// # Errors
    /// When it has ended.
    pub(super) async fn say(&mut self, word: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(word).context("write a word")?;
        line.push('\n');
        self.words.write_all(line.as_bytes()).await.context("the measured process has ended")
    }

    /// # Errors
    /// When it ends before, or says something else.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.lines.next_line().await.context("hear the measured process")?;
        let line = line.context("the measured process has ended; why stands above")?;
        serde_json::from_str(&line).with_context(|| format!("the measured process said {line:?}"))
    }

    /// Its last word.
    ///
    /// # Errors
    /// When it ends without.
    pub(super) async fn end(mut self) -> anyhow::Result<Answer> {
        let answer = self.hear().await?;
        self.child.wait().await.context("wait for the measured process")?;
        Ok(answer)
    }
}
