//! A list of facts as a directory. What comes in is not trusted: it may be another program's, or a good
//! file's bad neighbour, and every fault of it is an error that says what.

use std::collections::BTreeMap;

use crate::words::{Cutover, InstanceId, Kind, Position, ServiceName, SessionId};

use super::machine::Directory;
use super::record::{Rank, Record, Seat};
use super::roll::Roll;
use super::service::{Family, ServiceNumber};
use super::session::Session;
use super::{Instance, StateItem};

/// Why a list of facts is not a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("the counters do not stand first and once")]
    Counters,
    #[error("{what} stands after what should follow it, or twice")]
    Disorder { what: String },
    #[error("{what} is {found}, beyond the counter at {counter}")]
    BeyondCounter { what: String, found: u64, counter: u64 },
    #[error("instance {instance} belongs to session {session}, which is not there")]
    UnknownSession { instance: InstanceId, session: SessionId },
    #[error("instance {instance} belongs to service {service}, which is not there")]
    UnknownService { instance: InstanceId, service: ServiceName },
    #[error("instance {instance} breaks a rule: {why}")]
    Instance { instance: InstanceId, why: &'static str },
    #[error("service {service} breaks a rule: {why}")]
    Service { service: ServiceName, why: &'static str },
}

impl Directory {
    /// The directory that a list of facts describes; see [`Restoration`] to feed them one by one.
    ///
    /// # Errors
    /// [`RestoreError`] at the first fact that cannot be.
    pub fn restore(items: impl IntoIterator<Item = StateItem>) -> Result<Self, RestoreError> {
        let mut restoration = Restoration::new();
        for item in items {
            restoration.take(item)?;
        }
        restoration.finish()
    }
}

/// A directory that is being put together from its facts.
#[derive(Debug, Default)]
pub struct Restoration {
    directory: Directory,
    stage: Stage,
    /// What the tables are filled with at the end.
    records: Vec<(InstanceId, Record)>,
    seats: BTreeMap<ServiceNumber, Seats>,
}

/// What is taken in a service.
#[derive(Debug)]
struct Seats {
    family: Family,
    held: bool,
    awaited: bool,
}

/// The kind of fact that came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Stage {
    #[default]
    Nothing,
    Counters,
    Sessions,
    Services,
    Instances,
}

impl Restoration {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next fact, in the order of [`StateItem`]. The liveness of an instance is that of its
    /// session; what the fact itself says of it is not looked at.
    ///
    /// # Errors
    /// [`RestoreError`] when it cannot be; what was taken before is then of no use either.
    pub fn take(&mut self, item: StateItem) -> Result<(), RestoreError> {
        match item {
            StateItem::Counters { revision, last_session } => self.take_counters(revision, last_session),
            StateItem::Session { id, secret, grace, client, attachment, liveness } => {
                self.take_session(id, Session { secret, grace, client, attachment, liveness, owned: Roll::default() })
            }
            StateItem::Service { name, floor, cutover, operator_cutover } => {
                self.enter(Stage::Services, || format!("service {name}"))?;
                let tables = &mut self.directory.tables;
                if tables.names.last_key_value().is_some_and(|(last, _)| *last >= name) {
                    return Err(RestoreError::Disorder { what: format!("service {name}") });
                }
                let number = tables.add_service(name);
                let service = tables.service_mut(number);
                service.floor = floor;
                service.cutover = cutover;
                service.operator = operator_cutover.map(Box::new);
                Ok(())
            }
            StateItem::Instance { instance, place, handover } => {
                let id = instance.id;
                self.enter(Stage::Instances, || format!("instance {id}"))?;
                if self.records.last().is_some_and(|(last, _)| *last >= id) {
                    return Err(RestoreError::Disorder { what: format!("instance {id}") });
                }
                let seat = match (instance.registration.kind, instance.pending, instance.token) {
                    (Kind::Member | Kind::Main, false, None) => Seat::Listed,
                    (Kind::Singleton, false, Some(token)) => Seat::Holder(token),
                    (Kind::Singleton, true, None) => Seat::Pending(handover),
                    (Kind::Member | Kind::Main | Kind::Singleton, _, _) => {
                        let why = "its kind, its token and its waiting do not go together";
                        return Err(RestoreError::Instance { instance: id, why });
                    }
                };
                self.take_instance(instance, place, seat)
            }
        }
    }

