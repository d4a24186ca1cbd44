//! `roster backup`: the logs of a node, copied while they grow.
//!
//! Here the stream of the SDK meets the disk of the store; neither knows the other.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use roster_client::{FollowEvent, LogFollower};
use roster_core::{Position, Timestamp};
use roster_proto::v1;
use roster_proto::v1::follow_response::Piece as WirePiece;
use roster_store::{Codec, Directories, Directory, FileSet, Piece, Queues, RealDisk, Replica, ReplicaError, tools};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::logs::NodeLog;
use super::node;
use crate::exit::{self, Ending, Exit};
use crate::render::{CopyLine, Screen};
use crate::wrapped::StopSignals;

/// How often what has changed is shown.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster backup --from http://10.0.0.1:7400 --to /backup/roster
  roster backup --from http://10.0.0.1:7400 --to /backup/roster --once
  roster backup --to ./backup --output json | jq .lag_ms
  roster restore --from /backup/roster --to /var/lib/roster

Copies what the node has on its disk, byte for byte and always whole frames, and goes on with every
change: stop it with a signal, start it again, it continues. The node may be restarted meanwhile. What is in
DIR can be restored at any time. The copy is behind the node by what was not yet sent: what the node
has answered in the last moments before its disk is lost may be missing.
Ends with 5 when no node was ever reached; with 6 when DIR is damaged; with 1 when DIR holds something else,
or what the node no longer has, which is then kept.
Fields of --output text: log, position, bytes received, milliseconds since it had everything.")]
pub(crate) struct Backup {
    /// The node [default: that of --server]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    from: Vec<String>,
    /// Where the copy is; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// End when everything is copied and verified
    #[arg(long)]
    once: bool,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Forever,
    CaughtUp,
}

/// How far a copy is.
#[derive(Debug, Clone, Default)]
struct Progress {
    position: Position,
    received: u64,
    /// When it last had everything.
    caught_up: Option<Instant>,
}

pub(crate) async fn run(backup: Backup, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let nodes = if backup.from.is_empty() { nodes } else { &backup.from[..] };
    let client = node::client(nodes)?;
    let mut signals = StopSignals::listen()?;
    let until = if backup.once { Until::CaughtUp } else { Until::Forever };
    let mut copies = JoinSet::new();
    let mut shown = Vec::new();
    for log in NodeLog::ALL {
        let (progress, told) = watch::channel(Progress::default());
        let job = Job {
            log,
            follower: client.follow_log(log.word()),
            dir: log.folder(&backup.to),
            until,
            progress,
            contact: Contact::Never { attempts_left: nodes.len() },
            nodes: nodes.join(", "),
        };
        match log {
            NodeLog::Directory => copies.spawn(job.run::<Directory>()),
            NodeLog::Queues => copies.spawn(job.run::<Queues>()),
        };
        shown.push((log, told, None));
    }
    let spinner = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let mut ticks = tokio::time::interval(SHOW_INTERVAL);
    loop {
        tokio::select! {
            ended = copies.join_next() => match ended {
                Some(ended) => ended.context("a copy broke off")??,
                None => break,
            },
            _ = ticks.tick() => {
                for (log, told, last) in &mut shown {
                    let progress = told.borrow_and_update().clone();
                    spinner.set_message(line(*log, &progress).sentence());
                    if progress.caught_up.is_some() && *last != Some(progress.position) {
                        *last = Some(progress.position);
                        spinner.suspend(|| screen.show_next(&line(*log, &progress)))?;
                    }
                }
                spinner.tick();
            }
            _ = signals.next() => break,
        }
    }
    spinner.finish_and_clear();
    for (log, told, last) in &shown {
        let progress = told.borrow().clone();
        if progress.caught_up.is_some() && *last != Some(progress.position) {
            screen.show_next(&line(*log, &progress))?;
        }
    }
    Ok(Exit::Success)
}

fn line(log: NodeLog, progress: &Progress) -> CopyLine {
    let lag = progress.caught_up.map(|since| since.elapsed());
    CopyLine::new(log.word(), progress.position.get(), progress.received, lag)
}

/// Whether a node was ever reached.
enum Contact {
    /// Each address gets one attempt; then it is more useful to say so than to wait.
    Never { attempts_left: usize },
    /// From here on the copy outlives the node.
    Made,
    /// Lost, and said so.
    Lost,
}

/// The copy of one log.
struct Job {
    log: NodeLog,
    follower: LogFollower,
    dir: PathBuf,
    until: Until,
    progress: watch::Sender<Progress>,
    contact: Contact,
    /// Where it looks for one.
    nodes: String,
}

