//! What a reader knows of the directory, built from what it is told and nothing else.
//!
//! A view never forgets because of a reset: between [`Told::Reset`] and [`Told::Loaded`] the old state
//! stays visible while the new one gathers beside it, and then only the differences come out. What is
//! unknown, double or out of turn is taken as far as it makes sense, and never panics.
//!
//! # Always true
//! * **V1, whole or not at all**: a state that is not loaded to its end is never visible.
//! * **V2, no flap**: an instance that is the same before and after a reset makes no change.
//! * **V3, each once**: a group that was taken in already changes nothing.

mod difference;
mod service_view;
mod shelf;

use crate::directory::{Event, Instance, RemovedCause};
use crate::words::{InstanceId, Position, ServiceName};

use shelf::Shelf;

pub use service_view::ServiceView;

/// What a watch is told in one piece: taken in together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The position of the command that it comes from, or of the state that is being sent.
    pub position: Position,
    pub told: Vec<Told>,
}

/// One thing a watch is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The whole state follows as [`Event::Up`] and [`Event::MainChanged`], up to [`Told::Loaded`].
    Reset,
    /// The state is whole as of the group's position.
    Loaded,
    /// Nothing changed up to the group's position.
    Bookmark,
    /// A change, or between `Reset` and `Loaded` a part of the state.
    Event(Event),
}

/// What became different for a reader. An [`Instance`] in it is as it stands after the change, but a
/// removed or replaced one as it was known last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// New, or known and no longer suspect. A new one may be suspect itself: its liveness says so.
    Up(Instance),
    /// Its session is lost.
    Suspect(Instance),
    /// Its facts, or its token, changed.
    Changed(Instance),
    /// New work should avoid it.
    Draining(Instance),
    /// Another instance, or none, is the main now.
    MainChanged { service: ServiceName, main: Option<InstanceId> },
    /// The same place was registered anew.
    Replaced { old: Instance, new: Instance },
    /// Gone. Without a cause it was found gone after a reset.
    Removed { instance: Instance, cause: Option<RemovedCause> },
    /// The state is whole as of this position.
    Loaded { position: Position },
}

/// The state as a reader knows it. Cloning it costs nothing that grows with it, and a clone does not
/// change any more: a writer publishes clones, and readers keep them.
#[derive(Debug, Clone, Default)]
pub struct View {
    services: Services,
    /// What gathers since a reset.
    staged: Option<Services>,
    position: Position,
    loaded: bool,
}

type Services = Shelf<ServiceName, ServiceView>;

impl View {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one group, whole. Gives what became different for the reader, in the order in which to
    /// act on it: within a service what appears before the main before what is gone.
    pub fn take_in(&mut self, group: Group) -> Vec<Change> {
        let mut changes = Vec::new();
        let position = group.position;
        for told in group.told {
            match told {
                Told::Reset => self.staged = Some(Services::default()),
                Told::Loaded => self.load(position, &mut changes),
                Told::Bookmark => {}
                Told::Event(event) => match &mut self.staged {
                    Some(staged) => take_event(staged, position, event, &mut Vec::new()),
                    None if self.loaded && position <= self.position => {}
                    None => take_event(&mut self.services, position, event, &mut changes),
                },
            }
        }
        if self.staged.is_none() {
            self.position = self.position.max(position);
        }
        changes
    }

    /// A clone for readers, without what gathers since a reset: that goes on gathering in place instead of being
    /// copied for whoever holds the clone.
    #[must_use]
    pub fn visible(&self) -> Self {
        let Self { services, staged, position, loaded } = self;
        let staged = staged.as_ref().map(|_| Services::default());
        Self { services: services.clone(), staged, position: *position, loaded: *loaded }
    }

    /// The stream ended: what gathered since its reset will not become whole. The next stream resumes
    /// from [`View::position`], or begins with a reset of its own.
    pub fn break_off(&mut self) {
        self.staged = None;
    }

    /// The visible instances of a service by ascending id, suspect ones included.
    pub fn instances(&self, service: &ServiceName) -> impl Iterator<Item = &Instance> {
        self.services.get(service).into_iter().flat_map(ServiceView::instances)
    }

    /// Every visible instance, by service name and then by id.
    pub fn all(&self) -> impl Iterator<Item = &Instance> {
        self.services.iter().flat_map(|(_, service)| service.instances())
    }

    /// The services that have an instance, by name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &ServiceView)> {
        self.services.iter()
    }

    /// One service.
    #[must_use]
    pub fn service(&self, service: &ServiceName) -> Option<&ServiceView> {
        self.services.get(service)
    }

    /// The main of a service.
    #[must_use]
    pub fn main(&self, service: &ServiceName) -> Option<&Instance> {
        self.services.get(service)?.main()
    }

    /// Up to where everything was taken in: what a resumed watch names.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether a whole state was ever taken in. Stays so: a reset does not take away what is known.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Whether a reset is under way, so that what is visible is older than the node's state.
    #[must_use]
    pub fn is_resetting(&self) -> bool {
        self.staged.is_some()
    }

    /// Makes the staged state the visible one. A stream that resumed may say `Loaded` without a reset:
    /// then the state is whole as it stands.
    fn load(&mut self, position: Position, changes: &mut Vec<Change>) {
        if let Some(staged) = self.staged.take() {
            difference::between(&self.services, &staged, changes);
            self.services = staged;
            self.position = position;
        }
        self.loaded = true;
        changes.push(Change::Loaded { position });
    }
}

fn take_event(services: &mut Services, position: Position, event: Event, changes: &mut Vec<Change>) {
    let name = event.service().clone();
    // Only what brings an instance or a main makes a service known.
    let brings = match &event {
        Event::Up(instance) | Event::Changed(instance) | Event::Replaced { new: instance, .. } => !instance.pending,
        Event::MainChanged { main, .. } => main.is_some(),
        Event::Suspect { .. } | Event::Draining { .. } | Event::Removed { .. } => false,
    };
    if services.get(&name).is_none() {
        if !brings {
            return;
        }
        services.insert(name.clone(), ServiceView::default());
    }
    let Some(service) = services.get_mut(&name) else { return };
    service.take_event(position, event, changes);
    if service.is_spent() {
        services.remove(&name);
    }
}
