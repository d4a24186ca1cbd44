//! A writer: the one thread that owns a log. The directory has one, the queues have another.
//!
//! Whatever gathered while the last batch was on its way to the disk is the next batch; alone, a
//! submission waits for one sync and for nobody. What is durable goes to the owner of the state (the
//! director, the broker), in order.
//!
//! # Always true
//! * **N1, durable first**: a submission reaches the owner as logged only after `append` returned.
//! * **N2, no second try**: after a failed sync nothing is appended any more; the node stops.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roster_core::Timestamp;
use roster_proto::v1;
use roster_proto::v1::refusal::Code;
use roster_store::{
    AppendError, Codec, FinishedSnapshot, LogStatus, OrderedLog, Pace, Records, SnapshotError, SnapshotInfo, SweepError,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::clock::WallClock;
use crate::submission::{News, Submission, WriterMail};

/// A batch is closed at this size.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// … or with so many submissions.
const BATCH_SUBMISSIONS_MAX: usize = 4096;

/// What others may know of the log at any time.
#[derive(Debug, Clone)]
pub(crate) struct LogView(Arc<Mutex<View>>);

#[derive(Debug)]
struct View {
    status: LogStatus,
    /// Newer than what the status says of the same.
    pace: Pace,
    read_only: Option<String>,
    /// Since when a batch is on its way to the disk.
    appending: Option<Instant>,
}

impl LogView {
    pub(crate) fn new(status: LogStatus, pace: Pace) -> Self {
        Self(Arc::new(Mutex::new(View { status, pace, read_only: None, appending: None })))
    }

    pub(crate) fn status(&self) -> LogStatus {
        let view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Pace { next_position, log_bytes, segments, counters } = view.pace;
        LogStatus { next_position, log_bytes, segments, counters, ..view.status.clone() }
    }

    /// Why nothing can be changed, if so.
    pub(crate) fn read_only(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_only.clone()
    }

    /// Whether a batch has been on its way to the disk for longer than this.
    pub(crate) fn is_appending_for(&self, span: Duration) -> bool {
        let view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        view.appending.is_some_and(|since| since.elapsed() > span)
    }

    fn set_appending(&self, appending: Option<Instant>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).appending = appending;
    }

    fn set_pace(&self, pace: Pace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pace = pace;
    }

    fn set_read_only(&self, read_only: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_only = read_only;
    }

    fn set(&self, status: LogStatus, pace: Pace) {
        let mut view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        view.status = status;
        view.pace = pace;
    }
}

/// Why the node had to stop.
pub(crate) type Fatal = watch::Sender<Option<String>>;

/// Owns the log of `C`, takes submissions of `O`, and tells the owner of the state by mail of `M`.
pub(crate) struct Writer<C: Codec, O, M> {
    log: Box<dyn OrderedLog<C>>,
    mail: mpsc::Receiver<WriterMail<C, O>>,
    owner: mpsc::Sender<M>,
    clock: Arc<dyn WallClock>,
    view: LogView,
    fatal: Fatal,
    read_only: Option<String>,
    rebuild_waiters: Vec<oneshot::Sender<Result<SnapshotInfo, String>>>,
    /// Nothing is appended any more.
    failed: bool,
    /// It was told to end, or has said why it ends.
    orderly: bool,
}

/// However the thread ends, the node learns of it.
impl<C: Codec, O, M> Drop for Writer<C, O, M> {
    fn drop(&mut self) {
        if !self.orderly {
            let ended = format!("the writer of the {} ended", C::CONTENT_NAME);
            self.fatal.send_if_modified(|why| why.is_none() && why.replace(ended.clone()).is_none());
        }
    }
}

impl<C: Codec, O, M> std::fmt::Debug for Writer<C, O, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl<C: Codec, O, M: From<News<C, O>>> Writer<C, O, M> {
    pub(crate) fn new(
        log: Box<dyn OrderedLog<C>>,
        mail: mpsc::Receiver<WriterMail<C, O>>,
        owner: mpsc::Sender<M>,
        clock: Arc<dyn WallClock>,
        fatal: Fatal,
    ) -> Self {
        let view = LogView::new(log.status(), log.pace());
        let (read_only, rebuild_waiters) = (None, Vec::new());
        Self { log, mail, owner, clock, view, fatal, read_only, rebuild_waiters, failed: false, orderly: false }
    }

    /// What others may know of its log.
    pub(crate) fn view(&self) -> LogView {
        self.view.clone()
    }

    /// Runs until it is told to stop or the log fails.
    pub(crate) fn run(mut self) {
        let mut mails = Vec::new();
        let mut gathered = Vec::new();
        loop {
            mails.clear();
            if self.mail.blocking_recv_many(&mut mails, BATCH_SUBMISSIONS_MAX) == 0 {
                self.orderly = true;
                return;
            }
            let mut bytes = 0;
            for mail in mails.drain(..) {
                match mail {
                    WriterMail::Submission(submission) => {
                        bytes += submission.records.bytes_len();
                        gathered.push(submission);
                        if bytes >= BATCH_BYTES_MAX {
                            self.append(std::mem::take(&mut gathered));
                            bytes = 0;
                        }
                    }
                    WriterMail::Rebuild(reply) => self.rebuild_asked(reply),
                    WriterMail::SnapshotDone(result) => self.snapshot_done(result),
                    WriterMail::Sweep => self.sweep(),
                    WriterMail::ProbeRoom => self.probe_room(),
                    WriterMail::Stop => self.orderly = true,
                }
            }
            self.append(std::mem::take(&mut gathered));
            if self.log.wants_snapshot() && self.read_only.is_none() {
                self.begin_snapshot();
            }
            self.view.set_pace(self.log.pace());
            if self.orderly || self.failed {
                return;
            }
        }
    }

