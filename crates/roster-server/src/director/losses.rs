//! Whether a session whose grace has passed is removed, or held by the mass-loss guard.

use std::collections::BTreeMap;

use roster_core::directory::Command;
use roster_core::{Position, Selector, SessionId};
use tracing::{info, warn};

use super::Director;
use crate::guard::{Loss, Toll};
use crate::mail::Held;

impl Director {
    pub(super) fn expire(&mut self, session: SessionId, attachment: Position) {
        let loss = self.loss_of(session, attachment);
        let held_before = self.guard.holds().is_some();
        if self.guard.admits(self.clock.now(), session, loss) {
            return self.submit(Command::ExpireSession { session, attachment });
        }
        if let (false, Some((why, ..))) = (held_before, self.guard.holds()) {
            warn!(why, "the mass-loss guard holds removals; they go on by `roster guard release`");
        }
    }

    pub(super) fn release_guard(&mut self) -> Held {
        let held = self.held();
        for (session, (attachment, _)) in self.guard.release(self.clock.now()) {
            self.submit(Command::ExpireSession { session, attachment });
        }
        info!(sessions = held.sessions, instances = held.instances, "the mass-loss guard was released");
        held
    }

    pub(super) fn held(&self) -> Held {
        let Some((why, sessions, instances)) = self.guard.holds() else { return Held::default() };
        Held { why: why.to_owned(), sessions: sessions as u64, instances }
    }

    fn loss_of(&self, session: SessionId, attachment: Position) -> Loss {
        let mut services = BTreeMap::new();
        for instance in self.directory.session_instances(session) {
            services.entry(instance.registration.service.clone()).or_insert((0, Toll { silent: 0, instances: 0 })).0 +=
                1;
        }
        for (service, (_, toll)) in &mut services {
            let selector = Selector::Service(service.clone());
            if let Some(summary) = self.directory.services(&selector, None, 1).first() {
                let silent = u64::from(summary.suspect) + u64::from(summary.unconfirmed);
                *toll = Toll { silent, instances: silent + u64::from(summary.up) };
            }
        }
        let counts = self.directory.counts();
        Loss { attachment, services, all: Toll { silent: counts.silent as u64, instances: counts.visible as u64 } }
    }
}
