//! Drains under way: who of the watchers has taken in that an instance drains.

use std::collections::HashMap;

use roster_core::directory::Instance;
use roster_core::{InstanceId, Position, ServiceName, SessionId};
use roster_proto::v1;
use roster_proto::v1::session_response::Response;
use tokio::sync::mpsc;

use crate::awake::Awake;
use crate::session_link::SessionLink;
use crate::watch::WatchHub;

/// Drains that may be followed at a time.
pub(crate) const DRAINS_MAX: usize = 1_000;

/// To whom progress is reported.
#[derive(Debug)]
pub(crate) enum Report {
    Session(SessionId, SessionLink),
    Call(mpsc::Sender<v1::DrainProgress>),
}

impl Report {
    fn send(&self, progress: v1::DrainProgress) {
        match self {
            Self::Session(_, link) => link.send(Response::DrainProgress(progress)),
            // A caller that does not read misses steps, never the end: the channel closes with it.
            Self::Call(channel) => drop(channel.try_send(progress)),
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(session, _) => Some(*session),
            Self::Call(_) => None,
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Session(_, link) => link.has_ended(),
            Self::Call(channel) => channel.is_closed(),
        }
    }

    /// The instance is gone: nobody needs to take anything in any more.
    pub(crate) fn gone(self, instance: InstanceId) {
        self.send(v1::DrainProgress { instance_id: instance.get(), seen: 0, watchers: 0, finished: true });
    }
}

#[derive(Debug)]
struct Drain {
    instance: InstanceId,
    service: ServiceName,
    position: Position,
    deadline: Awake,
    told: Option<(u32, u32)>,
    report: Report,
}

#[derive(Debug, Default)]
pub(crate) struct Drains {
    followed: Vec<Drain>,
    /// The state of the watches that was looked at last.
    looked_at: Option<u64>,
}

impl Drains {
    /// Follows a drain; one of the same session and instance is replaced. `false` when too many are followed.
    pub(crate) fn follow(&mut self, instance: &Instance, deadline: Awake, report: Report) -> bool {
        if let Some(session) = report.session() {
            let same = |drain: &Drain| drain.instance == instance.id && drain.report.session() == Some(session);
            self.followed.retain(|drain| !same(drain));
        }
        if self.followed.len() >= DRAINS_MAX {
            return false;
        }
        self.looked_at = None;
        self.followed.push(Drain {
            instance: instance.id,
            service: instance.registration.service.clone(),
            position: instance.changed,
            deadline,
            told: None,
            report,
        });
        true
    }

    /// Tells each drainer what has changed, and ends those that are finished or that nobody reads.
    pub(crate) fn report(&mut self, now: Awake, watches: &WatchHub) {
        if self.followed.is_empty() {
            return;
        }
        let same_watches = self.looked_at.replace(watches.generation()) == Some(watches.generation());
        let mut counted = HashMap::new();
        self.followed.retain_mut(|drain| {
            if drain.report.has_ended() {
                return false;
            }
            let due = now >= drain.deadline;
            if same_watches && !due {
                return true;
            }
            let key = (drain.service.clone(), drain.position);
            let (seen, watchers) = *counted.entry(key).or_insert_with(|| watches.seen(&drain.service, drain.position));
            let finished = seen >= watchers || due;
            if finished || drain.told != Some((seen, watchers)) {
                drain.told = Some((seen, watchers));
                drain.report.send(v1::DrainProgress { instance_id: drain.instance.get(), seen, watchers, finished });
            }
            !finished
        });
    }

    /// The session has another stream, or none.
    pub(crate) fn forget(&mut self, session: SessionId) {
        self.followed.retain(|drain| drain.report.session() != Some(session));
    }

    /// Ends all, at shutdown.
    pub(crate) fn end(&mut self) {
        self.followed.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use roster_core::directory::Liveness;
    use roster_core::{Address, Kind, Label, Metadata, Registration, Tags, Timestamp};

    use super::*;

    fn instance(id: u64) -> Instance {
        let registration = Registration {
            service: ServiceName::parse("orders").unwrap(),
            address: Address::parse("127.0.0.1", 1).unwrap(),
            kind: Kind::Member,
            node_index: 0,
            version: 0,
            weight: 100,
            zone: Label::default(),
            tags: Tags::default(),
            metadata: Metadata::default(),
        };
        Instance {
            id: InstanceId::new(id),
            registration: Arc::new(registration),
            session: SessionId::new(1),
            liveness: Liveness::Up,
            draining: true,
            pending: false,
            token: None,
            registered: Timestamp::new(1),
            changed: Position::new(id),
        }
    }

    #[test]
    fn a_session_follows_a_drain_once_and_none_beyond_the_limit() {
        let (link, _reader) = SessionLink::new(1, Bytes::new());
        let mut drains = Drains::default();
        let mut follow =
            |id: u64| drains.follow(&instance(id), Awake::default(), Report::Session(SessionId::new(1), link.clone()));
        for _ in 0..=DRAINS_MAX {
            assert!(follow(1), "the same drain took a second place");
        }
        for id in 2..=DRAINS_MAX as u64 {
            assert!(follow(id));
        }
        assert!(!follow(DRAINS_MAX as u64 + 1), "one more than the limit");
        assert!(follow(1), "what is followed already is replaced, also when all places are taken");
        drains.forget(SessionId::new(1));
        assert!(drains.followed.is_empty());
    }
}
