//! What was read of a service, kept encoded for whoever asks next.
//!
//! Of what nodes are asked most is again and again the same, and asking the director costs two threads being woken
//! and each instance being encoded (docs/performance.md). See docs/adr/0008-kept-readings.md.
//!
//! # Always true
//! * **KR2, as if it was read**: a kept reading is what the director would answer at the position that is given with
//!   it, and that position is not before anything that was told when it was asked for (KR1).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use roster_core::{InstanceId, Position, ServiceName};

use crate::stamps::{Stamp, Stamps};

/// What all that is kept may weigh.
const KEPT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What a reading weighs beside its content and its name.
const KEPT_BYTES_EACH: usize = 160;
/// What one of 20 instances weighs, about.
const KEPT_BYTES_USUAL: usize = 2 * 1024;

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// The page of its instances beyond this one.
    Instances(InstanceId),
    Main,
}

/// What was read of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Everything of the answer but its position.
    pub(crate) content: Bytes,
    pub(crate) instances: usize,
    /// There are more behind them.
    pub(crate) more: bool,
    /// The revision of the directory when it was read.
    pub(crate) position: Position,
    /// That of its service at the same moment.
    pub(crate) stamp: Stamp,
}

impl Reading {
    /// Whether it is what a page of so many instances would be.
    pub(crate) fn is_page_of(&self, size: usize) -> bool {
        if self.more { self.instances == size } else { self.instances <= size }
    }
}

pub(crate) struct Readings {
    stamps: Arc<Stamps>,
    kept: Cache<(Asked, ServiceName), Reading, Weight>,
}

impl Readings {
    pub(crate) fn new(stamps: Arc<Stamps>) -> Self {
        Self::of_weight(stamps, KEPT_BYTES_MAX)
    }

    fn of_weight(stamps: Arc<Stamps>, bytes_max: u64) -> Self {
        let usual = bytes_max as usize / (KEPT_BYTES_USUAL + KEPT_BYTES_EACH);
        Self { stamps, kept: Cache::with_weighter(usual, bytes_max, Weight) }
    }

    /// To be asked of the director, together with what is read.
    pub(crate) fn stamps(&self) -> Arc<Stamps> {
        self.stamps.clone()
    }

    /// What was read of this service, if it still is so; its position is that up to which it surely was.
    pub(crate) fn get(&self, asked: Asked, service: &ServiceName) -> Option<Reading> {
        // Before the stamp: whatever was applied up to here has moved the stamp that is looked at next.
        let revision = self.stamps.revision();
        let stamp = self.stamps.of(service);
        let mut reading = self.kept.get(&(asked, service.clone()))?;
        if reading.stamp != stamp {
            return None;
        }
        reading.position = reading.position.max(revision);
        Some(reading)
    }

