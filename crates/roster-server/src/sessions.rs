//! The streams of attached sessions, and who waits to know whether a session is alive.

use std::collections::HashMap;

use roster_core::directory::Command;
use roster_core::{Position, SessionId};
use roster_proto::v1;
use tokio::sync::oneshot;

use crate::mail::{Attached, Request};
use crate::session_link::SessionLink;

/// Askers that may wait for one session.
const ASKERS_MAX: usize = 10_000;

/// Somebody who waits for the answer to a probe.
#[derive(Debug)]
pub(crate) enum Asker {
    Check(oneshot::Sender<v1::check_response::Outcome>),
    /// A newcomer at an address that the probed session holds.
    Register {
        command: Command,
        request: Request,
        stream: Attached,
        link: SessionLink,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    attached: HashMap<SessionId, (Position, SessionLink)>,
    askers: HashMap<SessionId, Vec<Asker>>,
}

impl Sessions {
    /// Takes the stream in; returns the one it replaces.
    pub(crate) fn attach(
        &mut self,
        session: SessionId,
        attachment: Position,
        link: SessionLink,
    ) -> Option<SessionLink> {
        self.attached.insert(session, (attachment, link)).map(|(_, earlier)| earlier)
    }

    pub(crate) fn detach(&mut self, session: SessionId) -> Option<SessionLink> {
        self.attached.remove(&session).map(|(_, link)| link)
    }

    pub(crate) fn is_attached(&self, session: SessionId, attachment: Position) -> bool {
        self.attached.get(&session).is_some_and(|(current, _)| *current == attachment)
    }

    pub(crate) fn link(&self, session: SessionId) -> Option<&SessionLink> {
        self.attached.get(&session).map(|(_, link)| link)
    }

    pub(crate) fn detach_all(&mut self) -> impl Iterator<Item = SessionLink> {
        self.attached.drain().map(|(_, (_, link))| link)
    }

    /// Lets somebody wait for a probe; `false`, and the asker is dropped, when too many wait.
    pub(crate) fn park(&mut self, session: SessionId, asker: Asker) -> bool {
        let askers = self.askers.entry(session).or_default();
        if askers.len() >= ASKERS_MAX {
            return false;
        }
        askers.push(asker);
        true
    }

    pub(crate) fn unpark(&mut self, session: SessionId) -> Vec<Asker> {
        self.askers.remove(&session).unwrap_or_default()
    }
}
