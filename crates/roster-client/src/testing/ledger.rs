//! What the node knows: the directory, whom it speaks with, and what falls due.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::bytes::Bytes;
use roster_core::directory::{Command, Directory, Effects, Liveness, Outcome, SuspectReason};
use roster_core::view::{Group, Told};
use roster_core::{InstanceId, Position, SecretHash, SessionId, Timestamp};
use roster_proto::convert::encode_notice;
use roster_proto::v1;
use roster_proto::v1::session_response::Response;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant};
use tonic::Status;

use super::watchers::Watchers;

/// After a restart a session has this long to come back, like at a real node.
const RESTART_GRACE: Duration = Duration::from_secs(35);

pub(super) type SessionSender = mpsc::Sender<Result<v1::SessionResponse, Status>>;

/// A stream that has attached to a session.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    pub(super) attachment: Position,
    pub(super) sender: SessionSender,
}

/// What happens by itself.
#[derive(Debug)]
enum Due {
    Command(Command),
    EndDrain(u64),
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) directory: Directory,
    /// One run of the node.
    pub(super) epoch: u64,
    pub(super) secrets: HashMap<SessionId, Bytes>,
    pub(super) streams: HashMap<SessionId, Attached>,
    pub(super) watchers: Watchers,
    pub(super) refusals: VecDeque<v1::Refusal>,
    pub(super) ping_interval: Duration,
    /// Registrations that were taken or refused, those repeated included.
    pub(super) registrations: usize,
    /// Checks that were asked for.
    pub(super) checks: usize,
    notices: VecDeque<(SessionId, v1::Notice)>,
    due: BTreeMap<(Instant, u64), Due>,
    last_due: u64,
    started: Instant,
}

impl Ledger {
    fn new() -> Self {
        Self {
            directory: Directory::new(),
            epoch: fastrand::u64(1..),
            secrets: HashMap::new(),
            streams: HashMap::new(),
            watchers: Watchers::default(),
            refusals: VecDeque::new(),
            ping_interval: Duration::from_secs(5),
            registrations: 0,
            checks: 0,
            notices: VecDeque::new(),
            due: BTreeMap::new(),
            last_due: 0,
            started: Instant::now(),
        }
    }

    /// Applies, tells the watchers at once, and keeps notices until [`Self::tell_owners`].
    pub(super) fn apply(&mut self, command: Command) -> (Position, Outcome) {
        let mut effects = Effects::default();
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = self.directory.apply(Timestamp::new(1_700_000_000_000 + millis), command, &mut effects);
        let position = self.directory.revision();
        for notice in &effects.notices {
            self.notices.push_back((notice.session(), encode_notice(position, notice)));
        }
        if !effects.events.is_empty() {
            let told = effects.events.into_iter().map(Told::Event).collect();
            self.watchers.publish(self.epoch, Group { position, told });
        }
        self.schedule_handovers();
        (position, outcome)
    }

    /// What owners are told comes after what they are answered.
    pub(super) fn tell_owners(&mut self) {
        while let Some((session, notice)) = self.notices.pop_front() {
            if let Some(attached) = self.streams.get(&session) {
                tell(&attached.sender, Response::Notice(notice));
            }
        }
    }

    /// A stream ended without a goodbye, or is silent.
    pub(super) fn lose(&mut self, session: SessionId, attachment: Position, reason: SuspectReason) {
        if self.streams.get(&session).is_none_or(|attached| attached.attachment != attachment) {
            return; // another stream has the session
        }
        self.streams.remove(&session);
        self.apply(Command::SuspectSession { session, attachment, reason });
        self.tell_owners();
        if let Some(known) = self.directory.session(session) {
            let grace = Duration::from_millis(known.grace.millis().into());
            self.schedule(grace, Due::Command(Command::ExpireSession { session, attachment }));
        }
    }

    /// Sessions and instances stay, streams and history do not.
    pub(super) fn restart(&mut self) {
        self.epoch = fastrand::u64(1..);
        self.streams.clear();
        self.watchers = Watchers::default();
        self.notices.clear();
        self.due.clear();
        self.apply(Command::StartNode);
        let away: Vec<_> = self.directory.sessions().filter(|session| session.liveness != Liveness::Up).collect();
        for known in away {
            let command = Command::ExpireSession { session: known.session, attachment: known.attachment };
            self.schedule(RESTART_GRACE, Due::Command(command));
        }
    }

    pub(super) fn wipe(&mut self) {
        self.directory = Directory::new();
        self.secrets.clear();
        self.restart();
    }

    pub(super) fn end_drain_in(&mut self, wait: Duration, drain: u64) {
        self.schedule(wait, Due::EndDrain(drain));
    }

    /// What the real node keeps of a secret is a hash; this one has nobody to hide it from.
    pub(super) fn hash(secret: &[u8]) -> SecretHash {
        let mut hash = [0; 16];
        hash.iter_mut().zip(secret).for_each(|(to, from)| *to = *from);
        SecretHash(hash)
    }

    fn schedule_handovers(&mut self) {
        for (service, pending, wait) in self.directory.handovers() {
            let known =
                |due: &Due| matches!(due, Due::Command(Command::FinishHandover { pending: p, .. }) if *p == pending);
            if !self.due.values().any(known) {
                let wait = Duration::from_millis(wait.millis().into());
                self.schedule(wait, Due::Command(Command::FinishHandover { service, pending }));
            }
        }
    }

    fn schedule(&mut self, wait: Duration, due: Due) {
        self.last_due += 1;
        self.due.insert((Instant::now() + wait, self.last_due), due);
    }

    fn fall_due(&mut self) {
        while let Some((&(at, number), _)) = self.due.first_key_value()
            && at <= Instant::now()
        {
            match self.due.remove(&(at, number)) {
                Some(Due::Command(command)) => {
                    self.apply(command);
                    self.tell_owners();
                }
                Some(Due::EndDrain(drain)) => self.watchers.end_drain(drain),
                None => {}
            }
        }
    }
}

/// Sends, unless the reader is gone or far behind: then its stream will end by itself.
pub(super) fn tell(sender: &SessionSender, response: Response) {
    let _ = sender.try_send(Ok(v1::SessionResponse { response: Some(response) }));
}

/// The ledger behind its lock.
#[derive(Debug)]
pub(super) struct Book {
    ledger: Mutex<Ledger>,
    changed: Notify,
}

impl Book {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { ledger: Mutex::new(Ledger::new()), changed: Notify::new() })
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Ledger) -> T) -> T {
        let result = act(&mut self.lock());
        self.changed.notify_one();
        result
    }

    /// Lets fall due what falls due, for ever.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = {
                let mut ledger = self.lock();
                ledger.fall_due();
                ledger.due.first_key_value().map(|((at, _), _)| *at)
            };
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of an instance on the wire.
pub(super) fn instance_id(wire: u64) -> InstanceId {
    InstanceId::new(wire)
}