    pub(crate) fn keep(&self, asked: Asked, service: ServiceName, reading: Reading) {
        self.kept.insert((asked, service), reading);
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Weight;

impl Weighter<(Asked, ServiceName), Reading> for Weight {
    fn weight(&self, (_, service): &(Asked, ServiceName), reading: &Reading) -> u64 {
        (KEPT_BYTES_EACH + service.as_str().len() + reading.content.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use roster_core::directory::{Effects, Event};

    use super::*;

    const FIRST: Asked = Asked::Instances(InstanceId::new(0));

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    fn reading(stamps: &Stamps, service: &ServiceName, bytes: usize) -> Reading {
        let (position, stamp) = (stamps.revision(), stamps.of(service));
        Reading { content: vec![7; bytes].into(), instances: 1, more: false, position, stamp }
    }

    fn changed(service: &ServiceName) -> Effects {
        Effects { events: vec![Event::MainChanged { service: service.clone(), main: None }], ..Effects::default() }
    }

    #[test]
    fn what_was_read_answers_until_its_service_changes_and_says_up_to_when_it_was_so() {
        let stamps = Arc::new(Stamps::new(Position::new(5)));
        let readings = Readings::new(stamps.clone());
        let (own, other) = (name("own"), name("other"));
        assert_eq!(readings.get(FIRST, &own), None);
        readings.keep(FIRST, own.clone(), reading(&stamps, &own, 100));
        let position = |asked| readings.get(asked, &own).map(|reading| reading.position.get());
        assert_eq!((position(FIRST), position(Asked::Main)), (Some(5), None));
        stamps.applied(Position::new(6), &changed(&other));
        assert_eq!(position(FIRST), Some(6), "KR2");
        stamps.applied(Position::new(7), &changed(&own));
        assert_eq!(position(FIRST), None, "KR2");
    }

    #[test]
    fn a_reading_from_before_a_change_is_no_answer_however_late_it_is_kept() {
        let stamps = Arc::new(Stamps::new(Position::new(5)));
        let readings = Readings::new(stamps.clone());
        let own = name("own");
        let before = reading(&stamps, &own, 100);
        stamps.applied(Position::new(6), &changed(&own));
        let after = reading(&stamps, &own, 200);
        readings.keep(FIRST, own.clone(), after.clone());
        readings.keep(FIRST, own.clone(), before);
        assert_eq!(readings.get(FIRST, &own), None, "KR2");
        readings.keep(FIRST, own.clone(), after.clone());
        assert_eq!(readings.get(FIRST, &own), Some(after));
    }

    #[test]
    fn a_page_is_an_answer_for_its_own_size_and_the_last_one_for_larger_ones() {
        let stamps = Stamps::new(Position::new(5));
        let last = Reading { instances: 10, ..reading(&stamps, &name("own"), 100) };
        let page = Reading { more: true, ..last.clone() };
        assert_eq!([9, 10, 11].map(|size| last.is_page_of(size)), [false, true, true]);
        assert_eq!([9, 10, 11].map(|size| page.is_page_of(size)), [false, true, false]);
    }

    #[test]
    fn every_page_of_a_service_goes_with_its_next_change() {
        let stamps = Arc::new(Stamps::new(Position::new(5)));
        let readings = Readings::new(stamps.clone());
        let own = name("own");
        let pages = [0, 1_000, 2_000].map(|after| Asked::Instances(InstanceId::new(after)));
        for page in pages {
            readings.keep(page, own.clone(), reading(&stamps, &own, 100));
        }
        assert!(pages.iter().all(|page| readings.get(*page, &own).is_some()));
        stamps.applied(Position::new(6), &changed(&own));
        assert!(pages.iter().all(|page| readings.get(*page, &own).is_none()), "KR2");
    }

    #[test]
    fn the_pages_of_one_long_service_never_weigh_more_than_all_may() {
        let stamps = Arc::new(Stamps::new(Position::new(5)));
        let readings = Readings::of_weight(stamps.clone(), 1024 * 1024);
        let own = name("own");
        for page in 0..100 {
            readings.keep(Asked::Instances(InstanceId::new(page)), own.clone(), reading(&stamps, &own, 50_000));
            assert!(readings.kept.weight() <= 1024 * 1024);
        }
    }

    #[test]
    fn what_is_kept_never_weighs_more_than_it_may() {
        let stamps = Arc::new(Stamps::new(Position::new(5)));
        let readings = Readings::of_weight(stamps.clone(), 1024 * 1024);
        for service in 0..5_000 {
            let service = name(&format!("service-{service}"));
            readings.keep(FIRST, service.clone(), reading(&stamps, &service, 2_000));
            assert!(readings.kept.weight() <= 1024 * 1024);
        }
        assert!(readings.kept.weight() > 512 * 1024, "{readings:?} is all that is left");
        let large = name("large");
        readings.keep(FIRST, large.clone(), reading(&stamps, &large, 2 * 1024 * 1024));
        assert!(readings.kept.weight() <= 1024 * 1024);
    }
}
