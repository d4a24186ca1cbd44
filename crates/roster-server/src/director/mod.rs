//! The director: the one thread that owns the directory.
//!
//! It applies what the writer has logged, answers those who asked, tells those who watch, and runs the
//! timers. It never waits for anybody: what it sends goes into bounded boxes whose readers may be slow.
//!
//! It has two lanes of mail. What is logged, signs of life and who asks for them are taken in first; reads and
//! watches have a turn after each handful of those, so that neither lane starves the other.
//!
//! The directory is moved into it: nobody else can read or change it, others send mail.
//!
//! # Always true
//! * **N3, as logged**: a timer or a lost stream changes nothing by itself; it becomes a command.

mod apply;
mod losses;
mod probes;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use roster_core::directory::{Command, Directory, Effects, Event, Notice, SuspectReason};
use roster_core::{InstanceId, Position, Selector, SessionId};
use roster_proto::v1;
use roster_proto::v1::check_response::Outcome as Checked;
use roster_proto::v1::session_response::Response;
use roster_store::{SnapshotError, SnapshotWriter};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use tracing::warn;

use crate::awake::{AwakeClock, Hold, LOOK_AT_LEAST_EVERY, Oddity, thread_time};
use crate::background;
use crate::drains::{Drains, Report};
use crate::guard::{Guard, GuardSettings};
use crate::liveness::{Due, Liveness, Spans};
use crate::mail::{Attached, Counts, DirectorMail, Origin, Submission, WriterMail};
use crate::pulse::Pulse;
use crate::sessions::Sessions;
use crate::stamps::Stamps;
use crate::submission::News;
use crate::watch::{WatchHub, WatchSettings};
use crate::writer::LogView;

/// Mail taken in one go.
const MAIL_AT_ONCE: usize = 512;
/// The longest that a drain is reported on.
const DRAIN_MILLIS_MAX: u32 = 3_600_000;
/// After so long a turn others are served before the rest of the mail.
const TURN: Duration = Duration::from_millis(20);
/// How often history is swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// A write to the log that takes longer is a stall of the node: nobody who is heard can be noted down.
const APPEND_STALL: Duration = Duration::from_secs(1);
/// While the edge is behind by more than this, nobody ages (but not for ever): what they answered may wait to be read.
const EDGE_STALL: Duration = Duration::from_millis(100);
/// How often what could not be logged is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectorSettings {
    pub(crate) spans: Spans,
    pub(crate) watches: WatchSettings,
    pub(crate) guard: GuardSettings,
    pub(crate) bookmark_interval: Duration,
}

/// What binds the director to the other parts of the node.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) mail: mpsc::Receiver<DirectorMail>,
    /// News of the writer and signs of life: taken in first.
    pub(crate) urgent: mpsc::Receiver<DirectorMail>,
    pub(crate) writer: mpsc::Sender<WriterMail>,
    pub(crate) log: LogView,
    pub(crate) edge: Pulse,
    pub(crate) stamps: Arc<Stamps>,
}

#[derive(Debug)]
pub(crate) struct Director {
    directory: Directory,
    stamps: Arc<Stamps>,
    effects: Effects,
    /// What owners are told when the submission that it follows from is answered.
    notices: Vec<(Position, Notice)>,
    liveness: Liveness,
    guard: Guard,
    clock: AwakeClock,
    /// Processor time of this thread that the clock knows of: a long turn is no stall.
    worked: Duration,
    log: LogView,
    edge: Pulse,
    started: Instant,
    sessions: Sessions,
    watches: WatchHub,
    drains: Drains,
    mail: mpsc::Receiver<DirectorMail>,
    urgent: mpsc::Receiver<DirectorMail>,
    /// When this turn began.
    turn_began: Duration,
    writer: mpsc::Sender<WriterMail>,
    /// Commands of the director's own that the writer could not take yet.
    backlog: VecDeque<Command>,
    /// Streams that ended while the node caught up after a stall. Clients that gave it up meanwhile are
    /// back on other streams, which wait behind these; whoever is not when all is read is suspect.
    ended: Vec<Attached>,
    due: Vec<Due>,
    settings: DirectorSettings,
    next_bookmark: Instant,
    next_sweep: Instant,
    next_retry: Instant,
    stopping: bool,
    snapshots: Vec<JoinHandle<()>>,
}

impl Director {
    pub(crate) fn new(directory: Directory, links: Links, settings: DirectorSettings) -> Self {
        let Links { mail, urgent, writer, log, edge, stamps } = links;
        let now = Instant::now();
        let start = directory.revision().next();
        Self {
            directory,
            stamps,
            effects: Effects::default(),
            notices: Vec::new(),
            liveness: Liveness::new(settings.spans),
            guard: Guard::new(settings.guard),
            clock: AwakeClock::default(),
            worked: Duration::ZERO,
            log,
            edge,
            started: now,
            sessions: Sessions::default(),
            watches: WatchHub::new(settings.watches, start),
            drains: Drains::default(),
            mail,
            urgent,
            turn_began: Duration::ZERO,
            writer,
            backlog: VecDeque::new(),
            ended: Vec::new(),
            due: Vec::new(),
            settings,
            next_bookmark: now + settings.bookmark_interval,
            next_sweep: now + SWEEP_INTERVAL,
            next_retry: now + RETRY_INTERVAL,
            stopping: false,
            snapshots: Vec::new(),
        }
    }

