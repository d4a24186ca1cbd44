//! One service as a reader knows it.

use crate::directory::{Event, Instance, Liveness};
use crate::words::{InstanceId, Position};

use super::shelf::Shelf;
use super::{Change, difference};

/// One service as a reader knows it. Cheap to clone, like the view that it is of.
#[derive(Debug, Clone, Default)]
pub struct ServiceView {
    instances: Shelf<InstanceId, Instance>,
    main: Option<InstanceId>,
}

impl ServiceView {
    /// The visible instances by ascending id.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().map(|(_, instance)| instance)
    }

    /// One instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.len() == 0
    }

    /// The main, when it is among the instances.
    #[must_use]
    pub fn main(&self) -> Option<&Instance> {
        self.instances.get(&self.main?)
    }

    pub(super) fn main_id(&self) -> Option<InstanceId> {
        self.main
    }

    /// Whether nothing is left to know.
    pub(super) fn is_spent(&self) -> bool {
        self.is_empty() && self.main.is_none()
    }

    /// Takes in an event about this service.
    pub(super) fn take_event(&mut self, position: Position, event: Event, changes: &mut Vec<Change>) {
        match event {
            Event::Up(instance) | Event::Changed(instance) => self.put(instance, changes),
            Event::Suspect { instance, reason, .. } => {
                self.alter(instance, changes, |known| known.liveness = Liveness::Suspect(reason));
            }
            Event::Draining { instance, .. } => self.alter(instance, changes, |known| {
                known.draining = true;
                known.changed = position;
            }),
            Event::MainChanged { service, main } => {
                if self.main != main {
                    self.main = main;
                    changes.push(Change::MainChanged { service, main });
                }
            }
            Event::Replaced { old, new } => match self.instances.remove(&old) {
                Some(old) if !new.pending => {
                    self.instances.insert(new.id, new.clone());
                    changes.push(Change::Replaced { old, new });
                }
                Some(old) => changes.push(Change::Removed { instance: old, cause: None }),
                None => self.put(new, changes),
            },
            Event::Removed { instance, cause, .. } => {
                if let Some(instance) = self.instances.remove(&instance) {
                    changes.push(Change::Removed { instance, cause: Some(cause) });
                }
            }
        }
    }

    /// An instance that waits is nothing that a reader should see.
    fn put(&mut self, instance: Instance, changes: &mut Vec<Change>) {
        if instance.pending {
            return;
        }
        difference::of_instance(self.instances.get(&instance.id), &instance, changes);
        self.instances.insert(instance.id, instance);
    }

    fn alter(&mut self, id: InstanceId, changes: &mut Vec<Change>, alter: impl FnOnce(&mut Instance)) {
        if let Some(known) = self.instances.get(&id) {
            let mut altered = known.clone();
            alter(&mut altered);
            difference::of_instance(Some(known), &altered, changes);
            self.instances.insert(id, altered);
        }
    }
}
