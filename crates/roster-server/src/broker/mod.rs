//! The broker: the one thread that owns the queues and says who gets which message.
//!
//! It applies what the writer of the queues has logged, answers those who asked, hands out messages, and
//! runs the timers. It never waits for anybody: what it sends goes into boxes that are bounded by what
//! their readers asked for.
//!
//! What consumers say goes to the dispatcher of their queue first. What comes of it is gathered, and of all
//! that is gathered one submission at a time is on its way to the log: while one is there, the next gathers.
//!
//! # Always true
//! * **E4, as logged**: an acknowledgement, a failure, a deadline that passed or a stream that ended changes
//!   nothing in a queue by itself; it becomes a command.
//! * **E5, one at a time**: of the broker's own commands one submission is at the writer at most, so that they
//!   are applied in the order in which they were gathered.

mod apply;
mod chance;
mod deliveries;
mod gathered;
mod lane;
mod mail;
mod rates;
mod results;
mod room;
mod summary;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use roster_core::Timestamp;
use roster_core::queue::{Command, ConsumerId, Discarded, Effects, QueueName, Queues};
use roster_proto::convert::{status_of, unavailable};
use roster_proto::v1;
use roster_store::{Queues as Stored, SnapshotError, SnapshotWriter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;
use tracing::warn;

use crate::awake::{Awake, AwakeClock, Hold, LOOK_AT_LEAST_EVERY, thread_time};
use crate::background;
use crate::clock::{Entropy, WallClock};
use crate::writer::LogView;
use chance::Chance;
pub(crate) use deliveries::DeliveryBox;
use lane::Lane;
pub(crate) use mail::{BROKER_MAIL_MAX, BrokerMail, Nack, News, Opened, Origin, Said, Submission, Words, WriterMail};
pub(crate) use results::ResultBox;
pub(crate) use room::{Load, NoRoom, Reservation, Room};
pub(crate) use summary::{Page, Part};

/// Mail taken in one go.
const MAIL_AT_ONCE: usize = 512;
/// After so long a turn messages are handed out before the rest of the mail.
const TURN: Duration = Duration::from_millis(20);
/// How often history is swept, and lanes that nobody uses are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How often what could not be logged is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// A write to the log that takes longer is a stall of the node.
const APPEND_STALL: Duration = Duration::from_secs(1);
/// Messages that one submission of the broker's own names, about.
const WORDS_PER_SUBMISSION: usize = 262_144;
/// Clocks count in milliseconds each for itself: less than this is no standstill.
const STANDSTILL_MILLIS_MIN: u64 = 20;

pub(crate) struct Broker {
    queues: Queues,
    effects: Effects,
    lanes: HashMap<QueueName, Lane>,
    consumers: HashMap<ConsumerId, QueueName>,
    last_consumer: u64,
    wakes: BTreeSet<(Timestamp, QueueName)>,
    /// Lanes where something happened this turn.
    touched: Vec<QueueName>,
    /// Lanes that have something for the log, those that have had it longest first.
    eager: std::collections::VecDeque<QueueName>,
    paused: Vec<(QueueName, ConsumerId)>,
    results_to_wake: Vec<Arc<ResultBox>>,
    deliveries_to_wake: Vec<Arc<DeliveryBox>>,
    /// Of batches that were applied this turn: given back when their rooms know what is kept.
    spent: Vec<Reservation>,
    mail: mpsc::Receiver<BrokerMail>,
    writer: mpsc::Sender<WriterMail>,
    /// A place in the writer's mail that is kept for the broker: whoever else waits for one, it has its turn.
    place: Option<mpsc::OwnedPermit<WriterMail>>,
    /// The writer takes no more.
    is_writer_gone: bool,
    /// Whether a submission of the broker's own is at the writer.
    is_under_way: bool,
    /// What the writer did not take: goes before everything that gathered since.
    retry: Option<(Vec<Command>, Said)>,
    settled: Vec<oneshot::Sender<()>>,
    clock: Arc<dyn WallClock>,
    awake: AwakeClock,
    /// Processor time of this thread that the awake clock knows of: a long turn is no stall.
    worked: Duration,
    started: Instant,
    /// What the time of day had, and what the awake clock, when both were looked at first.
    began: (Timestamp, Awake),
    /// By how much deadlines were moved so far, in milliseconds.
    postponed: u64,
    log: LogView,
    chance: Chance,
    next_sweep: Instant,
    next_retry: Instant,
    stopping: bool,
    snapshots: Vec<JoinHandle<()>>,
    discards: std::sync::mpsc::SyncSender<Discarded>,
    _discarder: JoinHandle<()>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}

impl Broker {
    /// # Errors
    /// When there is no thread for what is discarded.
    pub(crate) fn new(
        queues: Queues,
        mail: mpsc::Receiver<BrokerMail>,
        writer: mpsc::Sender<WriterMail>,
        clock: Arc<dyn WallClock>,
        entropy: Arc<dyn Entropy>,
        log: LogView,
    ) -> std::io::Result<Self> {
        let now = Instant::now();
        // What a purge or a deletion took out, perhaps millions of messages, is dropped there.
        let (discards, discarded) = std::sync::mpsc::sync_channel::<Discarded>(16);
        let discard = move || {
            background::make_way();
            discarded.into_iter().for_each(drop);
        };
        let discarder = std::thread::Builder::new().name("discarder".into()).spawn(discard)?;
        let began = (clock.now(), Awake::default());
        Ok(Self {
            queues,
            effects: Effects::default(),
            lanes: HashMap::new(),
            consumers: HashMap::new(),
            last_consumer: 0,
            wakes: BTreeSet::new(),
            touched: Vec::new(),
            eager: std::collections::VecDeque::new(),
            paused: Vec::new(),
            results_to_wake: Vec::new(),
            deliveries_to_wake: Vec::new(),
            spent: Vec::new(),
            mail,
            writer,
            place: None,
            is_writer_gone: false,
            is_under_way: false,
            retry: None,
            settled: Vec::new(),
            clock,
            awake: AwakeClock::default(),
            worked: Duration::ZERO,
            started: now,
            began,
            postponed: 0,
            log,
            chance: Chance::new(entropy),
            next_sweep: now + SWEEP_INTERVAL,
            next_retry: now + RETRY_INTERVAL,
            stopping: false,
            snapshots: Vec::new(),
            discards,
            _discarder: discarder,
        })
    }

    /// Runs until [`BrokerMail::Quit`].
    pub(crate) async fn run(mut self) {
        let mut mails = Vec::with_capacity(MAIL_AT_ONCE);
        let mut reserving = Box::pin(self.writer.clone().reserve_owned());
        let mut is_reserving = true;
        loop {
            if !is_reserving && self.place.is_none() && !self.is_writer_gone {
                reserving = Box::pin(self.writer.clone().reserve_owned());
                is_reserving = true;
            }
            let look = tokio::time::sleep(LOOK_AT_LEAST_EVERY.min(self.sleep()));
            tokio::select! {
                biased;
                place = &mut reserving, if is_reserving => {
                    is_reserving = false;
                    self.is_writer_gone = place.is_err();
                    self.place = place.ok();
                }
                received = self.mail.recv_many(&mut mails, MAIL_AT_ONCE) => if received == 0 { break },
                () = look => {}
            }
            self.look_at_clock();
            let mut turn_began = self.started.elapsed();
            for mail in mails.drain(..) {
                if let BrokerMail::Quit = mail {
                    for snapshot in self.snapshots.drain(..) {
                        let _ = snapshot.join();
                    }
                    return;
                }
                self.take_in(mail);
                if self.started.elapsed() >= turn_began + TURN {
                    self.end_turn();
                    turn_began = self.started.elapsed();
                }
            }
            self.end_turn();
        }
    }

    fn sleep(&self) -> Duration {
        let Some((wake, _)) = self.wakes.first() else { return LOOK_AT_LEAST_EVERY };
        Duration::from_millis(wake.get().saturating_sub(self.clock.now().get()))
    }

    /// A deadline is a time of day, and moves by as much as the time of day went on without the node: while
    /// the node stood still, or when the clock was set forward.
    fn look_at_clock(&mut self) {
        let worked = thread_time().saturating_sub(self.worked);
        self.worked += worked;
        let hold = if self.log.is_appending_for(APPEND_STALL) { Hold::Log } else { Hold::Nothing };
        self.awake.look(self.started.elapsed(), worked, hold);
        let lived = self.began.1.until(self.awake.now());
        let passed = self.clock.now().get().saturating_sub(self.began.0.get());
        let behind = passed.saturating_sub(u64::try_from(lived.as_millis()).unwrap_or(u64::MAX));
        if behind >= self.postponed + STANDSTILL_MILLIS_MIN {
            let millis = behind - self.postponed;
            self.postponed = behind;
            for (name, lane) in &mut self.lanes {
                if lane.dispatcher.traffic().in_flight > 0 {
                    lane.dispatcher.postpone(millis);
                    if !std::mem::replace(&mut lane.is_touched, true) {
                        self.touched.push(name.clone());
                    }
                }
            }
        }
    }

    fn take_in(&mut self, mail: BrokerMail) {
        match mail {
            BrokerMail::Log(News::Logged { first, at, submissions }) => self.apply(first, at, submissions),
            BrokerMail::Log(News::NotLogged { submissions, refusal }) => self.not_logged(submissions, &refusal),
            BrokerMail::Log(News::CopyState(writer)) => self.copy_state(writer),
            BrokerMail::Log(News::Stop) | BrokerMail::Stop => self.stop(),
            BrokerMail::Room { queue, producer, reply } => {
                let opened = self.open(&queue).map(|lane| lane.room.clone());
                let last_sequence =
                    producer.and_then(|producer| Some(self.queues.queue(&queue)?.last_sequence(&producer)));
                let last_sequence = last_sequence.unwrap_or_default();
                let _ = reply.send(opened.map(|room| Opened { room, last_sequence }));
            }
            BrokerMail::OpenPublish { queue, producer, stream, results, reply } => {
                let opened = self.open(&queue).map(|lane| {
                    lane.producers.insert(stream, results);
                    lane.room.clone()
                });
                let last_sequence = self.queues.queue(&queue).map_or(0, |queue| queue.last_sequence(&producer));
                let _ = reply.send(opened.map(|room| Opened { room, last_sequence }));
            }
            BrokerMail::ClosePublish { queue, stream } => {
                if let Some(lane) = self.lanes.get_mut(&queue) {
                    lane.producers.remove(&stream);
                }
            }
            BrokerMail::Join { queue, window, deliveries, reply } => {
                let consumer = ConsumerId(self.last_consumer + 1);
                let ack_timeout_ms = self.queues.queue(&queue).map_or(0, |known| known.settings().ack_timeout_millis);
                let joined = self.open(&queue).map(|lane| {
                    deliveries.open(v1::ConsumeOpened { consumer_id: consumer.0, ack_timeout_ms });
                    lane.join(consumer, window, deliveries);
                });
                if joined.is_ok() {
                    self.last_consumer += 1;
                    self.touch(&queue);
                    self.consumers.insert(consumer, queue);
                }
                let _ = reply.send(joined.map(|()| consumer));
            }
            BrokerMail::Words { consumer, words } => {
                let now = self.clock.now();
                let Some(name) = self.consumers.get(&consumer).cloned() else { return };
                let (Some(queue), Some(lane)) = (self.queues.queue(&name), self.lanes.get_mut(&name)) else { return };
                lane.take_words(now, queue, consumer, words, &mut self.chance);
                self.touch(&name);
            }
            // What is held when the node stops is with nobody after its next start.
            BrokerMail::Leave(_) if self.stopping => {}
            BrokerMail::Leave(consumer) => {
                let Some(name) = self.consumers.remove(&consumer) else { return };
                let Some(lane) = self.lanes.get_mut(&name) else { return };
                lane.leave(consumer);
                self.touch(&name);
            }
            BrokerMail::Read(read) => read(self),
            BrokerMail::Settle(reply) => self.settled.push(reply),
            BrokerMail::Quit => {}
        }
    }

    /// The lane of a queue, for somebody who begins to use it.
    fn open(&mut self, name: &QueueName) -> Result<&mut Lane, v1::Refusal> {
        if self.stopping {
            return Err(unavailable("the node stops; try again later or elsewhere"));
        }
        let Some(queue) = self.queues.queue(name) else { return Err(unknown(name)) };
        Ok(self.lanes.entry(name.clone()).or_insert_with(|| Lane::new(name, queue)))
    }

    fn touch(&mut self, name: &QueueName) {
        if let Some(lane) = self.lanes.get_mut(name)
            && !std::mem::replace(&mut lane.is_touched, true)
        {
            self.touched.push(name.clone());
        }
    }

    /// Runs what is due, hands out, sends what is gathered, and wakes whoever has something to read.
    fn end_turn(&mut self) {
        self.look_at_clock();
        let now = self.clock.now();
        while let Some((wake, _)) = self.wakes.first()
            && *wake <= now
        {
            let Some((_, name)) = self.wakes.pop_first() else { break };
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.wake = None;
            }
            self.touch(&name);
        }
        let mut paused = std::mem::take(&mut self.paused);
        paused.retain(|(name, consumer)| {
            let stays = self.lanes.get_mut(name).is_some_and(|lane| lane.stays_paused(*consumer));
            if !stays {
                self.touch(name);
            }
            stays
        });
        self.paused = paused;
        for name in std::mem::take(&mut self.touched) {
            self.settle_lane(now, &name);
        }
        self.spent.clear();
        self.submit_gathered();
        self.housekeeping();
        self.results_to_wake.drain(..).for_each(|results| results.wake());
        self.deliveries_to_wake.drain(..).for_each(|deliveries| deliveries.wake());
        if self.eager.is_empty() && !self.is_under_way && self.retry.is_none() {
            for settled in self.settled.drain(..) {
                let _ = settled.send(());
            }
        }
    }

    fn settle_lane(&mut self, now: Timestamp, name: &QueueName) {
        let (Some(queue), Some(lane)) = (self.queues.queue(name), self.lanes.get_mut(name)) else { return };
        lane.is_touched = false;
        if !self.stopping {
            lane.expire(now, queue, &mut self.chance);
            let mut paused = Vec::new();
            lane.deliver(now, queue, &mut self.deliveries_to_wake, &mut paused);
            self.paused.extend(paused.into_iter().map(|consumer| (name.clone(), consumer)));
        }
        lane.room.look_at(queue);
        let wake = lane.dispatcher.next_wake(queue).filter(|_| !self.stopping);
        if wake != lane.wake {
            if let Some(before) = std::mem::replace(&mut lane.wake, wake) {
                self.wakes.remove(&(before, name.clone()));
            }
            self.wakes.extend(wake.map(|wake| (wake, name.clone())));
        }
        if !lane.gathered.is_empty() && !std::mem::replace(&mut lane.is_eager, true) {
            self.eager.push_back(name.clone());
        }
    }

    /// Sends the next submission of the broker's own, when none is at the writer.
    fn submit_gathered(&mut self) {
        if self.is_under_way || self.retry.is_some() || self.place.is_none() {
            return;
        }
        let (mut commands, mut said, mut budget) = (Vec::new(), Said::default(), WORDS_PER_SUBMISSION);
        while budget > 0
            && let Some(name) = self.eager.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.gathered.move_into(&name, &mut budget, &mut commands, &mut said);
            lane.is_eager = !lane.gathered.is_empty();
            if lane.is_eager {
                self.eager.push_front(name);
            }
        }
        if commands.is_empty() {
            // Nobody has said anything before that is not in the log.
            self.confirm(said);
        } else {
            self.submit(commands, said);
        }
    }

    fn submit(&mut self, commands: Vec<Command>, said: Said) {
        debug_assert!(!self.is_under_way, "E5: two submissions at a time");
        match self.place.take() {
            Some(place) => {
                place.send(WriterMail::Submission(Submission::new(commands, Origin::Broker(said))));
                self.is_under_way = true;
            }
            None => self.retry = Some((commands, said)),
        }
    }

    fn confirm(&mut self, said: Said) {
        for (deliveries, confirm) in said.confirms {
            if deliveries.confirm(confirm) {
                self.deliveries_to_wake.push(deliveries);
            }
        }
    }

    fn housekeeping(&mut self) {
        let now = Instant::now();
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            let _ = self.writer.try_send(WriterMail::Sweep);
            self.snapshots.retain(|snapshot| !snapshot.is_finished());
            let wakes = &mut self.wakes;
            self.lanes.retain(|name, lane| {
                let is_idle = lane.is_idle() && !lane.is_touched && !lane.is_eager;
                if let (true, Some(wake)) = (is_idle, lane.wake) {
                    wakes.remove(&(wake, name.clone()));
                }
                !is_idle
            });
        }
        if now >= self.next_retry {
            self.next_retry = now + RETRY_INTERVAL;
            if self.log.read_only().is_some() {
                let _ = self.writer.try_send(WriterMail::ProbeRoom);
            }
            if let Some((commands, said)) = self.retry.take() {
                self.submit(commands, said);
            }
        }
    }

    fn copy_state(&mut self, mut snapshot: SnapshotWriter<Stored>) {
        let items = self.queues.snapshot();
        let writer = self.writer.clone();
        let write = move || {
            background::make_way();
            let written = items.items().try_for_each(|item| snapshot.push(&item)).and_then(|()| snapshot.finish());
            // What was deleted or purged meanwhile is freed here.
            drop(items);
            let _ = writer.blocking_send(WriterMail::SnapshotDone(written));
        };
        match std::thread::Builder::new().name("queue-snapshot".into()).spawn(write) {
            Ok(thread) => self.snapshots.push(thread),
            Err(error) => {
                warn!(%error, "no thread for the snapshot of the queues");
                let _ = self.writer.try_send(WriterMail::SnapshotDone(Err(SnapshotError::Superseded)));
            }
        }
    }

    /// Every stream ends. Nothing is released: after the next start nobody holds anything.
    fn stop(&mut self) {
        self.stopping = true;
        let status = status_of(&unavailable("the node stops; try again later or elsewhere"));
        for lane in self.lanes.values_mut() {
            lane.close(&status);
        }
    }
}

fn unknown(name: &QueueName) -> v1::Refusal {
    roster_core::queue::Refusal::UnknownQueue { queue: name.clone() }.into()
}

fn deleted(name: &QueueName) -> Status {
    let refusal = v1::Refusal { message: format!("queue {name} was deleted"), ..unknown(name) };
    status_of(&refusal)
}