    /// Runs until [`DirectorMail::Quit`].
    pub(crate) async fn run(mut self) {
        let mut urgent = Vec::with_capacity(MAIL_AT_ONCE);
        loop {
            let look = tokio::time::sleep(LOOK_AT_LEAST_EVERY.min(self.sleep()));
            let mut next = None;
            tokio::select! {
                biased;
                received = self.urgent.recv_many(&mut urgent, MAIL_AT_ONCE) => if received == 0 { break },
                mail = self.mail.recv() => match mail {
                    Some(mail) => next = Some(mail),
                    None => break,
                },
                () = look => {}
            }
            self.look_at_clock();
            self.turn_began = self.started.elapsed();
            for mail in urgent.drain(..) {
                self.take_in(mail);
                self.end_turn_when_due();
            }
            // The rest has a turn of its own, however much is urgent, and no more than that.
            let until = self.started.elapsed() + TURN;
            next = next.or_else(|| self.mail.try_recv().ok());
            while let Some(mail) = next {
                if let DirectorMail::Quit = mail {
                    return self.quit();
                }
                self.take_in(mail);
                next = if self.started.elapsed() < until { self.mail.try_recv().ok() } else { None };
            }
            self.end_turn();
        }
    }

    /// What is logged is applied and answered first.
    fn quit(&mut self) {
        while let Ok(mail) = self.urgent.try_recv() {
            self.take_in(mail);
        }
        for snapshot in self.snapshots.drain(..) {
            let _ = snapshot.join();
        }
    }

    fn end_turn_when_due(&mut self) {
        if self.started.elapsed() >= self.turn_began + TURN {
            self.end_turn();
        }
    }

    /// Runs what is due, and wakes whoever has something to read.
    fn end_turn(&mut self) {
        self.turn_began = self.started.elapsed();
        self.look_at_clock();
        if !self.clock.is_catching_up() {
            for stream in std::mem::take(&mut self.ended) {
                self.stream_ended(stream);
            }
        }
        self.timers();
        self.drains.report(self.clock.now(), &self.watches);
        self.watches.flush();
    }

    fn sleep(&self) -> Duration {
        self.liveness.next().map_or(LOOK_AT_LEAST_EVERY, |next| self.clock.now().until(next))
    }

    fn look_at_clock(&mut self) {
        let worked = thread_time().saturating_sub(self.worked);
        self.worked += worked;
        // Who cannot be noted down, or heard, does not age.
        let hold = if self.log.is_appending_for(APPEND_STALL) {
            Hold::Log
        } else if self.edge.is_late(EDGE_STALL) {
            Hold::Edge
        } else {
            Hold::Nothing
        };
        match self.clock.look(self.started.elapsed(), worked, hold) {
            Some(Oddity::Stall(stall)) => {
                warn!(millis = stall.as_millis(), "the node stood still; every deadline moves by as much");
            }
            Some(Oddity::EdgeTooLate(late)) => {
                let seconds = late.as_secs();
                warn!(seconds, "the edge is late all the time; deadlines go on, and who is not heard will be suspect");
            }
            None => {}
        }
    }

    fn take_in(&mut self, mail: DirectorMail) {
        match mail {
            DirectorMail::Log(News::Logged { first, at, submissions }) => self.apply(first, at, submissions),
            DirectorMail::Log(News::NotLogged { submissions, refusal }) => self.not_logged(submissions, &refusal),
            DirectorMail::Log(News::CopyState(writer)) => self.copy_state(writer),
            DirectorMail::Log(News::Stop) => self.stop(),
            DirectorMail::Heard(stream) => self.heard(stream),
            DirectorMail::StreamEnded(stream) => self.stream_ended(stream),
            DirectorMail::Check { service, session, reply } => self.check(&service, session, reply),
            DirectorMail::FollowDrain { instance, millis, progress } => {
                // When too many are followed the channel closes, and the caller sees no end of the drain.
                self.follow_drain(instance, millis, Report::Call(progress));
            }
            DirectorMail::OpenWatchStream { stream, reply } => {
                let _ = reply.send(self.watches.open(stream));
            }
            DirectorMail::Subscribe { stream, subscription } => {
                let watch = subscription.watch;
                let revision = self.directory.revision();
                let state = |selector: &Selector| state_of(&self.directory, selector);
                if let Err(message) = self.watches.subscribe(stream, subscription, revision, state) {
                    let code = v1::refusal::Code::InvalidArgument.into();
                    self.watches.refuse(stream, watch, v1::Refusal { code, message, ..Default::default() });
                }
            }
            DirectorMail::RefuseWatch { stream, watch, refusal } => self.watches.refuse(stream, watch, refusal),
            DirectorMail::Unsubscribe { stream, watch } => self.watches.unsubscribe(stream, watch),
            DirectorMail::Acknowledge { stream, position } => self.watches.acknowledge(stream, position),
            DirectorMail::Resync { stream } => {
                let directory = &self.directory;
                self.watches.resync(stream, directory.revision(), |selector| state_of(directory, selector));
            }
            DirectorMail::CloseWatchStream { stream } => self.watches.close(stream),
            DirectorMail::Read(read) => read(&self.directory),
            DirectorMail::Counts(reply) => {
                let _ = reply.send(self.counts());
            }
            DirectorMail::ReleaseGuard(reply) => {
                let _ = reply.send(self.release_guard());
            }
            DirectorMail::Stop => self.stop(),
            DirectorMail::Quit => {}
        }
    }