impl Job {
    async fn run<C: Codec>(mut self) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        let mut replica = blocking(move || Replica::<C>::open(Arc::new(RealDisk), dir)).await??;
        loop {
            let event = if self.follower.is_connected() {
                self.follower.next().await
            } else {
                let (back, held) = blocking(move || {
                    let held = replica.held();
                    (replica, held)
                })
                .await?;
                replica = back;
                self.follower.connect(held?.into_iter().map(encode).collect()).await
            };
            match event {
                FollowEvent::Connected { endpoint } => self.made_contact(&endpoint),
                FollowEvent::Disconnected { why } => self.lost_contact(&why)?,
                FollowEvent::Refused(refusal) => {
                    let why = format!("the backup of {} is refused: {}", self.log.word(), refusal.message);
                    return Err(Ending::error(exit::of_refusal(refusal.code()), why));
                }
                FollowEvent::Piece(piece) => {
                    let piece = decode(piece);
                    let is_caught_up = matches!(piece, Piece::CaughtUp { .. });
                    let (back, taken) = blocking(move || {
                        let taken = replica.take(piece);
                        (replica, taken)
                    })
                    .await?;
                    replica = back;
                    match taken {
                        Ok(()) => self.tell(&replica, is_caught_up),
                        Err(error) if error.is_worth_another_try() => {
                            self.follower.hang_up();
                            self.lost_contact(&error.to_string())?;
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    }
                    if is_caught_up && self.until == Until::CaughtUp {
                        let (dir, reached) = (self.dir.clone(), replica.position());
                        return blocking(move || verified::<C>(dir, reached)).await?;
                    }
                }
            }
        }
    }

    fn tell<C: Codec>(&self, replica: &Replica<C>, is_caught_up: bool) {
        self.progress.send_modify(|progress| {
            progress.position = replica.position();
            progress.received = replica.received_bytes();
            if is_caught_up {
                progress.caught_up = Some(Instant::now());
            }
        });
    }

    fn made_contact(&mut self, endpoint: &str) {
        if let Contact::Lost = self.contact {
            eprintln!("roster: {}: in contact again with {endpoint}", self.log.word());
        }
        self.contact = Contact::Made;
    }

    fn lost_contact(&mut self, why: &str) -> anyhow::Result<()> {
        match &mut self.contact {
            Contact::Made => {
                eprintln!("roster: {}: out of contact, trying again: {why}", self.log.word());
                self.contact = Contact::Lost;
                Ok(())
            }
            // Each attempt that fails is nobody's news.
            Contact::Lost if self.until == Until::Forever => Ok(()),
            Contact::Never { attempts_left } if *attempts_left > 1 => {
                *attempts_left -= 1;
                Ok(())
            }
            Contact::Lost | Contact::Never { .. } => {
                Err(Ending::error(Exit::Unreachable, format!("cannot reach a node at {}: {why}", self.nodes)))
            }
        }
    }
}

/// Reads all of a copy once more.
fn verified<C: Codec>(dir: PathBuf, reached: Position) -> anyhow::Result<()> {
    let report = tools::verify::<C>(&RealDisk, &Directories::new(dir.clone(), None))?;
    let problem = report.problems.into_iter().chain(report.torn).next();
    match problem {
        Some(damage) => Err(ReplicaError::Damaged(damage).into()),
        None if report.next_position != reached.next() => {
            let why =
                format!("the copy in {} reaches up to before {}, not {reached}", dir.display(), report.next_position);
            Err(Ending::error(Exit::LogDamaged, why))
        }
        None => Ok(()),
    }
}

/// The disk is waited for elsewhere, so that the streams and the signals are heard meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("write the copy")
}

fn encode(held: roster_store::HeldFile) -> v1::HeldFile {
    v1::HeldFile { name: held.name, bytes: held.bytes, tail_crc32c: held.tail_crc }
}

fn decode(piece: WirePiece) -> Piece {
    match piece {
        WirePiece::Files(files) => Piece::Files(FileSet {
            content: files.content,
            log: files.log_id,
            last_generation: files.last_generation,
            snapshot: Some(files.snapshot).filter(|name| !name.is_empty()),
            segments: files.segments,
            bytes: files.bytes,
        }),
        WirePiece::Chunk(chunk) => Piece::Chunk { file: chunk.file, offset: chunk.offset, bytes: chunk.bytes },
        WirePiece::CaughtUp(at) => {
            Piece::CaughtUp { position: Position::new(at.position), at: Timestamp::new(at.unix_ms) }
        }
        WirePiece::Diverged(diverged) => Piece::Diverged { file: diverged.file, why: diverged.why },
    }
}
