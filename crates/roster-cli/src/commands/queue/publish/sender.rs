//! What is read goes to the producer, and its receipts are counted.
//!
//! Each piece of input is counted once: stored, skipped, refused or not known. A producer with an id that is
//! run again skips as many of the messages that could be sent as were stored; so what is too large has no
//! number in that count, and the same input is counted alike each time.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roster_client::queue::{Fate, Link, Message, Pending, Producer, QueueName, Raw, Receipt, Unpublished};
use roster_client::{Client, Error};
use tokio::time::{Instant, sleep_until};

use super::fullness::Fullness;
use super::reader::{Content, Piece, Reader};
use crate::commands::queue::contact::Contact;
use crate::exit::{self, Ending, Exit};
use crate::render::{Screen, Sent};
use crate::wrapped::StopSignals;

/// Messages whose receipts are waited for; beyond that no more is read.
const PENDING_MAX: usize = 16 * 1024;
/// After a signal, what was taken has so long to be stored.
const FLUSH_WITHIN: Duration = Duration::from_secs(10);
/// Whatever is done before is not worth a progress line.
const QUICK: Duration = Duration::from_secs(1);
/// Messages that are named when they fail; the others are counted.
const NAMED_MAX: u64 = 20;

/// Sends, and tells how it goes.
pub(super) struct Sender {
    producer: Producer<Message, Raw>,
    contact: Contact,
    fullness: Fullness,
    signals: StopSignals,
    pending: VecDeque<(u64, Pending)>,
    sent: Sent,
    named: u64,
    bar: ProgressBar,
    /// Messages that can be sent, counted as the producer numbers them.
    sequence: u64,
}

/// Why nothing more is read.
enum Over {
    /// All of it was.
    Input,
    Signal,
    /// The piece with this number is wrong.
    Broken(u64, String),
    /// The producer has ended.
    Producer(Error),
}

impl Sender {
    pub(super) fn new(
        client: &Client,
        queue: &QueueName,
        producer: Producer<Message, Raw>,
        nodes: &[String],
    ) -> anyhow::Result<Self> {
        Ok(Self {
            contact: Contact::new(producer.link(), nodes),
            fullness: Fullness::new(client.queues(), queue.clone()),
            producer,
            signals: StopSignals::listen()?,
            pending: VecDeque::new(),
            sent: Sent::new(queue),
            named: 0,
            bar: bar(),
            sequence: 0,
        })
    }

    /// Sends what is read, to its end or until something ends it, and shows what became of it.
    pub(super) async fn send_all(mut self, reader: Reader, resumes: bool, screen: Screen) -> anyhow::Result<Exit> {
        let over = self.send(reader, resumes).await?;
        self.flush(&over).await?;
        let has_failed = matches!(*self.producer.link().borrow(), Link::Ended { .. });
        if self.producer.unanswered() == 0 && !has_failed {
            // Only the farewell is left; a node that does not hear it has lost nothing.
            let _ = self.producer.close(QUICK).await;
        }
        self.bar.finish_and_clear();
        screen.show(&self.sent)?;
        if self.named > NAMED_MAX {
            eprintln!("roster: {} more were not named", self.named - NAMED_MAX);
        }
        match over {
            Over::Producer(error) => Err(error.into()),
            Over::Broken(number, why) => {
                Err(Ending::error(Exit::Failure, format!("message {number}: {why}; it is not sent, and none after it")))
            }
            Over::Input | Over::Signal if has_failed => Err(self.producer.ended().await.into()),
            Over::Signal => Err(Ending::error(Exit::Failure, "stopped by a signal before the end of the input")),
            Over::Input if self.sent.refused > 0 => Ok(Exit::Refused),
            Over::Input if self.sent.unknown > 0 => Ok(Exit::Failure),
            Over::Input => Ok(Exit::Success),
        }
    }

    async fn send(&mut self, mut reader: Reader, resumes: bool) -> anyhow::Result<Over> {
        let stored_before = match self.stored_before(resumes).await? {
            Ok(stored) => stored,
            Err(over) => return Ok(over),
        };
        let quick_until = Instant::now() + QUICK;
        let mut is_quick = true;
        loop {
            if is_quick && Instant::now() >= quick_until {
                is_quick = false;
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(Over::Signal),
                line = self.contact.next() => say(&self.bar, &line?),
                (number, answer) = first(&mut self.pending) => self.settle(number, answer),
                piece = reader.next(), if self.pending.len() < PENDING_MAX => match piece {
                    None => return Ok(Over::Input),
                    Some(piece) => if let Some(over) = self.take(piece, stored_before).await? {
                        return Ok(over);
                    },
                },
                () = sleep_until(quick_until), if is_quick => {}
                line = self.fullness.next(), if !self.pending.is_empty() => say(&self.bar, &line),
            }
        }
    }

