//! Messages that a queue keeps, looked at and left where they are.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use roster_client::queue::{KeptMessage, Message};
use serde::Serialize;

use super::age;
use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;
use super::status::size;

/// Of a payload in a table, so many characters.
const PREVIEW_CHARS_MAX: usize = 60;

/// A payload as JSON has it: a text when it is one, else base64.
#[derive(Debug, Default, Serialize)]
pub(super) struct PayloadShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl PayloadShown {
    pub(super) fn new(message: &Message) -> Self {
        match std::str::from_utf8(message.payload()) {
            Ok(text) => Self { payload: Some(text.to_owned()), payload_base64: None },
            Err(_) => Self { payload: None, payload_base64: Some(STANDARD.encode(message.payload())) },
        }
    }
}

/// Headers as JSON has them.
pub(super) fn headers(message: &Message) -> BTreeMap<String, String> {
    message.headers().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// One message with all that is known of it.
#[derive(Debug, Serialize)]
pub(crate) struct OneMessage {
    id: u64,
    enqueued: String,
    attempts: u32,
    bytes: u64,
    reason: Option<String>,
    /// When it is delivered again, or since when it is dead.
    when: Option<String>,
    in_flight: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    content_type: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(flatten)]
    payload: PayloadShown,
    #[serde(skip)]
    enqueued_unix_millis: u64,
    #[serde(skip)]
    when_unix_millis: Option<u64>,
    /// The payload with what would change a terminal escaped.
    #[serde(skip)]
    printable: String,
}

impl OneMessage {
    pub(crate) fn new(kept: &KeptMessage) -> Self {
        let message = kept.message.as_ref();
        Self {
            id: kept.id.get(),
            enqueued: age::stamp(kept.enqueued_unix_millis),
            attempts: kept.attempts,
            bytes: kept.bytes,
            reason: kept.reason.clone(),
            when: kept.when_unix_millis.map(age::stamp),
            in_flight: kept.in_flight,
            content_type: message.map(|message| message.content_type().to_owned()).unwrap_or_default(),
            headers: message.map(headers).unwrap_or_default(),
            payload: message.map(PayloadShown::new).unwrap_or_default(),
            enqueued_unix_millis: kept.enqueued_unix_millis,
            when_unix_millis: kept.when_unix_millis,
            printable: message.map(|message| printable(message.payload())).unwrap_or_default(),
        }
    }

    fn reason(&self) -> String {
        printable(self.reason.as_deref().unwrap_or_default().as_bytes())
    }
}

/// As text on one line: control characters and bytes that are no text are escaped.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character.is_control() {
                true => text.extend(character.escape_default()),
                false => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().flat_map(|byte| byte.escape_ascii()).map(char::from));
    }
    text
}

fn preview(text: &str) -> String {
    match text.char_indices().nth(PREVIEW_CHARS_MAX) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text.to_owned(),
    }
}

/// How long until then: `in 4s`, or `due`.
fn until(unix_millis: u64, now: Timestamp) -> String {
    let now = u64::try_from(now.as_millisecond()).unwrap_or(0);
    match unix_millis.saturating_sub(now).div_ceil(1000) {
        0 => "due".to_owned(),
        seconds => format!("in {}", age::span(seconds)),
    }
}

impl Shown for OneMessage {
    fn table(&self, _paint: Paint) -> String {
        let mut facts = vec![
            ("id", self.id.to_string()),
            ("published", self.enqueued.clone()),
            ("attempts", self.attempts.to_string()),
            ("size", size(self.bytes)),
        ];
        let more = [
            ("reason", self.reason.as_ref().map(|_| self.reason())),
            ("since", self.when.clone()),
            ("content type", Some(self.content_type.clone()).filter(|kind| !kind.is_empty())),
        ];
        facts.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let mut lines: String = facts.into_iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect();
        for (key, value) in &self.headers {
            lines.push_str(&format!("{:<14}{key}: {}\n", "header", printable(value.as_bytes())));
        }
        // The lines of a text stay lines; what else would move the cursor does not.
        let payload = match &self.payload.payload {
            Some(text) => text.lines().map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n"),
            None => self.printable.clone(),
        };
        format!("{lines}\n{payload}\n")
    }

    fn text(&self) -> String {
        let state = if self.in_flight { "in flight" } else { "" };
        let Self { id, enqueued, attempts, bytes, content_type, printable, .. } = self;
        let (when, reason) = (self.when.as_deref().unwrap_or_default(), self.reason());
        format!("{id}\t{enqueued}\t{attempts}\t{bytes}\t{state}\t{when}\t{reason}\t{content_type}\t{printable}\n")
    }
}

/// A few messages of a queue.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct KeptMessages {
    messages: Vec<OneMessage>,
    #[serde(skip)]
    more: bool,
}

impl KeptMessages {
    /// `more`: whether others follow.
    pub(crate) fn new(messages: &[KeptMessage], more: bool) -> Self {
        Self { messages: messages.iter().map(OneMessage::new).collect(), more }
    }
}

