//! What a watch tells: for people a time and a short sentence, for scripts one event a line.

use jiff::Timestamp;
use roster_core::directory::{Instance, Liveness, RemovedCause};
use roster_core::view::Change;
use serde::Serialize;

use super::age;
use super::instances::{OneInstance, kind_word, reason_word};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// One change of what a watch knows.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeLine {
    /// When it was received; changes carry no time of their own.
    received: String,
    /// Of the command that changed it, where that is known.
    position: Option<u64>,
    event: &'static str,
    service: Option<String>,
    /// The instance that it is about.
    id: Option<u64>,
    address: Option<String>,
    /// All its facts; those of a removed one are the last that were known.
    instance: Option<OneInstance>,
    /// Why it is suspect or gone.
    reason: Option<&'static str>,
    sentence: String,
    #[serde(skip)]
    clock: String,
    #[serde(skip)]
    tone: Tone,
}

impl ChangeLine {
    /// `main` is the address of the main, for a change that brings only its number.
    pub(crate) fn new(at: Timestamp, change: &Change, main: Option<String>) -> Self {
        match change {
            Change::Up(instance) => match instance.liveness {
                Liveness::Suspect(_) => Self::suspect(at, instance),
                Liveness::Up | Liveness::Unconfirmed => {
                    Self::about(at, "up", Tone::Good, instance, &format!("is up{}", facts(instance)))
                }
            },
            Change::Suspect(instance) => Self::suspect(at, instance),
            Change::Changed(instance) => {
                Self::about(at, "changed", Tone::Ordinary, instance, &format!("has changed{}", facts(instance)))
            }
            Change::Draining(instance) => Self::about(at, "draining", Tone::Careful, instance, "drains"),
            Change::Replaced { old, new } => {
                let did = format!("is up again in place of instance {}{}", old.id, facts(new));
                Self::about(at, "replaced", Tone::Good, new, &did)
            }
            Change::Removed { instance, cause } => {
                let cause = cause.map_or("gone after a reset", cause_word);
                let mut line = Self::about(at, "removed", Tone::Bad, instance, &format!("is gone: {cause}"));
                // The position is that of its last change, not of its removal, which nobody was told.
                line.position = None;
                line.reason = Some(cause);
                line
            }
            Change::MainChanged { service, main: None } => {
                let mut line = Self::plain(at, "main_changed", Tone::Careful, format!("{service} has no main"));
                line.service = Some(service.to_string());
                line
            }
            Change::MainChanged { service, main: Some(id) } => {
                let shown = main.clone().unwrap_or_else(|| format!("instance {id}"));
                let sentence = format!("{service} has its main at {shown}");
                let mut line = Self::plain(at, "main_changed", Tone::Ordinary, sentence);
                line.service = Some(service.to_string());
                line.id = Some(id.get());
                line.address = main;
                line
            }
            Change::Loaded { position } => {
                let mut line = Self::plain(at, "loaded", Tone::Faint, "the state is whole; changes follow".to_owned());
                line.position = Some(position.get());
                line
            }
        }
    }

    fn suspect(at: Timestamp, instance: &Instance) -> Self {
        let reason = match instance.liveness {
            Liveness::Suspect(reason) => reason_word(reason),
            Liveness::Up | Liveness::Unconfirmed => "",
        };
        let mut line = Self::about(at, "suspect", Tone::Careful, instance, &format!("is suspect: {reason}"));
        line.reason = Some(reason);
        line
    }

    fn about(at: Timestamp, event: &'static str, tone: Tone, instance: &Instance, did: &str) -> Self {
        let said = &instance.registration;
        let mut line = Self::plain(at, event, tone, format!("{} {} {did}", said.service, said.address));
        line.position = Some(instance.changed.get());
        line.service = Some(said.service.to_string());
        line.id = Some(instance.id.get());
        line.address = Some(said.address.to_string());
        line.instance = Some(OneInstance::new(instance, None));
        line
    }

    fn plain(at: Timestamp, event: &'static str, tone: Tone, sentence: String) -> Self {
        Self {
            received: format!("{at:.3}"),
            position: None,
            event,
            service: None,
            id: None,
            address: None,
            instance: None,
            reason: None,
            sentence,
            clock: age::clock(at),
            tone,
        }
    }
}

impl Shown for ChangeLine {
    fn table(&self, paint: Paint) -> String {
        let event = paint.text(self.tone, &format!("{:<12}", self.event.replace('_', " ")));
        format!("{}  {event}  {}\n", paint.text(Tone::Faint, &self.clock), self.sentence)
    }

    fn text(&self) -> String {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let (position, id) = (number(self.position), number(self.id));
        let fields = [
            self.received.as_str(),
            &position,
            self.event,
            self.service.as_deref().unwrap_or_default(),
            self.address.as_deref().unwrap_or_default(),
            &id,
            self.reason.unwrap_or_default(),
        ];
        fields.join("\t") + "\n"
    }
}

fn facts(instance: &Instance) -> String {
    let said = &instance.registration;
    let mut facts = format!(" ({}, version {}", kind_word(said.kind), said.version);
    if let Some(token) = instance.token {
        facts.push_str(&format!(", token {token}"));
    }
    if instance.draining {
        facts.push_str(", draining");
    }
    facts.push(')');
    facts
}

fn cause_word(cause: RemovedCause) -> &'static str {
    match cause {
        RemovedCause::Logout => "logout",
        RemovedCause::LostContact => "lost contact",
        RemovedCause::Superseded => "superseded",
        RemovedCause::Evicted => "evicted",
    }
}
