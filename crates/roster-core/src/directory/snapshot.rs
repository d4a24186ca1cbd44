//! The directory as a list of facts. Taking a snapshot copies sessions and services, and shares the
//! records of instances; those are made into facts while they are read, on the thread that reads them.

use crate::words::SessionId;

use super::machine::Directory;
use super::pages::Pages;
use super::record::Seat;
use super::{Liveness, StateItem};

/// The directory as it was at one position.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The counters, the sessions, the services.
    head: Vec<StateItem>,
    sessions: Vec<(SessionId, Liveness)>,
    instances: Pages,
}

impl Directory {
    /// The directory as it is. What commands change of instances meanwhile is copied then, a page at a time.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let tables = &self.tables;
        let mut head = Vec::with_capacity(1 + tables.sessions.len() + tables.services.len());
        head.push(StateItem::Counters { revision: self.revision, last_session: self.last_session });
        head.extend(tables.sessions.iter().map(|(&id, session)| StateItem::Session {
            id,
            secret: session.secret,
            grace: session.grace,
            client: session.client.clone(),
            attachment: session.attachment,
            liveness: session.liveness,
        }));
        head.extend(tables.names.iter().map(|(name, number)| {
            let service = &tables.services[*number];
            StateItem::Service {
                name: name.clone(),
                floor: service.floor,
                cutover: service.cutover,
                operator_cutover: service.operator.as_deref().cloned(),
            }
        }));
        let sessions = tables.sessions.iter().map(|(&id, session)| (id, session.liveness)).collect();
        Snapshot { head, sessions, instances: tables.instances.clone() }
    }
}

impl Snapshot {
    /// Every fact, in the order that [`Directory::restore`] takes.
    pub fn items(&self) -> impl Iterator<Item = StateItem> {
        let instances = self.instances.iter().map(|(id, record)| {
            let liveness = self.sessions.binary_search_by_key(&record.session, |session| session.0);
            let (_, liveness) = self.sessions[liveness.expect("D2: a record's session exists")];
            StateItem::Instance {
                instance: record.instance(id, liveness),
                place: record.place,
                handover: match record.seat {
                    Seat::Pending(handover) => handover,
                    Seat::Listed | Seat::Holder(_) => Default::default(),
                },
            }
        });
        self.head.iter().cloned().chain(instances)
    }
}
