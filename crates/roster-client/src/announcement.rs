//! What a process wants to be known as.

use std::sync::Arc;
use std::time::Duration;

use roster_core::{
    Address, Cutover, Handover, InvalidWord, Kind, Label, Metadata, Registration, ServiceName, Tags, limits,
};
use roster_proto::convert::{encode_cutover, encode_registration};
use roster_proto::v1;

/// A registration with the policies that it brings.
///
/// What a setter cannot take is kept, and comes back from [`check`](Self::check), or as a refusal of
/// the registration: the chain needs no `?` after its first link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    registration: Registration,
    handover: Handover,
    cutover: Option<Cutover>,
    wrong: Option<InvalidWord>,
}

impl Announcement {
    /// A member of `service` that can be reached at `host` and `port`, of version 0 and weight 100.
    ///
    /// # Errors
    /// [`InvalidWord`] when the name or the address is not valid.
    pub fn new(service: &str, host: &str, port: u16) -> Result<Self, InvalidWord> {
        Ok(Self::from(Registration {
            service: ServiceName::parse(service)?,
            address: Address::parse(host, port.into())?,
            kind: Kind::Member,
            node_index: 0,
            version: 0,
            weight: limits::WEIGHT_DEFAULT,
            zone: Label::default(),
            tags: Tags::default(),
            metadata: Metadata::default(),
        }))
    }

    /// Its part in the service; a member by default.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.registration.kind = kind;
        self
    }

    /// A number for this node, if it has one: part of what makes it the same after a restart.
    #[must_use]
    pub fn node_index(mut self, node_index: u32) -> Self {
        self.registration.node_index = node_index;
        self
    }

    /// The version it runs; a higher one takes over.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.registration.version = version;
        self
    }

    /// Its share of the work relative to others, up to 1 000 000; 100 by default.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.registration.weight = weight;
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn zone(self, zone: &str) -> Self {
        let zone = Label::parse("zone", zone);
        self.take(zone, |registration, zone| registration.zone = zone)
    }

    /// One more tag.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        let tags = Tags::parse(self.registration.tags.iter().chain([tag]));
        self.take(tags, |registration, tags| registration.tags = tags)
    }

    /// One more pair.
    #[must_use]
    pub fn metadata(self, key: &str, value: &str) -> Self {
        let metadata = Metadata::parse(self.registration.metadata.iter().chain([(key, value)]));
        self.take(metadata, |registration, metadata| registration.metadata = metadata)
    }

    /// How long a singleton waits for the present holder to leave, up to an hour; by default it
    /// replaces the holder at once.
    #[must_use]
    pub fn handover(mut self, wait: Duration) -> Self {
        match Handover::from_millis(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)) {
            Ok(handover) => self.handover = handover,
            Err(wrong) => self.keep(wrong),
        }
        self
    }

    /// When this version takes over the service; by default what the service has is left as it is.
    #[must_use]
    pub fn cutover(mut self, cutover: Cutover) -> Self {
        self.cutover = Some(cutover);
        self
    }

    /// What would be registered.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The announcement, if every setter could take what it was given and the whole is within limits.
    ///
    /// # Errors
    /// The first [`InvalidWord`].
    pub fn check(&self) -> Result<&Self, InvalidWord> {
        match &self.wrong {
            Some(wrong) => Err(wrong.clone()),
            None => self.registration.clone().check().map(|_| self),
        }
    }

    pub(crate) fn encode(&self) -> v1::Register {
        v1::Register {
            registration: Some(encode_registration(&self.registration)),
            handover_ms: self.handover.millis(),
            cutover: self.cutover.map(encode_cutover),
        }
    }

    fn take<T>(mut self, word: Result<T, InvalidWord>, set: impl FnOnce(&mut Registration, T)) -> Self {
        match word {
            Ok(word) => set(&mut self.registration, word),
            Err(wrong) => self.keep(wrong),
        }
        self
    }

    fn keep(&mut self, wrong: InvalidWord) {
        self.wrong.get_or_insert(wrong);
    }
}

impl From<Registration> for Announcement {
    fn from(registration: Registration) -> Self {
        Self { registration, handover: Handover::default(), cutover: None, wrong: None }
    }
}

impl From<Arc<Registration>> for Announcement {
    fn from(registration: Arc<Registration>) -> Self {
        Self::from(Arc::unwrap_or_clone(registration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_word_is_kept() {
        let announcement = Announcement::new("orders", "10.0.0.7", 8080).unwrap().tag("").zone("a\nb").version(2);
        assert_eq!(announcement.check().unwrap_err().what, "tag");
    }

    #[test]
    fn limits_of_the_whole_are_checked() {
        let announcement = Announcement::new("orders", "10.0.0.7", 8080).unwrap().weight(1_000_001);
        assert_eq!(announcement.check().unwrap_err().what, "weight");
    }

    #[test]
    fn tags_and_pairs_add_up() {
        let announcement = Announcement::new("orders", "10.0.0.7", 8080)
            .unwrap()
            .tag("b")
            .tag("a")
            .metadata("k", "v")
            .metadata("j", "w");
        let registration = announcement.check().unwrap().registration();
        assert_eq!(registration.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(registration.metadata.iter().collect::<Vec<_>>(), [("j", "w"), ("k", "v")]);
    }
}
