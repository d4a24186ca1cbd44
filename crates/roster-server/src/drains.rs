//! Drains under way: who of the watchers has taken in that an instance drains.

use roster_core::directory::Instance;
use roster_core::{InstanceId, Position, ServiceName};
use roster_proto::v1;
use roster_proto::v1::session_response::Response;
use tokio::sync::mpsc;

use crate::awake::Awake;
use crate::session_link::SessionLink;
use crate::watch::WatchHub;

/// Drains that may be followed at a time; one more is told at once that it is finished.
const DRAINS_MAX: usize = 10_000;

/// To whom progress is reported.
#[derive(Debug)]
pub(crate) enum Report {
    Session(SessionLink),
    Call(mpsc::Sender<v1::DrainProgress>),
}

impl Report {
    fn send(&self, progress: v1::DrainProgress) {
        match self {
            Self::Session(link) => link.send(Response::DrainProgress(progress)),
            // A caller that does not read misses steps, never the end: the channel closes with it.
            Self::Call(channel) => drop(channel.try_send(progress)),
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
pub(crate) struct Drains(Vec<Drain>);

impl Drains {
    pub(crate) fn follow(&mut self, instance: &Instance, deadline: Awake, report: Report) {
        if self.0.len() >= DRAINS_MAX {
            return report.gone(instance.id);
        }
        self.0.push(Drain {
            instance: instance.id,
            service: instance.registration.service.clone(),
            position: instance.changed,
            deadline,
            told: None,
            report,
        });
    }

    /// Tells each drainer what has changed, and ends those that are finished.
    pub(crate) fn report(&mut self, now: Awake, watches: &WatchHub) {
        self.0.retain_mut(|drain| {
            let (seen, watchers) = watches.seen(&drain.service, drain.position);
            let finished = seen >= watchers || now >= drain.deadline;
            if finished || drain.told != Some((seen, watchers)) {
                drain.told = Some((seen, watchers));
                drain.report.send(v1::DrainProgress { instance_id: drain.instance.get(), seen, watchers, finished });
            }
            !finished
        });
    }

    /// Ends all, at shutdown.
    pub(crate) fn end(&mut self) {
        self.0.clear();
    }
}
