//! A message, and what is said of one that failed.

use bytes::Bytes;
use smol_str::SmolStr;

use crate::limits::{DELAY_MILLIS_MAX, REASON_BYTES_MAX};
use crate::words::{InvalidWord, Label, Metadata};

/// What a producer sends: a payload and, seldom, what kind of payload it is and headers. Cheap to clone.
///
/// Millions of them wait at a time, so what few of them have is boxed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Extra {
    content_type: Label,
    headers: Metadata,
}

impl Message {
    /// A payload and nothing else; it may be empty.
    #[must_use]
    pub fn plain(payload: Bytes) -> Self {
        Self { payload, extra: None }
    }

    /// With a content type (empty when there is none) and headers.
    #[must_use]
    pub fn described(payload: Bytes, content_type: Label, headers: Metadata) -> Self {
        if content_type.is_empty() && headers.iter().len() == 0 {
            return Self::plain(payload);
        }
        Self { payload, extra: Some(Box::new(Extra { content_type, headers })) }
    }

    /// What it carries.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What kind of payload it is; empty when nobody said.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.extra.as_ref().map_or("", |extra| extra.content_type.as_str())
    }

    /// In order of keys.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.extra.iter().flat_map(|extra| extra.headers.iter())
    }

    /// What counts towards the limits of its queue: payload, content type and headers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let extra = self.extra.as_ref().map_or(0, |extra| {
            let headers: usize = extra.headers.iter().map(|(key, value)| key.len() + value.len()).sum();
            extra.content_type.as_str().len() + headers
        });
        (self.payload.len() + extra) as u64
    }

    /// The same with a payload of its own. One that stays for long must not keep the buffer alive in
    /// which it came with a thousand others.
    pub(super) fn detached(self) -> Self {
        Self { payload: Bytes::copy_from_slice(&self.payload), extra: self.extra }
    }
}

/// Why a delivery failed, in the words of who failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reason(SmolStr);

impl Reason {
    /// Cut to 512 bytes: a reason that is too long is no reason to refuse a verdict.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let cut = (0..=text.len().min(REASON_BYTES_MAX)).rev().find(|&at| text.is_char_boundary(at));
        Self(SmolStr::new(&text[..cut.unwrap_or(0)]))
    }

    /// The reason as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long a failed message waits: 0 to 7 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay(u32);

impl Delay {
    /// # Errors
    /// [`InvalidWord`] above 7 days.
    pub fn from_millis(millis: u32) -> Result<Self, InvalidWord> {
        if millis > DELAY_MILLIS_MAX {
            return Err(InvalidWord::new("delay", &format!("{millis} ms"), format!("{DELAY_MILLIS_MAX} ms at most")));
        }
        Ok(Self(millis))
    }

    /// As many milliseconds, or 7 days when that is more.
    pub(super) fn at_most(millis: u64) -> Self {
        Self(u32::try_from(millis).unwrap_or(u32::MAX).min(DELAY_MILLIS_MAX))
    }

    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.0
    }
}
