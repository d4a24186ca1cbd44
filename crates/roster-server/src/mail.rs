//! What goes between the edge, the director and the writer of its log. All channels are bounded.

use std::fmt;
use std::sync::Arc;

use roster_core::directory::{Directory, Outcome};
use roster_core::{InstanceId, Position, ServiceName, SessionId};
use roster_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::edge::Ticket;
use crate::session_link::SessionLink;
use crate::submission::{self, News};
use crate::watch::{Outbox, StreamId, Subscription};

pub(crate) type Submission = submission::Submission<roster_store::Directory, Origin>;
pub(crate) type WriterMail = submission::WriterMail<roster_store::Directory, Origin>;

/// Mail of one lane that may wait for the director.
pub(crate) const DIRECTOR_MAIL_MAX: usize = 8192;

/// Whom the outcome is for.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The director itself.
    Director,
    /// A stream that opens or resumes a session.
    Attach { link: SessionLink, reply: oneshot::Sender<Result<Attached, v1::Refusal>>, ticket: Ticket },
    /// Operations of a session; one request a command. The permit goes with the answers; a ticket is given back
    /// when they are applied.
    Session {
        stream: Attached,
        link: SessionLink,
        requests: Vec<Request>,
        permit: Option<OwnedSemaphorePermit>,
        ticket: Option<Ticket>,
    },
    /// A unary call of one command.
    Unary { reply: oneshot::Sender<Result<(Position, Outcome), v1::Refusal>>, ticket: Ticket },
}

/// One stream of a session: the session, and the position at which the stream opened or resumed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) session: SessionId,
    pub(crate) attachment: Position,
}

/// One operation of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// For a drain: how long to report progress, in milliseconds.
    pub(crate) drain_millis: Option<u32>,
}

/// To the director.
pub(crate) enum DirectorMail {
    Log(News<roster_store::Directory, Origin>),
    /// Something came over a session's stream.
    Heard(Attached),
    /// A session's stream ended without a goodbye.
    StreamEnded(Attached),
    /// Somebody cannot reach an instance of this session.
    Check {
        service: ServiceName,
        session: SessionId,
        reply: oneshot::Sender<v1::check_response::Outcome>,
    },
    /// Report how a drain is taken in.
    FollowDrain {
        instance: InstanceId,
        millis: u32,
        progress: mpsc::Sender<v1::DrainProgress>,
    },
    OpenWatchStream {
        stream: StreamId,
        reply: oneshot::Sender<Arc<Outbox>>,
    },
    Subscribe {
        stream: StreamId,
        subscription: Subscription,
    },
    RefuseWatch {
        stream: StreamId,
        watch: u64,
        refusal: v1::Refusal,
    },
    Unsubscribe {
        stream: StreamId,
        watch: u64,
    },
    Acknowledge {
        stream: StreamId,
        position: Position,
    },
    Resync {
        stream: StreamId,
    },
    CloseWatchStream {
        stream: StreamId,
    },
    /// Reads the directory between two batches.
    Read(Box<dyn FnOnce(&Directory) + Send>),
    Counts(oneshot::Sender<Counts>),
    /// Let go whom the mass-loss guard holds.
    ReleaseGuard(oneshot::Sender<Held>),
    /// Say farewell to every stream.
    Stop,
    /// End.
    Quit,
}

impl From<News<roster_store::Directory, Origin>> for DirectorMail {
    fn from(news: News<roster_store::Directory, Origin>) -> Self {
        Self::Log(news)
    }
}

impl fmt::Debug for DirectorMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectorMail")
    }
}

/// Whom the mass-loss guard holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Empty when it holds nobody.
    pub(crate) why: String,
    pub(crate) sessions: u64,
    pub(crate) instances: u64,
}

/// What the director can count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) position: Position,
    pub(crate) sessions: usize,
    pub(crate) sessions_connected: usize,
    pub(crate) services: usize,
    pub(crate) instances: usize,
    pub(crate) watch_streams: usize,
    pub(crate) watches: usize,
    pub(crate) watch_resets: u64,
    pub(crate) held: Held,
}
