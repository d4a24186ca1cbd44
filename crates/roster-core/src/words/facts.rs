//! What an instance says about itself.

use std::fmt;

use super::texts::Texts;
use super::{Address, InvalidWord, Label, ServiceName};
use crate::limits::{FACTS_BYTES_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_BYTES_MAX, TAGS_MAX, WEIGHT_MAX};

/// What part an instance plays in its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One of many.
    Member,
    /// One of many that, while it is the last registered of its kind, is the main.
    Main,
    /// The only one; a newcomer takes over by hand-over.
    Singleton,
}

/// Tags, sorted, each once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tags(Texts);

impl Tags {
    /// # Errors
    /// [`InvalidWord`] when there are more than 64, or one is empty or no [`Label`].
    pub fn parse<'a>(tags: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidWord> {
        let mut parsed = Vec::new();
        for tag in tags {
            if tag.is_empty() {
                return Err(InvalidWord::new("tag", tag, "it is empty"));
            }
            Label::check("tag", tag)?;
            parsed.push(tag);
        }
        if parsed.len() > TAGS_MAX {
            return Err(InvalidWord::new("tags", &format!("{} of them", parsed.len()), format!("{TAGS_MAX} at most")));
        }
        parsed.sort_unstable();
        parsed.dedup();
        Ok(Self(Texts::of(parsed.iter().copied())))
    }

    /// In order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter()
    }
}

/// Shows the tags, not how they are packed.
impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<_> = self.iter().map(|tag| Label::parse("tag", tag).unwrap_or_default()).collect();
        f.debug_tuple("Tags").field(&tags).finish()
    }
}

/// Metadata, sorted by key, each key once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Metadata(Texts);

impl Metadata {
    /// # Errors
    /// [`InvalidWord`] when there are more than 64 pairs, a key is empty, double or no [`Label`], or a value is above 4 KiB.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, InvalidWord> {
        let mut parsed = Vec::new();
        for (key, value) in pairs {
            if key.is_empty() {
                return Err(InvalidWord::new("metadata key", key, "it is empty"));
            }
            if value.len() > METADATA_VALUE_BYTES_MAX {
                let why = format!("its value has {} bytes; {METADATA_VALUE_BYTES_MAX} at most", value.len());
                return Err(InvalidWord::new("metadata key", key, why));
            }
            Label::check("metadata key", key)?;
            parsed.push((key, value));
        }
        if parsed.len() > METADATA_PAIRS_MAX {
            let why = format!("{METADATA_PAIRS_MAX} pairs at most");
            return Err(InvalidWord::new("metadata", &format!("{} pairs", parsed.len()), why));
        }
        parsed.sort_unstable_by_key(|pair| pair.0);
        if let Some(double) = parsed.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(InvalidWord::new("metadata key", double[0].0, "it stands twice"));
        }
        Ok(Self(Texts::of(parsed.iter().flat_map(|&(key, value)| [key, value]))))
    }

    /// In order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let mut texts = self.0.iter();
        (0..texts.len() / 2).map(move |_| (texts.next().unwrap_or_default(), texts.next().unwrap_or_default()))
    }
}

/// Shows the pairs, not how they are packed.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |key| Label::parse("metadata key", key).unwrap_or_default();
        let pairs: Vec<_> = self.iter().map(|(key, value)| (label(key), value)).collect();
        f.debug_tuple("Metadata").field(&pairs).finish()
    }
}

/// What an instance says about itself. Shared, never changed in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Where it listens.
    pub address: Address,
    /// Its part in the service.
    pub kind: Kind,
    /// A number the caller gives its nodes; part of what makes an instance "the same" after a restart.
    pub node_index: u32,
    /// The version of the service it runs; higher takes over.
    pub version: u64,
    /// Its share of the work relative to others, 0 to 1 000 000; 100 by default.
    pub weight: u32,
    /// Where it runs, for pickers that prefer the near.
    pub zone: Label,
    /// Free marks.
    pub tags: Tags,
    /// Free pairs.
    pub metadata: Metadata,
}

impl Registration {
    /// Checks what no single field can: the weight, and the size of tags and metadata together.
    ///
    /// # Errors
    /// [`InvalidWord`] when the weight is above 1 000 000 or the facts are above 16 KiB.
    pub fn check(self) -> Result<Self, InvalidWord> {
        if self.weight > WEIGHT_MAX {
            return Err(InvalidWord::new("weight", &self.weight.to_string(), format!("{WEIGHT_MAX} at most")));
        }
        let tags: usize = self.tags.iter().map(str::len).sum();
        let metadata: usize = self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if tags + metadata > FACTS_BYTES_MAX {
            let why = format!("tags and metadata together: {FACTS_BYTES_MAX} bytes at most");
            return Err(InvalidWord::new("facts", &format!("{} bytes", tags + metadata), why));
        }
        Ok(self)
    }

    /// Whether a process that registers this is the restart of one that registered `other`:
    /// same service, host, port, kind and node index.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.service == other.service
            && self.address == other.address
            && self.kind == other.kind
            && self.node_index == other.node_index
    }
}