    /// How many of the messages an earlier run of this producer has stored.
    async fn stored_before(&mut self, resumes: bool) -> anyhow::Result<Result<u64, Over>> {
        if !resumes {
            return Ok(Ok(0));
        }
        loop {
            tokio::select! {
                biased;
                stored = self.producer.last_sequence() => return Ok(stored.map_err(Over::Producer)),
                _ = self.signals.next() => return Ok(Err(Over::Signal)),
                line = self.contact.next() => say(&self.bar, &line?),
            }
        }
    }

    /// Gives a piece to the producer as soon as there is room.
    async fn take(&mut self, piece: Piece, stored_before: u64) -> anyhow::Result<Option<Over>> {
        let Piece { number, content } = piece;
        let message = match content {
            Content::Broken(why) => return Ok(Some(Over::Broken(number, why))),
            Content::TooLarge { bytes, max } => {
                self.sent.refused += 1;
                self.name(&format!(
                    "message {number} is refused: it has {bytes} bytes; this queue takes {max} at most"
                ));
                return Ok(None);
            }
            Content::Message(message) => message,
        };
        self.sequence += 1;
        if self.sequence <= stored_before {
            self.sent.skipped += 1;
            return Ok(None);
        }
        let offer = self.producer.publish_message_soon(message);
        let mut offer = std::pin::pin!(offer);
        loop {
            tokio::select! {
                biased;
                taken = &mut offer => match taken {
                    Ok(pending) => {
                        self.pending.push_back((number, pending));
                        return Ok(None);
                    }
                    Err(error) => return Ok(Some(Over::Producer(error))),
                },
                _ = self.signals.next() => return Ok(Some(Over::Signal)),
                line = self.contact.next() => say(&self.bar, &line?),
                line = self.fullness.next() => say(&self.bar, &line),
            }
        }
    }

    /// Waits for the receipts of everything that was taken; after a signal not for long.
    async fn flush(&mut self, over: &Over) -> anyhow::Result<()> {
        let patience = match over {
            Over::Signal => FLUSH_WITHIN,
            Over::Input | Over::Broken(..) | Over::Producer(_) => Duration::MAX,
        };
        let mut until = Instant::now().checked_add(patience);
        if matches!(over, Over::Signal) && !self.pending.is_empty() && self.contact.is_lost() {
            let waiting = self.pending.len();
            say(&self.bar, &format!("{waiting} messages wait for a node; a second signal gives them up"));
        }
        while !self.pending.is_empty() {
            tokio::select! {
                biased;
                (number, answer) = first(&mut self.pending) => self.settle(number, answer),
                _ = self.signals.next() => match until {
                    None => {
                        say(&self.bar, "sending what was taken; a second signal gives it up");
                        until = Instant::now().checked_add(FLUSH_WITHIN);
                    }
                    Some(_) => break,
                },
                () = reached(until) => break,
                line = self.contact.next() => say(&self.bar, &line?),
                line = self.fullness.next() => say(&self.bar, &line),
            }
        }
        self.sent.unknown += self.pending.drain(..).count() as u64;
        Ok(())
    }

    fn settle(&mut self, number: u64, answer: Result<Receipt, Unpublished>) {
        match answer {
            Ok(receipt) => {
                self.fullness.moved();
                self.sent.store(receipt.message_id);
                self.bar.inc(1);
            }
            Err(unpublished) => {
                let what = match (unpublished.fate, &unpublished.error) {
                    (Fate::NotStored, _) => {
                        self.sent.refused += 1;
                        "is refused"
                    }
                    (Fate::Unknown, _) => {
                        self.sent.unknown += 1;
                        "is not known to be stored"
                    }
                };
                let why = exit::chain(&unpublished.error.into());
                self.name(&format!("message {number} {what}: {why}"));
            }
        }
    }

    fn name(&mut self, line: &str) {
        self.named += 1;
        if self.named <= NAMED_MAX {
            say(&self.bar, line);
        }
    }
}

/// The answer to the first of those that wait, and who it is. Waits for ever when nobody does. Nothing is
/// lost when this is dropped before it is done.
async fn first(pending: &mut VecDeque<(u64, Pending)>) -> (u64, Result<Receipt, Unpublished>) {
    let Some((number, answer)) = pending.front_mut() else { return std::future::pending().await };
    let answered = (*number, answer.await);
    pending.pop_front();
    answered
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn say(bar: &ProgressBar, line: &str) {
    bar.suspend(|| eprintln!("roster: {line}"));
}

/// Shown on standard error, where that is a terminal, once it takes long.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} stored, {per_sec}") {
        bar.set_style(style);
    }
    bar
}