    /// For what changes more than a batch does.
    fn show(&self) {
        self.view.set(self.log.status(), self.log.pace());
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn append(&mut self, mut submissions: Vec<Submission<C, O>>) {
        if submissions.is_empty() {
            return;
        }
        if let Some(why) = &self.read_only {
            let refusal = read_only(why);
            self.tell(News::NotLogged { submissions, refusal });
            return;
        }
        let records: Vec<Records<C>> =
            submissions.iter_mut().map(|submission| std::mem::take(&mut submission.records)).collect();
        self.view.set_appending(Some(Instant::now()));
        let appended = self.log.append(self.now(), &records);
        self.view.set_appending(None);
        match appended {
            Ok(first) => {
                let at = self.log.last_at();
                // Whoever is answered finds it counted.
                self.view.set_pace(self.log.pace());
                self.tell(News::Logged { first, at, submissions });
            }
            Err(error @ AppendError::Full { .. }) => {
                let why = error.to_string();
                warn!(log = C::CONTENT_NAME, %why, "the node is read-only until there is room again");
                let refusal = read_only(&why);
                self.read_only = Some(why);
                self.view.set_read_only(self.read_only.clone());
                self.tell(News::NotLogged { submissions, refusal });
            }
            Err(error @ AppendError::TooLarge { .. }) => {
                let message = error.to_string();
                let refusal = v1::Refusal { code: Code::InvalidArgument.into(), message, ..Default::default() };
                self.tell(News::NotLogged { submissions, refusal });
            }
            Err(error @ (AppendError::Failed(_) | AppendError::Poisoned { .. })) => {
                let why = with_causes(&error);
                error!(%why, "the log failed; the node stops");
                let refusal = roster_proto::convert::unavailable(format!("the node stops: {why}"));
                self.tell(News::NotLogged { submissions, refusal });
                self.fail(why);
            }
        }
    }

    fn tell(&self, news: News<C, O>) {
        // The owner ends only after the writer, or by a fault of its own: then the node must end too.
        if self.owner.blocking_send(news.into()).is_err() {
            self.fatal.send_replace(Some(format!("the owner of the {} ended before its writer", C::CONTENT_NAME)));
        }
    }

    fn rebuild_asked(&mut self, reply: oneshot::Sender<Result<SnapshotInfo, String>>) {
        if self.log.status().rebuilding {
            self.rebuild_waiters.push(reply);
            return;
        }
        self.rebuild_waiters.push(reply);
        self.begin_snapshot();
    }

    fn begin_snapshot(&mut self) {
        match self.log.begin_snapshot(self.now()) {
            Ok(writer) => self.tell(News::CopyState(writer)),
            Err(error) => self.rebuild_failed(&error),
        }
        self.show();
    }

    fn snapshot_done(&mut self, result: Result<FinishedSnapshot<C>, SnapshotError>) {
        let committed = result.and_then(|finished| self.log.commit_snapshot(finished, self.now()));
        match committed {
            Ok(done) => {
                let log = C::CONTENT_NAME;
                info!(log, generation = done.generation, position = done.position.get(), bytes = done.bytes, "rebuilt");
                self.show();
                for waiter in self.rebuild_waiters.drain(..) {
                    let _ = waiter.send(Ok(done));
                }
            }
            Err(error) => {
                self.log.abandon_snapshot();
                self.rebuild_failed(&error);
                self.show();
            }
        }
    }

    fn rebuild_failed(&mut self, error: &SnapshotError) {
        let why = with_causes(error);
        warn!(%why, "the rebuild was given up; the log goes on as it was");
        for waiter in self.rebuild_waiters.drain(..) {
            let _ = waiter.send(Err(why.clone()));
        }
        if let SnapshotError::Failed(_) | SnapshotError::Poisoned { .. } = error {
            self.fail(why);
        }
    }

    /// Nothing more can be logged: everybody is told, and the node ends.
    fn fail(&mut self, why: String) {
        (self.failed, self.orderly) = (true, true);
        self.show();
        self.tell(News::Stop);
        self.fatal.send_replace(Some(why));
    }

    fn sweep(&mut self) {
        match self.log.sweep(self.now()) {
            Ok(swept) if swept.files.is_empty() => {}
            Ok(swept) => info!(files = swept.files.len(), bytes = swept.bytes, "swept history"),
            Err(error @ SweepError::Io(_)) => warn!(why = %with_causes(&error), "history was not swept"),
            Err(error @ SweepError::Failed(_)) => self.fail(with_causes(&error)),
        }
        self.show();
    }

    fn probe_room(&mut self) {
        if self.read_only.is_some() && self.log.has_room() {
            info!(log = C::CONTENT_NAME, "there is room again; the node takes changes");
            self.read_only = None;
            self.view.set_read_only(None);
        }
    }
}

fn read_only(why: &str) -> v1::Refusal {
    v1::Refusal { code: Code::ReadOnly.into(), message: format!("the node is read-only: {why}"), ..Default::default() }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
