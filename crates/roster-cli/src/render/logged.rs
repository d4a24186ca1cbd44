//! What is in a log: each command, and each fact of a snapshot, as a sentence.

use roster_core::directory::{Caller, Command, Liveness, StateItem};
use roster_core::{Cutover, Position, Registration, ServiceName, SessionId, Timestamp};
use serde::Serialize;

use super::age;
use super::answers::cutover_word;
use super::instances::{kind_word, liveness_word, reason_word};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// A command as it was logged.
#[derive(Debug, Serialize)]
pub(crate) struct LoggedLine {
    position: u64,
    at: String,
    command: &'static str,
    session: Option<u64>,
    service: Option<String>,
    sentence: String,
}

impl LoggedLine {
    pub(crate) fn new(position: Position, at: Timestamp, command: &Command) -> Self {
        let session = |session: &SessionId| Some(session.get());
        let (word, session, service, sentence) = match command {
            Command::StartNode => ("start-node", None, None, "a node is ready to serve".to_owned()),
            Command::OpenSession { grace, client, .. } => {
                let sentence =
                    format!("{} opens a session with a grace of {} ms", quoted(client.as_str()), grace.millis());
                ("open-session", None, None, sentence)
            }
            Command::ResumeSession { session: id, .. } => {
                ("resume-session", session(id), None, format!("session {id} is resumed"))
            }
            Command::SuspectSession { session: id, attachment, reason } => {
                let sentence = format!("session {id} of attachment {attachment} is suspect: {}", reason_word(*reason));
                ("suspect-session", session(id), None, sentence)
            }
            Command::ExpireSession { session: id, attachment } => {
                let sentence = format!("the grace of session {id} of attachment {attachment} has passed");
                ("expire-session", session(id), None, sentence)
            }
            Command::CloseSession { session: id, attachment } => {
                let sentence = format!("session {id} of attachment {attachment} says goodbye");
                ("close-session", session(id), None, sentence)
            }
            Command::Register { session: id, registration, handover, cutover } => {
                let mut sentence = format!("session {id} registers {}", described(registration));
                if handover.millis() > 0 {
                    sentence.push_str(&format!(", hand-over within {} ms", handover.millis()));
                }
                if let Some(cutover) = cutover {
                    sentence.push_str(&format!(", cutover {}", cutover_word(*cutover)));
                }
                ("register", session(id), Some(&registration.service), sentence)
            }
            Command::Deregister { session: id, instance } => {
                ("deregister", session(id), None, format!("session {id} deregisters instance {instance}"))
            }
            Command::Drain { caller: Caller::Session(id), instance } => {
                ("drain", session(id), None, format!("session {id} drains instance {instance}"))
            }
            Command::Drain { caller: Caller::Operator, instance } => {
                ("drain", None, None, format!("an operator drains instance {instance}"))
            }
            Command::SetCutover { service, cutover, author } => {
                let who = quoted(author.as_str());
                let sentence = format!("{who} sets the cutover of {service} to {}", set(*cutover));
                ("set-cutover", None, Some(service), sentence)
            }
            Command::FinishHandover { service, pending } => {
                let sentence = format!("the hand-over of {service} to instance {pending} is due");
                ("finish-handover", None, Some(service), sentence)
            }
        };
        Self {
            position: position.get(),
            at: age::stamp(at.get()),
            command: word,
            session,
            service: service.map(ServiceName::to_string),
            sentence,
        }
    }
}

impl Shown for LoggedLine {
    fn table(&self, paint: Paint) -> String {
        let at = paint.text(Tone::Faint, &self.at);
        format!("{:>8}  {at}  {:<15}  {}\n", self.position, self.command, self.sentence)
    }

    fn text(&self) -> String {
        let session = self.session.map(|session| session.to_string()).unwrap_or_default();
        let service = self.service.as_deref().unwrap_or_default();
        let Self { position, at, command, sentence, .. } = self;
        format!("{position}\t{at}\t{command}\t{session}\t{service}\t{sentence}\n")
    }
}

/// A fact of a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct FactLine {
    fact: &'static str,
    sentence: String,
}

impl FactLine {
    pub(crate) fn new(item: &StateItem) -> Self {
        let (fact, sentence) = match item {
            StateItem::Counters { revision, last_session } => {
                ("counters", format!("the state at position {revision}; the last session was {last_session}"))
            }
            StateItem::Session { id, grace, client, attachment, liveness, .. } => {
                let sentence = format!(
                    "session {id} of {}: {}, attachment {attachment}, grace {} ms",
                    quoted(client.as_str()),
                    state(*liveness),
                    grace.millis()
                );
                ("session", sentence)
            }
            StateItem::Service { name, floor, cutover, operator_cutover } => {
                let operator = operator_cutover.as_ref().map(|(cutover, author)| {
                    format!(", set to {} by {}", cutover_word(*cutover), quoted(author.as_str()))
                });
                let sentence = format!(
                    "service {name}: floor {floor}, cutover {}{}",
                    cutover_word(*cutover),
                    operator.unwrap_or_default()
                );
                ("service", sentence)
            }
            StateItem::Instance { instance, .. } => {
                let mut sentence = format!(
                    "instance {} of session {}: {}, {}",
                    instance.id,
                    instance.session,
                    described(&instance.registration),
                    state(instance.liveness)
                );
                for (holds, word) in [(instance.draining, ", draining"), (instance.pending, ", pending")] {
                    if holds {
                        sentence.push_str(word);
                    }
                }
                if let Some(token) = instance.token {
                    sentence.push_str(&format!(", token {token}"));
                }
                ("instance", sentence)
            }
        };
        Self { fact, sentence }
    }
}

impl Shown for FactLine {
    fn table(&self, _paint: Paint) -> String {
        format!("{}\n", self.sentence)
    }

    fn text(&self) -> String {
        format!("{}\t{}\n", self.fact, self.sentence)
    }
}

fn described(registration: &Registration) -> String {
    let Registration { service, address, kind, version, .. } = registration;
    format!("{service} {address} ({}, version {version})", kind_word(*kind))
}

fn state(liveness: Liveness) -> String {
    match liveness {
        Liveness::Suspect(reason) => format!("suspect ({})", reason_word(reason)),
        Liveness::Up | Liveness::Unconfirmed => liveness_word(liveness).to_owned(),
    }
}

fn set(cutover: Option<Cutover>) -> String {
    cutover.map_or_else(|| "what registrations bring".to_owned(), cutover_word)
}

fn quoted(name: &str) -> String {
    if name.is_empty() { "somebody".to_owned() } else { format!("{name:?}") }
}
