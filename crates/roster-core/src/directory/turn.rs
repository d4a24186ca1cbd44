//! One command under way: its position and time, what it has told so far, and which services it touched.

use std::collections::BTreeMap;

use crate::words::{InstanceId, Position, ServiceName, SessionId, Timestamp};

use super::record::Record;
use super::service::ServiceNumber;
use super::{Effects, Event, Notice, OfflineReason};

#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) position: Position,
    pub(super) at: Timestamp,
    pub(super) effects: &'a mut Effects,
    /// Each with the highest version that this command made ripe to take over.
    pub(super) touched: BTreeMap<ServiceNumber, Option<u64>>,
}

impl Turn<'_> {
    /// The service is settled before the command ends.
    pub(super) fn touch(&mut self, number: ServiceNumber, ripe: Option<u64>) {
        let candidate = self.touched.entry(number).or_default();
        *candidate = (*candidate).max(ripe);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.effects.events.push(event);
    }

    /// Tells of a change of a record: by an event, if watchers see it.
    pub(super) fn tell(&mut self, record: &Record, event: impl FnOnce(&ServiceName) -> Event) {
        let service = &record.registration.service;
        if record.is_visible() {
            self.event(event(service));
        } else {
            self.effects.unseen.push(service.clone());
        }
    }

    pub(super) fn offline(
        &mut self,
        session: SessionId,
        instance: InstanceId,
        reason: OfflineReason,
        deadline_millis: u32,
    ) {
        self.effects.notices.push(Notice::Offline { session, instance, reason, deadline_millis });
    }

    /// Puts what was told in its order: by service, make before break, by instance.
    pub(super) fn order_effects(&mut self) {
        self.effects
            .events
            .sort_by(|one, other| one.service().cmp(other.service()).then_with(|| rank(one).cmp(&rank(other))));
        self.effects.notices.sort_by_key(Notice::instance);
    }
}

/// What appears stands before the main that may be among it, and both before what goes away.
fn rank(event: &Event) -> (u8, InstanceId) {
    match event {
        Event::Up(instance) | Event::Changed(instance) | Event::Replaced { new: instance, .. } => (0, instance.id),
        Event::Suspect { instance, .. } | Event::Draining { instance, .. } => (0, *instance),
        Event::MainChanged { .. } => (1, InstanceId::new(0)),
        Event::Removed { instance, .. } => (2, *instance),
    }
}
