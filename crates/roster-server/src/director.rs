//! The director: the one thread that owns the directory.
//!
//! It applies what the writer has logged, answers those who asked, tells those who watch, and runs the
//! timers. It never waits for anybody: what it sends goes into bounded boxes whose readers may be slow.
//!
//! # Always true
//! * **N3, one owner**: nobody else reads or changes the directory; others send mail.
//! * **N4, as logged**: a timer or a lost stream changes nothing by itself; it becomes a command.

use std::collections::VecDeque;
use std::time::Duration;

use roster_core::directory::{
    Command, Directory, Effects, Event, Liveness as Standing, Outcome, Refusal, SuspectReason,
};
use roster_core::{InstanceId, Position, Selector, ServiceName, SessionId, Timestamp, Token};
use roster_proto::convert::{encode_instance, encode_notice, unavailable};
use roster_proto::v1;
use roster_proto::v1::check_response::Outcome as Checked;
use roster_proto::v1::session_response::Response;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::awake::{AwakeClock, LOOK_AT_LEAST_EVERY};
use crate::drains::{Drains, Report};
use crate::liveness::{Due, Liveness, Probe, Spans};
use crate::mail::{Counts, DirectorMail, Origin, Request, Submission, WriterMail};
use crate::session_link::SessionLink;
use crate::sessions::{Asker, Sessions};
use crate::watch::{WatchHub, WatchSettings};

/// Mail taken in one go.
const MAIL_AT_ONCE: usize = 512;
/// How often history is swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How often what could not be logged is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectorSettings {
    pub(crate) spans: Spans,
    pub(crate) watches: WatchSettings,
    pub(crate) bookmark_interval: Duration,
}

#[derive(Debug)]
pub(crate) struct Director {
    directory: Directory,
    effects: Effects,
    liveness: Liveness,
    clock: AwakeClock,
    started: Instant,
    sessions: Sessions,
    watches: WatchHub,
    drains: Drains,
    mail: mpsc::Receiver<DirectorMail>,
    writer: mpsc::Sender<WriterMail>,
    /// Commands of the director's own that the writer could not take yet.
    backlog: VecDeque<Command>,
    due: Vec<Due>,
    settings: DirectorSettings,
    next_bookmark: Instant,
    next_sweep: Instant,
    next_retry: Instant,
    stopping: bool,
    snapshots: Vec<std::thread::JoinHandle<()>>,
}

