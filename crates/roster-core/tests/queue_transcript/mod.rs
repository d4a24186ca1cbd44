//! How outcomes, effects, deliveries and messages of queues read in a transcript.

use roster_core::queue::{Deliveries, Effects, Fate, Outcome, Place, Ready, Stored};

pub(crate) fn outcome(outcome: &Outcome) -> String {
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    match outcome {
        Outcome::Done => "done".into(),
        Outcome::Created => "created".into(),
        Outcome::Exists => "exists".into(),
        Outcome::Published { first, stored, duplicates } => {
            let ids = match stored {
                0 => "nothing".into(),
                1 => format!("{first}"),
                _ => format!("{first} to {}", first.get() + stored - 1),
            };
            format!("published {ids}{}", some(*duplicates, "duplicates"))
        }
        Outcome::Acknowledged { removed, unknown } => format!("acknowledged {removed}{}", some(*unknown, "unknown")),
        Outcome::Ended { again, dead, stale } => {
            format!("ended: {again} again{}{}", some(*dead, "dead"), some(*stale, "stale"))
        }
        Outcome::Moved { messages, unknown } => format!("moved {messages}{}", some(*unknown, "unknown")),
        Outcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

/// What is ready and what is gone, one line each, when there is any.
pub(crate) fn effects(effects: &Effects) -> String {
    let ready = effects.ready.iter().map(|ready| match ready {
        Ready::Fresh { first, messages: 1 } => format!("{first}"),
        Ready::Fresh { first, messages } => format!("{first} to {}", first.get() + messages - 1),
        Ready::Again { message, due, .. } => format!("{message} from {due} on"),
    });
    let gone = effects.gone.iter().map(|gone| match (gone.fate, gone.due) {
        (Fate::Dead, _) => format!("{} dead", gone.message),
        (Fate::Removed, None) => format!("{}", gone.message),
        (Fate::Removed, Some(due)) => format!("{} (due {due})", gone.message),
    });
    let gone = gone.chain(effects.emptied.map(|contents| format!("all {contents:?}").to_lowercase()));
    let line = |mark: char, words: Vec<String>| match words.len() {
        0 => String::new(),
        _ => format!("  {mark} {}\n", words.join(", ")),
    };
    line('+', ready.collect()) + &line('-', gone.collect())
}

pub(crate) fn deliveries(deliveries: &Deliveries) -> String {
    let mut text = String::new();
    for (consumer, batch) in deliveries {
        let words = batch.iter().map(|delivery| {
            let payload = String::from_utf8_lossy(delivery.message.payload());
            match delivery.attempt {
                1 => format!("{} {payload}", delivery.id),
                attempt => format!("{} {payload} (attempt {attempt})", delivery.id),
            }
        });
        text.push_str(&format!("  > to {consumer}: {}\n", words.collect::<Vec<_>>().join(", ")));
    }
    text
}

pub(crate) fn stored(stored: &Stored<'_>) -> String {
    let payload = String::from_utf8_lossy(stored.message.payload());
    let mut text = format!("  {} {payload}, published at {}", stored.id, stored.enqueued);
    match stored.place {
        Place::Fresh => {}
        Place::Failed { due, reason } => {
            text.push_str(&format!(", failed {}, due {due}: {reason}", times(stored.attempts)));
        }
        Place::Dead { since, reason } => {
            text.push_str(&format!(", dead since {since} after {}: {reason}", times(stored.attempts)));
        }
    }
    if !stored.message.content_type().is_empty() {
        text.push_str(&format!(", type {}", stored.message.content_type()));
    }
    for (key, value) in stored.message.headers() {
        text.push_str(&format!(", {key}={value}"));
    }
    text + "\n"
}

fn times(attempts: u32) -> String {
    if attempts == 1 { "once".into() } else { format!("{attempts} times") }
}
