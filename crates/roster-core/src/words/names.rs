//! Names: services, selectors of services, and short labels.

use std::fmt;

use smol_str::SmolStr;

use crate::limits::{LABEL_BYTES_MAX, SERVICE_NAME_BYTES_MAX};

/// Why a text is not the word it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct InvalidWord {
    /// Which word: `"service name"`, `"host"`, `"tag"` …
    pub what: &'static str,
    /// The text, cut to a readable length.
    pub text: String,
    /// The rule that it breaks.
    pub why: String,
}

impl InvalidWord {
    pub(crate) fn new(what: &'static str, text: &str, why: impl Into<String>) -> Self {
        const SHOWN_CHARS: usize = 64;
        let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { what, text: shown, why: why.into() }
    }
}

/// The name of a service: segments of `A–Z a–z 0–9 . _ -` joined by `/`, 255 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(SmolStr);

impl ServiceName {
    /// # Errors
    /// [`InvalidWord`] when empty, too long, or with a segment that is empty or has another character.
    pub fn parse(text: &str) -> Result<Self, InvalidWord> {
        check_segments("service name", text, text)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Which services: one, those below a prefix, or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Every service.
    All,
    /// Every service whose name begins with this text, which ends in `/`.
    Prefix(SmolStr),
    /// One service.
    Service(ServiceName),
}

impl Selector {
    /// `""` is everything, a text that ends in `/` a prefix, any other a service name.
    ///
    /// # Errors
    /// [`InvalidWord`] when the name or the prefix breaks the rules of a [`ServiceName`].
    pub fn parse(text: &str) -> Result<Self, InvalidWord> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        match text.strip_suffix('/') {
            Some(segments) => {
                check_segments("prefix", segments, text)?;
                Ok(Self::Prefix(SmolStr::new(text)))
            }
            None => ServiceName::parse(text).map(Self::Service),
        }
    }

    /// Whether this service is meant.
    #[must_use]
    pub fn matches(&self, name: &ServiceName) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => name.as_str().starts_with(prefix.as_str()),
            Self::Service(service) => service == name,
        }
    }

    /// The text that parses to this selector.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "",
            Self::Prefix(prefix) => prefix,
            Self::Service(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn check_segments(what: &'static str, segments: &str, text: &str) -> Result<(), InvalidWord> {
    if text.len() > SERVICE_NAME_BYTES_MAX {
        return Err(InvalidWord::new(
            what,
            text,
            format!("it has {} bytes; {SERVICE_NAME_BYTES_MAX} at most", text.len()),
        ));
    }
    if segments.split('/').any(str::is_empty) {
        return Err(InvalidWord::new(what, text, "a segment between slashes is empty"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    match segments.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(InvalidWord::new(what, text, format!("{c:?} is not one of A-Z a-z 0-9 . _ - /"))),
        None => Ok(()),
    }
}

/// A short text of at most 128 bytes without control characters: a zone, a tag, a metadata key, a client's label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Label(SmolStr);

impl Label {
    /// # Errors
    /// [`InvalidWord`] (naming `what`) when too long or with a control character. Empty is valid.
    pub fn parse(what: &'static str, text: &str) -> Result<Self, InvalidWord> {
        Self::check(what, text)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// Whether a text would be a label.
    pub(super) fn check(what: &'static str, text: &str) -> Result<(), InvalidWord> {
        if text.len() > LABEL_BYTES_MAX {
            return Err(InvalidWord::new(
                what,
                text,
                format!("it has {} bytes; {LABEL_BYTES_MAX} at most", text.len()),
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidWord::new(what, text, "it has a control character"));
        }
        Ok(())
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