impl Director {
    pub(crate) fn new(
        directory: Directory,
        mail: mpsc::Receiver<DirectorMail>,
        writer: mpsc::Sender<WriterMail>,
        settings: DirectorSettings,
    ) -> Self {
        let now = Instant::now();
        let start = directory.revision().next();
        Self {
            directory,
            effects: Effects::default(),
            liveness: Liveness::new(settings.spans),
            clock: AwakeClock::default(),
            started: now,
            sessions: Sessions::default(),
            watches: WatchHub::new(settings.watches, start),
            drains: Drains::default(),
            mail,
            writer,
            backlog: VecDeque::new(),
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
        let mut mails = Vec::with_capacity(MAIL_AT_ONCE);
        loop {
            let look = tokio::time::sleep(LOOK_AT_LEAST_EVERY.min(self.sleep()));
            tokio::select! {
                biased;
                received = self.mail.recv_many(&mut mails, MAIL_AT_ONCE) => if received == 0 { break },
                () = look => {}
            }
            self.look_at_clock();
            for mail in mails.drain(..) {
                if let DirectorMail::Quit = mail {
                    for snapshot in self.snapshots.drain(..) {
                        let _ = snapshot.join();
                    }
                    return;
                }
                self.take_in(mail);
            }
            self.timers();
            self.drains.report(self.clock.now(), &self.watches);
            self.watches.flush();
        }
    }

    fn sleep(&self) -> Duration {
        self.liveness.next().map_or(LOOK_AT_LEAST_EVERY, |next| self.clock.now().until(next))
    }

    fn look_at_clock(&mut self) {
        if let Some(stall) = self.clock.look(self.started.elapsed()) {
            warn!(millis = stall.as_millis(), "the node stood still; every deadline moves by as much");
        }
    }

    fn take_in(&mut self, mail: DirectorMail) {
        match mail {
            DirectorMail::Logged { first, at, submissions } => self.apply(first, at, submissions),
            DirectorMail::NotLogged { submissions, refusal } => self.not_logged(submissions, &refusal),
            DirectorMail::CopyState(writer) => self.copy_state(writer),
            DirectorMail::Heard { session, attachment } => self.heard(session, attachment),
            DirectorMail::StreamEnded { session, attachment } => self.stream_ended(session, attachment),
            DirectorMail::Check { service, session, reply } => self.check(&service, session, reply),
            DirectorMail::FollowDrain { instance, millis, progress } => {
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
            DirectorMail::Stop => self.stop(),
            DirectorMail::Quit => {}
        }
    }

    // ------------------------------------------------------------ applying

    fn apply(&mut self, first: Position, at: Timestamp, submissions: Vec<Submission>) {
        let mut position = first;
        for Submission { commands, origin, .. } in submissions {
            match origin {
                Origin::Session { link, requests, permit } => {
                    let mut results = Vec::with_capacity(requests.len());
                    for (command, request) in commands.into_iter().zip(requests) {
                        results.extend(self.apply_operation(position, at, command, request, &link));
                        position = position.next();
                    }
                    if !results.is_empty() {
                        link.send(Response::Results(v1::Results { results }));
                    }
                    drop(permit);
                }
                Origin::Attach { link, reply } => {
                    let mut attached = Err(unavailable("nothing was asked"));
                    for command in commands {
                        attached = self.apply_attach(position, at, command, &link);
                        position = position.next();
                    }
                    let _ = reply.send(attached);
                }
                Origin::Unary { reply } => {
                    let mut answer = None;
                    for command in commands {
                        answer = Some((position, self.apply_one(position, at, command)));
                        position = position.next();
                    }
                    let _ = match answer {
                        Some((_, Outcome::Refused(refusal))) => reply.send(Err(refusal.into())),
                        Some(answer) => reply.send(Ok(answer)),
                        None => Ok(()),
                    };
                }
                Origin::Director => {
                    for command in commands {
                        self.apply_one(position, at, command);
                        position = position.next();
                    }
                }
            }
        }
    }

    /// Applies one command, runs what follows for timers and streams, and tells everybody.
    fn apply_one(&mut self, position: Position, at: Timestamp, command: Command) -> Outcome {
        debug_assert_eq!(self.directory.revision().next(), position, "D1: positions have no gaps");
        let now = self.clock.now();
        let subject = Subject::of(&command);
        let outcome = self.directory.apply(at, command, &mut self.effects);
        match (subject, &outcome) {
            (Subject::Start, _) => self.restore_timers(),
            (Subject::Suspect(session), Outcome::Done) => {
                self.liveness.suspected(now, session);
                if self.directory.session(session).is_none() {
                    self.session_gone(session, v1::farewell::Reason::Expired, "its grace is 0");
                } else if let Some(link) = self.sessions.detach(session) {
                    link.end(v1::farewell::Reason::TooSlow, "no answer in time; resume the session");
                }
                self.settle_askers(session, Checked::Suspect);
            }
            (Subject::Expire(session), Outcome::Done) => {
                self.session_gone(session, v1::farewell::Reason::Expired, "the session is lost; open a new one");
                self.settle_askers(session, Checked::Unknown);
            }
            (Subject::Close(session), Outcome::Done) => {
                self.session_gone(session, v1::farewell::Reason::Goodbye, "");
                self.settle_askers(session, Checked::Unknown);
            }
            (Subject::Register { service, wait }, Outcome::Pending { instance, .. }) => {
                self.liveness.handover_started(now, service, *instance, wait);
            }
            (
                Subject::Suspect(_)
                | Subject::Expire(_)
                | Subject::Close(_)
                | Subject::Register { .. }
                | Subject::Other,
                _,
            ) => {}
        }
        self.watches.publish(position, std::mem::take(&mut self.effects.events));
        for notice in self.effects.notices.drain(..) {
            if let Some(link) = self.sessions.link(notice.session()) {
                link.send(Response::Notice(encode_notice(position, &notice)));
            }
        }
        outcome
    }

    /// Applies one operation of a session. No result yet when it waits for a probe of another session.
    fn apply_operation(
        &mut self,
        position: Position,
        at: Timestamp,
        command: Command,
        request: Request,
        link: &SessionLink,
    ) -> Option<v1::Result> {
        let again = if let Command::Register { .. } = &command { Some(command.clone()) } else { None };
        let drained = if let Command::Drain { instance, .. } = &command { Some(*instance) } else { None };
        let outcome = self.apply_one(position, at, command);
        if let (Outcome::Refused(Refusal::AddressInUse { session }), Some(command)) = (&outcome, again) {
            let holder = *session;
            if self.probe(holder) == Probe::Asked {
                let asker = Asker::Register { command, request, link: link.clone() };
                if self.sessions.park(holder, asker) {
                    return None;
                }
            }
        }
        if let (Outcome::Done, Some(instance), Some(millis)) = (&outcome, drained, request.drain_millis) {
            self.follow_drain(instance, millis, Report::Session(link.clone()));
        }
        Some(result_of(request.id, position, outcome))
    }

    fn apply_attach(
        &mut self,
        position: Position,
        at: Timestamp,
        command: Command,
        link: &SessionLink,
    ) -> Result<(SessionId, Position), v1::Refusal> {
        let (session, resumed) = match self.apply_one(position, at, command) {
            Outcome::Opened { session } => (session, false),
            Outcome::Resumed { session } => (session, true),
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Done | Outcome::Active { .. } | Outcome::Pending { .. } | Outcome::Stale => {
                return Err(unavailable("the command attaches nothing"));
            }
        };
        self.attach(session, position, link, resumed);
        Ok((session, position))
    }

    fn attach(&mut self, session: SessionId, attachment: Position, link: &SessionLink, resumed: bool) {
        let Some(summary) = self.directory.session(session) else { return };
        let grace = Duration::from_millis(summary.grace.millis().into());
        self.liveness.attached(self.clock.now(), session, attachment, grace);
        if let Some(earlier) = self.sessions.attach(session, attachment, link.clone()) {
            earlier.end(v1::farewell::Reason::ResumedElsewhere, "another stream resumed this session");
        }
        self.settle_askers(session, Checked::Alive);
        let instances = self.directory.session_instances(session);
        link.send(Response::Welcome(v1::Welcome {
            session_id: session.get(),
            secret: link.secret(),
            resumed,
            grace_ms: summary.grace.millis(),
            ping_interval_ms: u32::try_from(self.settings.spans.ping_interval.as_millis()).unwrap_or(u32::MAX),
            instances: instances.iter().map(encode_instance).collect(),
        }));
    }

    fn session_gone(&mut self, session: SessionId, reason: v1::farewell::Reason, message: &str) {
        self.liveness.gone(session);
        if let Some(link) = self.sessions.detach(session) {
            link.end(reason, message);
        }
    }

    /// After a start: every session that is known must return within its restart grace, counted from now.
    fn restore_timers(&mut self) {
        let now = self.clock.now();
        let mut sessions = 0;
        for session in self.directory.sessions() {
            let grace = Duration::from_millis(session.grace.millis().into());
            self.liveness.restored(now, session.session, session.attachment, grace);
            sessions += 1;
        }
        for (service, pending, handover) in self.directory.handovers() {
            self.liveness.handover_started(now, service, pending, Duration::from_millis(handover.millis().into()));
        }
        let counts = self.directory.counts();
        info!(
            position = self.directory.revision().get(),
            sessions,
            services = counts.services,
            instances = counts.instances,
            "ready"
        );
    }

    fn not_logged(&mut self, submissions: Vec<Submission>, refusal: &v1::Refusal) {
        for Submission { commands, origin, .. } in submissions {
            match origin {
                Origin::Director => self.backlog.extend(commands),
                Origin::Session { link, requests, permit } => {
                    let results = requests.iter().map(|request| refused(request.id, refusal.clone())).collect();
                    link.send(Response::Results(v1::Results { results }));
                    drop(permit);
                }
                Origin::Attach { reply, .. } => {
                    let _ = reply.send(Err(refusal.clone()));
                }
                Origin::Unary { reply } => {
                    let _ = reply.send(Err(refusal.clone()));
                }
            }
        }
    }

    // -------------------------------------------------------------- timers

    fn timers(&mut self) {
        self.liveness.due(self.clock.now(), &mut self.due);
        for due in std::mem::take(&mut self.due) {
            match due {
                Due::Ping { session, nonce } => self.ping(session, nonce),
                Due::Suspect { session, attachment, reason } => {
                    self.submit(Command::SuspectSession { session, attachment, reason });
                }
                Due::Expire { session, attachment } => self.submit(Command::ExpireSession { session, attachment }),
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
        if let Err(error) = self.writer.try_send(WriterMail::Submission(submission)) {
            if let mpsc::error::TrySendError::Full(WriterMail::Submission(submission)) = error {
                self.backlog.extend(submission.commands);
            }
        }
    }

    fn ping(&self, session: SessionId, nonce: u64) {
        if let Some(link) = self.sessions.link(session) {
            link.send(Response::Ping(v1::Ping { nonce }));
        }
    }

    fn heard(&mut self, session: SessionId, attachment: Position) {
        if self.liveness.heard(self.clock.now(), session, attachment) {
            self.settle_askers(session, Checked::Alive);
        }
    }

    fn stream_ended(&mut self, session: SessionId, attachment: Position) {
        if self.stopping || !self.sessions.is_attached(session, attachment) {
            return;
        }
        self.sessions.detach(session);
        self.submit(Command::SuspectSession { session, attachment, reason: SuspectReason::StreamClosed });
    }

    // -------------------------------------------------------------- probes

    fn probe(&mut self, session: SessionId) -> Probe {
        let (probe, ping) = self.liveness.probe(self.clock.now(), session);
        if let Some(Due::Ping { session, nonce }) = ping {
            self.ping(session, nonce);
        }
        probe
    }

    fn check(&mut self, service: &ServiceName, session: SessionId, reply: tokio::sync::oneshot::Sender<Checked>) {
        let serves = self.directory.session_instances(session).iter().any(|i| i.registration.service == *service);
        let liveness = self.directory.session(session).map(|summary| summary.liveness);
        let known = match liveness.filter(|_| serves) {
            None => Some(Checked::Unknown),
            Some(Standing::Suspect(_)) => Some(Checked::Suspect),
            Some(Standing::Unconfirmed) => Some(Checked::Unconfirmed),
            Some(Standing::Up) => match self.probe(session) {
                Probe::Alive => Some(Checked::Alive),
                // The stream broke a moment ago; the suspicion is on its way to the log.
                Probe::NoStream => Some(Checked::Suspect),
                Probe::Asked => None,
            },
        };
        match known {
            Some(outcome) => {
                let _ = reply.send(outcome);
            }
            None => {
                self.sessions.park(session, Asker::Check(reply));
            }
        }
    }

    /// Answers everybody who waits to know whether this session is alive.
    fn settle_askers(&mut self, session: SessionId, outcome: Checked) {
        for asker in self.sessions.unpark(session) {
            match asker {
                Asker::Check(reply) => {
                    let _ = reply.send(outcome);
                }
                Asker::Register { request, link, .. } if outcome == Checked::Alive => {
                    let refusal = Refusal::AddressInUse { session };
                    link.send(Response::Results(v1::Results { results: vec![refused(request.id, refusal.into())] }));
                }
                Asker::Register { command, request, link } => {
                    let origin = Origin::Session { link: link.clone(), requests: vec![request], permit: None };
                    if self.writer.try_send(WriterMail::Submission(Submission::new(vec![command], origin))).is_err() {
                        let refusal = unavailable("the node is overloaded; try again");
                        link.send(Response::Results(v1::Results { results: vec![refused(request.id, refusal)] }));
                    }
                }
            }
        }
    }

    // --------------------------------------------------------------- other

    fn follow_drain(&mut self, instance: InstanceId, millis: u32, report: Report) {
        let Some(instance) = self.directory.instance(instance) else { return report.gone(instance) };
        let deadline = self.clock.now().plus(Duration::from_millis(millis.into()));
        self.drains.follow(&instance, deadline, report);
    }

    fn copy_state(&mut self, mut snapshot: roster_store::SnapshotWriter) {
        let items = self.directory.snapshot();
        let writer = self.writer.clone();
        let write = move || {
            let written = items.iter().try_for_each(|item| snapshot.push(item)).and_then(|()| snapshot.finish());
            let _ = writer.blocking_send(WriterMail::SnapshotDone(written));
        };
        match std::thread::Builder::new().name("snapshot".into()).spawn(write) {
            Ok(thread) => self.snapshots.push(thread),
            Err(error) => warn!(%error, "no thread for the snapshot"),
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
        }
    }
}

/// What a command is about, as far as timers and streams follow from it.
enum Subject {
    Start,
    Suspect(SessionId),
    Expire(SessionId),
    Close(SessionId),
    Register { service: ServiceName, wait: Duration },
    Other,
}

impl Subject {
    fn of(command: &Command) -> Self {
        match command {
            Command::StartNode => Self::Start,
            Command::SuspectSession { session, .. } => Self::Suspect(*session),
            Command::ExpireSession { session, .. } => Self::Expire(*session),
            Command::CloseSession { session, .. } => Self::Close(*session),
            Command::Register { registration, handover, .. } if handover.millis() > 0 => Self::Register {
                service: registration.service.clone(),
                wait: Duration::from_millis(handover.millis().into()),
            },
            Command::Register { .. }
            | Command::OpenSession { .. }
            | Command::ResumeSession { .. }
            | Command::Deregister { .. }
            | Command::Drain { .. }
            | Command::SetCutover { .. }
            | Command::FinishHandover { .. } => Self::Other,
        }
    }
}

/// The state of a selector as events: each service's visible instances, then its main.
fn state_of(directory: &Directory, selector: &Selector) -> Vec<Event> {
    directory.visible(selector).collect()
}

fn result_of(request_id: u64, position: Position, outcome: Outcome) -> v1::Result {
    use v1::result::Outcome as Wire;
    let outcome = match outcome {
        Outcome::Active { instance, changed, token } => Wire::Active(v1::Active {
            instance_id: instance.get(),
            position: changed.get(),
            fencing_token: token.map_or(0, Token::get),
        }),
        Outcome::Pending { instance, ahead } => {
            Wire::Pending(v1::Pending { instance_id: instance.get(), ahead: ahead.get() })
        }
        Outcome::Refused(refusal) => Wire::Refusal(refusal.into()),
        Outcome::Done | Outcome::Opened { .. } | Outcome::Resumed { .. } | Outcome::Stale => {
            Wire::Done(v1::Done { position: position.get() })
        }
    };
    v1::Result { request_id, outcome: Some(outcome) }
}

fn refused(request_id: u64, refusal: v1::Refusal) -> v1::Result {
    v1::Result { request_id, outcome: Some(v1::result::Outcome::Refusal(refusal)) }
}
