//! What a cluster knows at one moment, behind its lock: the view it has taken in, the table that
//! follows from it, the clients, and the list that the picker chooses from.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use roster_core::ServiceName;
use roster_core::directory::Instance;
use roster_core::view::View;

use super::connect::Connect;
use super::member::{Member, MemberId, Standing};
use super::picker::{Candidate, Picker};
use super::standing::NoneUsable;
use super::table::Table;
use crate::moment::Moment;
use crate::watch::LiveView;

/// Which instances of a service get a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    /// The main, and after a change of it the former one until the new one has connected.
    Main,
}

/// How the watch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    Connected,
    Away(String),
    Refused(String),
}

/// A client and its calls.
pub(super) struct Line<C: Connect> {
    pub(super) instance: Instance,
    pub(super) client: Arc<C::Client>,
    pub(super) load: Arc<AtomicUsize>,
}

/// Someone who can be picked.
pub(super) struct Seat<C: Connect> {
    pub(super) candidate: Candidate,
    pub(super) client: Arc<C::Client>,
    pub(super) load: Arc<AtomicUsize>,
}

pub(super) struct State<C: Connect> {
    service: ServiceName,
    scope: Scope,
    pub(super) table: Table,
    pub(super) lines: HashMap<MemberId, Line<C>>,
    pub(super) reach: Reach,
    picker: Box<dyn Picker>,
    /// What the picker chooses from, and the version of the table that it was made of.
    front: Vec<Arc<Seat<C>>>,
    front_version: Option<u64>,
    /// The watch; `None` before it is needed and after the end.
    pub(super) live: Option<LiveView>,
    /// What was taken in of it.
    view: Arc<View>,
    /// The driver has done its last order.
    pub(super) ended: bool,
}

impl<C: Connect> State<C> {
    pub(super) fn new(service: ServiceName, scope: Scope, table: Table, picker: Box<dyn Picker>) -> Self {
        Self {
            service,
            scope,
            table,
            lines: HashMap::new(),
            reach: Reach::Away("it has not answered yet".to_owned()),
            picker,
            front: Vec::new(),
            front_version: None,
            live: None,
            view: Arc::default(),
            ended: false,
        }
    }

    /// Takes the newest view in, unless it has been. Views become visible in order, and this asks for
    /// the newest under the lock, so that none is followed by an older one.
    pub(super) fn take_in(&mut self, moment: impl FnOnce() -> Moment) {
        let Some(live) = &self.live else { return };
        let view = live.current();
        if Arc::ptr_eq(&view, &self.view) {
            return;
        }
        let moment = moment();
        let service = view.service(&self.service);
        let wanted: Vec<_> = match self.scope {
            Scope::All => view.instances(&self.service).cloned().collect(),
            Scope::Main => view.main(&self.service).cloned().into_iter().collect(),
        };
        self.table.take_in(moment, &wanted, |id| service?.instance(id));
        self.view = view;
    }

    /// Who gets the next call.
    pub(super) fn pick(&mut self) -> Result<Arc<Seat<C>>, NoneUsable> {
        if self.front_version != Some(self.table.version()) {
            self.renew_front();
        }
        if self.front.is_empty() {
            return Err(self.none_usable());
        }
        let place = self.picker.pick();
        // A picker of the caller's own may be wrong; the first is better than a panic in each call.
        Ok(self.front.get(place).unwrap_or(&self.front[0]).clone())
    }

    /// The client of a member that the table has just taken as connected.
    pub(super) fn seat(&mut self, member: MemberId, instance: Instance, client: Arc<C::Client>) {
        let former = self.lines.insert(member, Line { instance, client, load: Arc::default() });
        debug_assert!(former.is_none(), "CL1: {member} has two clients");
    }

    /// The main of the service, as of the view that was taken in.
    pub(super) fn main(&self) -> Option<&Instance> {
        self.view.main(&self.service)
    }

    /// The best that there are.
    fn renew_front(&mut self) {
        self.front_version = Some(self.table.version());
        self.front.clear();
        let mut best: Option<Standing> = None;
        for (member, standing, instance) in self.table.usable() {
            let Some(line) = self.lines.get(&member) else { continue };
            let candidate = Candidate::new(member, instance.clone(), line.load.clone());
            if best.is_some_and(|best| standing > best) || !self.picker.accepts(&candidate) {
                continue;
            }
            if best != Some(standing) {
                best = Some(standing);
                self.front.clear();
            }
            let (client, load) = (line.client.clone(), line.load.clone());
            self.front.push(Arc::new(Seat { candidate, client, load }));
        }
        let candidates: Vec<_> = self.front.iter().map(|seat| seat.candidate.clone()).collect();
        self.picker.renew(&candidates);
    }

    fn none_usable(&self) -> NoneUsable {
        let service = self.service.clone();
        if self.table.is_finished() {
            return NoneUsable::Ended { service };
        }
        let members: Vec<Member> = self.table.members().collect();
        match &self.reach {
            Reach::Refused(why) => NoneUsable::Refused { service, why: why.clone() },
            Reach::Connected | Reach::Away(_) if !members.is_empty() => NoneUsable::Unusable { service, members },
            Reach::Away(why) if !self.view.is_loaded() => NoneUsable::NeverReached { service, why: why.clone() },
            Reach::Connected if !self.view.is_loaded() => {
                NoneUsable::NeverReached { service, why: "its answer is under way".to_owned() }
            }
            Reach::Away(why) => NoneUsable::NoneRegistered { service, away: Some(why.clone()) },
            Reach::Connected => NoneUsable::NoneRegistered { service, away: None },
        }
    }
}

impl<C: Connect> fmt::Debug for State<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("service", &self.service).field("table", &self.table).finish_non_exhaustive()
    }
}
