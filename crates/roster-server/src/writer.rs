//! The writer: the one thread that owns the log.
//!
//! Whatever gathered while the last batch was on its way to the disk is the next batch; alone, a
//! submission waits for one sync and for nobody. What is durable goes to the director, in order.
//!
//! # Always true
//! * **N1, durable first**: a submission reaches the director as logged only after `append` returned.
//! * **N2, no second try**: after a failed sync nothing is appended any more; the node stops.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roster_core::Timestamp;
use roster_proto::v1;
use roster_proto::v1::refusal::Code;
use roster_store::{AppendError, LogStatus, OrderedLog, Records, SnapshotError, SnapshotInfo};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::clock::WallClock;
use crate::mail::{DirectorMail, Submission, WriterMail};

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
    read_only: Option<String>,
    /// Since when a batch is on its way to the disk.
    appending: Option<Instant>,
}

impl LogView {
    pub(crate) fn new(status: LogStatus) -> Self {
        Self(Arc::new(Mutex::new(View { status, read_only: None, appending: None })))
    }

    pub(crate) fn status(&self) -> LogStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
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

    fn set(&self, status: LogStatus, read_only: Option<String>) {
        let mut view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        view.status = status;
        view.read_only = read_only;
    }
}

/// Why the node had to stop.
pub(crate) type Fatal = watch::Sender<Option<String>>;

pub(crate) struct Writer {
    pub(crate) log: Box<dyn OrderedLog>,
    pub(crate) mail: mpsc::Receiver<WriterMail>,
    pub(crate) director: mpsc::Sender<DirectorMail>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) view: LogView,
    pub(crate) fatal: Fatal,
    pub(crate) read_only: Option<String>,
    pub(crate) rebuild_waiters: Vec<oneshot::Sender<Result<SnapshotInfo, String>>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Runs until it is told to stop or the log fails.
    pub(crate) fn run(mut self) {
        let mut mails = Vec::new();
        let mut gathered = Vec::new();
        loop {
            mails.clear();
            if self.mail.blocking_recv_many(&mut mails, BATCH_SUBMISSIONS_MAX) == 0 {
                return;
            }
            let mut bytes = 0;
            let mut stop = false;
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
                    WriterMail::Stop => stop = true,
                }
            }
            self.append(std::mem::take(&mut gathered));
            if self.log.wants_snapshot() && self.read_only.is_none() {
                self.begin_snapshot();
            }
            self.view.set(self.log.status(), self.read_only.clone());
            if stop || self.log.status().failed.is_some() {
                return;
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn append(&mut self, mut submissions: Vec<Submission>) {
        if submissions.is_empty() {
            return;
        }
        if let Some(why) = &self.read_only {
            let refusal = read_only(why);
            self.tell(DirectorMail::NotLogged { submissions, refusal });
            return;
        }
        let records: Vec<Records> =
            submissions.iter_mut().map(|submission| std::mem::take(&mut submission.records)).collect();
        self.view.set_appending(Some(Instant::now()));
        let appended = self.log.append(self.now(), &records);
        self.view.set_appending(None);
        match appended {
            Ok(first) => {
                let at = self.log.last_at();
                self.tell(DirectorMail::Logged { first, at, submissions });
            }
            Err(error @ AppendError::Full { .. }) => {
                let why = error.to_string();
                warn!(%why, "the node is read-only until there is room again");
                let refusal = read_only(&why);
                self.read_only = Some(why);
                self.tell(DirectorMail::NotLogged { submissions, refusal });
            }
            Err(error @ AppendError::TooLarge { .. }) => {
                let message = error.to_string();
                let refusal = v1::Refusal { code: Code::InvalidArgument.into(), message, ..Default::default() };
                self.tell(DirectorMail::NotLogged { submissions, refusal });
            }
            Err(error @ (AppendError::Failed(_) | AppendError::Poisoned { .. })) => {
                let why = with_causes(&error);
                error!(%why, "the log failed; the node stops");
                let refusal = roster_proto::convert::unavailable(format!("the node stops: {why}"));
                self.tell(DirectorMail::NotLogged { submissions, refusal });
                self.fail(why);
            }
        }
    }

    fn tell(&self, mail: DirectorMail) {
        // The director ends only after the writer, or by a fault of its own: then the node must end too.
        if self.director.blocking_send(mail).is_err() {
            self.fatal.send_replace(Some("the director ended before the writer".to_owned()));
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
            Ok(writer) => self.tell(DirectorMail::CopyState(writer)),
            Err(error) => self.rebuild_failed(&error),
        }
    }

    fn snapshot_done(&mut self, result: Result<roster_store::FinishedSnapshot, SnapshotError>) {
        let committed = result.and_then(|finished| self.log.commit_snapshot(finished, self.now()));
        match committed {
            Ok(done) => {
                info!(generation = done.generation, position = done.position.get(), bytes = done.bytes, "rebuilt");
                for waiter in self.rebuild_waiters.drain(..) {
                    let _ = waiter.send(Ok(done));
                }
            }
            Err(error) => {
                self.log.abandon_snapshot();
                self.rebuild_failed(&error);
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
    fn fail(&self, why: String) {
        self.tell(DirectorMail::Stop);
        self.fatal.send_replace(Some(why));
    }

    fn sweep(&mut self) {
        match self.log.sweep(self.now()) {
            Ok(swept) if swept.files.is_empty() => {}
            Ok(swept) => info!(files = swept.files.len(), bytes = swept.bytes, "swept history"),
            Err(error) => warn!(why = %with_causes(&error), "history was not swept"),
        }
    }

    fn probe_room(&mut self) {
        if self.read_only.is_some() && self.log.has_room() {
            info!("there is room again; the node takes changes");
            self.read_only = None;
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