    fn timers(&mut self) {
        self.liveness.due(self.clock.now(), &mut self.due);
        for due in std::mem::take(&mut self.due) {
            match due {
                Due::Ping { session, nonce } => self.ping(session, nonce),
                Due::Suspect { session, attachment, reason } => {
                    self.settle_checks(session);
                    self.submit(Command::SuspectSession { session, attachment, reason });
                }
                Due::Expire { session, attachment } => self.expire(session, attachment),
                Due::FinishHandover { service, pending } => self.submit(Command::FinishHandover { service, pending }),
            }
        }
        let now = Instant::now();
        if now >= self.next_bookmark {
            self.next_bookmark = now + self.settings.bookmark_interval;
            self.watches.bookmark(self.directory.revision());
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            let _ = self.writer.try_send(WriterMail::Sweep);
            self.snapshots.retain(|snapshot| !snapshot.is_finished());
        }
        if now >= self.next_retry {
            self.next_retry = now + RETRY_INTERVAL;
            let _ = self.writer.try_send(WriterMail::ProbeRoom);
            for command in std::mem::take(&mut self.backlog) {
                self.submit(command);
            }
        }
    }

    /// Sends a command of the director's own to the log, without waiting: what does not fit is tried again.
    fn submit(&mut self, command: Command) {
        if self.stopping {
            return;
        }
        let submission = Submission::new(vec![command], Origin::Director);
        if let Err(TrySendError::Full(WriterMail::Submission(submission))) =
            self.writer.try_send(WriterMail::Submission(submission))
        {
            self.backlog.extend(submission.commands);
        }
    }

    fn ping(&self, session: SessionId, nonce: u64) {
        if let Some(link) = self.sessions.link(session) {
            link.send(Response::Ping(v1::Ping { nonce }));
        }
    }

    fn heard(&mut self, Attached { session, attachment }: Attached) {
        if self.liveness.heard(self.clock.now(), session, attachment) {
            self.settle_askers(session, Checked::Alive);
        }
    }

    fn stream_ended(&mut self, Attached { session, attachment }: Attached) {
        if self.stopping || !self.sessions.is_attached(session, attachment) {
            return;
        }
        if self.clock.is_catching_up() {
            self.ended.push(Attached { session, attachment });
            return;
        }
        self.sessions.detach(session);
        self.drains.forget(session);
        self.settle_checks(session);
        self.submit(Command::SuspectSession { session, attachment, reason: SuspectReason::StreamClosed });
    }

    /// `false` when too many are followed already.
    fn follow_drain(&mut self, instance: InstanceId, millis: u32, report: Report) -> bool {
        let Some(instance) = self.directory.instance(instance) else {
            report.gone(instance);
            return true;
        };
        let millis = millis.min(DRAIN_MILLIS_MAX);
        let deadline = self.clock.now().plus(Duration::from_millis(millis.into()));
        self.drains.follow(&instance, deadline, report)
    }

    fn copy_state(&mut self, mut snapshot: SnapshotWriter) {
        let copy = self.directory.snapshot();
        let writer = self.writer.clone();
        let write = move || {
            background::make_way();
            let written = copy.items().try_for_each(|item| snapshot.push(&item)).and_then(|()| snapshot.finish());
            drop(copy);
            let _ = writer.blocking_send(WriterMail::SnapshotDone(written));
        };
        match std::thread::Builder::new().name("snapshot".into()).spawn(write) {
            Ok(thread) => self.snapshots.push(thread),
            Err(error) => {
                warn!(%error, "no thread for the snapshot");
                let _ = self.writer.try_send(WriterMail::SnapshotDone(Err(SnapshotError::Superseded)));
            }
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        for link in self.sessions.detach_all() {
            link.end(v1::farewell::Reason::Shutdown, "the node stops; resume on it later");
        }
        self.watches.close_all();
        self.drains.end();
    }

    fn counts(&self) -> Counts {
        let counts = self.directory.counts();
        let (watch_streams, watches, watch_resets) = self.watches.counts();
        Counts {
            position: self.directory.revision(),
            sessions: counts.sessions,
            sessions_connected: counts.connected,
            services: counts.services,
            instances: counts.instances,
            watch_streams,
            watches,
            watch_resets,
            held: self.held(),
        }
    }
}

/// The state of a selector as events: each service's visible instances, then its main.
fn state_of(directory: &Directory, selector: &Selector) -> Vec<Event> {
    directory.visible(selector)
}