    /// The directory, when all of its facts were taken.
    ///
    /// # Errors
    /// [`RestoreError`] when something is missing, or a service is in a state that no command leaves.
    pub fn finish(mut self) -> Result<Directory, RestoreError> {
        if self.stage == Stage::Nothing {
            return Err(RestoreError::Counters);
        }
        let filled = self.directory.tables.fill(self.records);
        filled.map_err(|(instance, why)| RestoreError::Instance { instance, why })?;
        let numbers: Vec<_> = self.directory.tables.names.values().copied().collect();
        for number in numbers {
            let main = self.directory.tables.services[number].lead.map(|(_, id)| id);
            self.directory.tables.service_mut(number).main = main;
            let service = &self.directory.tables.services[number];
            let empty = self.directory.tables.services[number].is_empty();
            let why = if empty && service.operator.is_none() {
                "nothing keeps it"
            } else if empty && (service.floor != 0 || service.cutover != Cutover::default()) {
                "it has a floor or a policy of registrations, and no instance"
            } else if service.policy() == Cutover::SideBySide && service.floor != 0 {
                "it has a floor, and versions stand side by side"
            } else if service.pending.is_some() && main.is_none() {
                "a singleton waits for nobody"
            } else if service.ripe_version(service.floor, service.policy(), None).is_some() {
                "a version above its floor should have taken over"
            } else {
                continue;
            };
            return Err(RestoreError::Service { service: service.name.clone(), why });
        }
        Ok(self.directory)
    }

    fn enter(&mut self, stage: Stage, what: impl FnOnce() -> String) -> Result<(), RestoreError> {
        if self.stage == Stage::Nothing {
            return Err(RestoreError::Counters);
        }
        if self.stage > stage {
            return Err(RestoreError::Disorder { what: what() });
        }
        self.stage = stage;
        Ok(())
    }

    fn take_counters(&mut self, revision: Position, last_session: SessionId) -> Result<(), RestoreError> {
        if self.stage != Stage::Nothing {
            return Err(RestoreError::Counters);
        }
        // Every session was opened by a command of its own; and positions keep off the top bit of a rank.
        check_counter("the last session", last_session.get(), revision.get())?;
        check_counter("the revision", revision.get(), Rank::MAIN - 1)?;
        self.stage = Stage::Counters;
        self.directory.revision = revision;
        self.directory.last_session = last_session;
        Ok(())
    }

    fn take_session(&mut self, id: SessionId, session: Session) -> Result<(), RestoreError> {
        self.enter(Stage::Sessions, || format!("session {id}"))?;
        if self.directory.tables.sessions.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(RestoreError::Disorder { what: format!("session {id}") });
        }
        check_counter("a session", id.get(), self.directory.last_session.get())?;
        check_counter("an attachment", session.attachment.get(), self.directory.revision.get())?;
        self.directory.tables.add_session(id, session);
        Ok(())
    }

    fn take_instance(&mut self, instance: Instance, place: u64, seat: Seat) -> Result<(), RestoreError> {
        let Instance { id, registration, session, draining, token, registered, changed, .. } = instance;
        let revision = self.directory.revision.get();
        check_counter("an instance", id.get(), revision)?;
        check_counter("a change", changed.get(), revision)?;
        check_counter("a token", token.map_or(0, |token| token.get()), revision)?;
        check_counter("a place", place, id.get())?;
        let tables = &self.directory.tables;
        if !tables.sessions.contains_key(&session) {
            return Err(RestoreError::UnknownSession { instance: id, session });
        }
        let Some(&number) = tables.names.get(&registration.service) else {
            return Err(RestoreError::UnknownService { instance: id, service: registration.service.clone() });
        };
        let broken = |why| Err(RestoreError::Instance { instance: id, why });
        if registration.version < tables.services[number].floor {
            return broken("its version is below the floor of its service");
        }
        let family = Family::of(registration.kind);
        let seats = self.seats.entry(number).or_insert(Seats { family, held: false, awaited: false });
        if seats.family != family {
            return broken("its kind does not mix with that of another instance");
        }
        match seat {
            Seat::Listed => {}
            Seat::Holder(_) if seats.held => return broken("another singleton holds the name"),
            Seat::Holder(_) => seats.held = true,
            Seat::Pending(_) if seats.awaited => return broken("another singleton waits already"),
            Seat::Pending(_) => seats.awaited = true,
        }
        let record = Record { registration, session, service: number, place, seat, draining, registered, changed };
        self.records.push((id, record));
        Ok(())
    }
}

fn check_counter(what: &str, found: u64, counter: u64) -> Result<(), RestoreError> {
    if found > counter {
        return Err(RestoreError::BeyondCounter { what: what.into(), found, counter });
    }
    Ok(())
}