impl Shown for KeptMessages {
    fn table(&self, paint: Paint) -> String {
        if self.messages.is_empty() {
            return "no messages\n".to_owned();
        }
        let columns = [
            ("id", Side::Right),
            ("age", Side::Right),
            ("attempts", Side::Right),
            ("size", Side::Right),
            ("next", Side::Left),
            ("reason", Side::Left),
            ("payload", Side::Left),
        ];
        let mut grid = Grid::new(paint, &columns);
        let now = Timestamp::now();
        for message in &self.messages {
            let next = match (message.in_flight, message.when_unix_millis) {
                (true, _) => ("in flight".to_owned(), Tone::Good),
                (false, Some(when)) => (until(when, now), Tone::Careful),
                (false, None) => ("waiting".to_owned(), Tone::Ordinary),
            };
            grid.row([
                (message.id.to_string(), Tone::Ordinary),
                (age::since(message.enqueued_unix_millis, now), Tone::Ordinary),
                (message.attempts.to_string(), if message.attempts == 0 { Tone::Faint } else { Tone::Careful }),
                (size(message.bytes), Tone::Ordinary),
                next,
                (preview(&message.reason()), Tone::Ordinary),
                (preview(&message.printable), Tone::Ordinary),
            ]);
        }
        grid.lines() + &following(&self.messages, self.more)
    }

    fn text(&self) -> String {
        self.messages.iter().map(Shown::text).collect()
    }
}

/// Dead letters, without their payloads.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct DeadList {
    messages: Vec<OneMessage>,
    #[serde(skip)]
    more: bool,
}

impl DeadList {
    /// `more`: whether others follow.
    pub(crate) fn new(messages: &[KeptMessage], more: bool) -> Self {
        Self { messages: messages.iter().map(OneMessage::new).collect(), more }
    }
}

impl Shown for DeadList {
    fn table(&self, paint: Paint) -> String {
        if self.messages.is_empty() {
            return "no dead letters\n".to_owned();
        }
        let columns = [
            ("id", Side::Right),
            ("age", Side::Right),
            ("dead for", Side::Right),
            ("attempts", Side::Right),
            ("size", Side::Right),
            ("reason", Side::Left),
        ];
        let mut grid = Grid::new(paint, &columns);
        let now = Timestamp::now();
        for message in &self.messages {
            let dead_for = message.when_unix_millis.map(|since| age::since(since, now)).unwrap_or_default();
            grid.row([
                (message.id.to_string(), Tone::Ordinary),
                (age::since(message.enqueued_unix_millis, now), Tone::Ordinary),
                (dead_for, Tone::Ordinary),
                (message.attempts.to_string(), Tone::Ordinary),
                (size(message.bytes), Tone::Ordinary),
                (message.reason(), Tone::Bad),
            ]);
        }
        grid.lines() + &following(&self.messages, self.more)
    }

    fn text(&self) -> String {
        let line = |message: &OneMessage| {
            let OneMessage { id, enqueued, attempts, bytes, .. } = message;
            let when = message.when.as_deref().unwrap_or_default();
            format!("{id}\t{enqueued}\t{when}\t{attempts}\t{bytes}\t{}\n", message.reason())
        };
        self.messages.iter().map(line).collect()
    }
}

fn following(messages: &[OneMessage], more: bool) -> String {
    match messages.last() {
        Some(last) if more => format!("more follow; --after {} shows them\n", last.id),
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use roster_client::queue::MessageId;

    use super::*;

    fn kept(payload: &'static [u8]) -> KeptMessage {
        KeptMessage {
            id: MessageId::new(7),
            enqueued_unix_millis: 1_767_225_600_125,
            attempts: 2,
            bytes: payload.len() as u64,
            reason: Some("exit code 3: no\tpaper".to_owned()),
            when_unix_millis: Some(1_767_225_601_125),
            in_flight: false,
            message: Some(Message::plain(payload.into())),
        }
    }

    #[test]
    fn a_payload_cannot_move_the_cursor_or_break_a_line() {
        let text = KeptMessages::new(&[kept(b"a\tb\n\x1b[2J\xff")], false).text();
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with("\texit code 3: no\\tpaper\t\ta\\tb\\n\\u{1b}[2J\\xff\n"), "{text}");
    }

    #[test]
    fn json_has_bytes_that_are_no_text_as_base64() {
        let json = |payload| serde_json::to_value(KeptMessages::new(&[kept(payload)], false)).unwrap();
        assert_eq!(json("gr\u{fc}n".as_bytes())[0]["payload"], "gr\u{fc}n");
        assert_eq!(json(b"\xff\x00")[0]["payload_base64"], "/wA=");
        assert!(json(b"\xff")[0].get("payload").is_none());
    }

    #[test]
    fn a_long_payload_is_cut_in_a_table_and_what_follows_is_named() {
        let long: &'static [u8] = Box::leak(vec![b'x'; 100].into_boxed_slice());
        let table = KeptMessages::new(&[kept(long)], true).table(Paint::Plain);
        assert!(table.contains(&format!("{}\u{2026}\n", "x".repeat(PREVIEW_CHARS_MAX))), "{table}");
        assert!(table.ends_with("more follow; --after 7 shows them\n"), "{table}");
    }
}
