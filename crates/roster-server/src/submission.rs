//! What goes between whoever has something to log, the writer of that log, and the owner of the state that
//! the log keeps. There is one such trio for the directory and one for the queues.

use std::fmt;

use roster_core::{Position, Timestamp};
use roster_proto::v1;
use roster_store::{Codec, FinishedSnapshot, Records, SnapshotError, SnapshotInfo, SnapshotWriter};
use tokio::sync::oneshot;

/// Submissions that may wait for a writer; for that of the directory, those of the director itself.
pub(crate) const WRITER_MAIL_MAX: usize = 4096;

/// Commands of one caller, with their stored form: one answer for all of them. `O` is whom it is for.
#[derive(Debug)]
pub(crate) struct Submission<C: Codec, O> {
    pub(crate) commands: Vec<C::Command>,
    pub(crate) records: Records<C>,
    pub(crate) origin: O,
}

impl<C: Codec, O> Submission<C, O> {
    pub(crate) fn new(commands: Vec<C::Command>, origin: O) -> Self {
        let mut records = Records::new();
        for command in &commands {
            records.push(command);
        }
        Self { commands, records, origin }
    }

    /// The same for somebody else.
    pub(crate) fn for_whom<P>(self, origin: P) -> Submission<C, P> {
        Submission { commands: self.commands, records: self.records, origin }
    }
}

/// To a writer.
#[derive(Debug)]
pub(crate) enum WriterMail<C: Codec, O> {
    Submission(Submission<C, O>),
    /// Write a snapshot and switch to it.
    Rebuild(oneshot::Sender<Result<SnapshotInfo, String>>),
    /// The snapshot that was asked for is written, or could not be.
    SnapshotDone(Result<FinishedSnapshot<C>, SnapshotError>),
    /// Time to sweep the history.
    Sweep,
    /// See whether a full disk has room again.
    ProbeRoom,
    /// Finish what is there and end.
    Stop,
}

/// From a writer to the owner of what its log keeps.
pub(crate) enum News<C: Codec, O> {
    /// Durable: apply, answer and tell.
    Logged { first: Position, at: Timestamp, submissions: Vec<Submission<C, O>> },
    /// Not logged, and why.
    NotLogged { submissions: Vec<Submission<C, O>>, refusal: v1::Refusal },
    /// Copy the state as it is now and write it.
    CopyState(SnapshotWriter<C>),
    /// Nothing more can be logged: say farewell to every stream.
    Stop,
}

impl<C: Codec, O> fmt::Debug for News<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("News")
    }
}
