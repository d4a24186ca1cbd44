//! What is a word and what is not. Parsing is the only way in, so its edges are the edges of everything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use roster_core::limits::*;
use roster_core::{
    Address, Cutover, Grace, Handover, InvalidWord, Kind, Label, Metadata, Position, Registration, Selector,
    ServiceName, Tags,
};

fn why(result: Result<impl std::fmt::Debug, InvalidWord>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_service_name_is_segments_joined_by_slashes() {
    for text in ["a", "orders", "Team-1/orders.v2/_x", "0", ".", "..", "-", &"n".repeat(SERVICE_NAME_BYTES_MAX)] {
        assert_eq!(ServiceName::parse(text).unwrap().as_str(), text);
    }
    for text in ["", "/", "/a", "a/", "a//b", " ", "a b", "ä", "a:b", "a\n", "*", "a\0", &"n".repeat(256)] {
        assert!(ServiceName::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_refused_word_says_what_and_why() {
    let name = |text: &str| why(ServiceName::parse(text));
    assert_eq!(name("a b"), r#"service name "a b" is not valid: ' ' is not one of A-Z a-z 0-9 . _ - /"#);
    assert_eq!(name(""), r#"service name "" is not valid: a segment between slashes is empty"#);
    assert!(name(&"n".repeat(300)).ends_with("…\" is not valid: it has 300 bytes; 255 at most"), "cut to be read");
    assert!(why(Label::parse("zone", "a\tb")).starts_with(r#"zone "a\tb""#), "names the word that was meant");
}

#[test]
fn a_selector_means_one_service_those_below_a_prefix_or_all() {
    let name = |text: &str| ServiceName::parse(text).unwrap();
    let matches = |selector: &str, service: &str| Selector::parse(selector).unwrap().matches(&name(service));
    assert!(matches("", "orders") && matches("", "a/b"));
    assert!(matches("orders", "orders") && !matches("orders", "orders/eu") && !matches("orders", "orders2"));
    assert!(matches("team/", "team/a") && matches("team/", "team/a/b"));
    assert!(!matches("team/", "team") && !matches("team/", "teams/a") && !matches("team/a/", "team/ab"));
    for text in ["", "team/", "team/a/", "orders"] {
        assert_eq!(Selector::parse(text).unwrap().to_string(), text);
    }
    for text in ["/", "//", "a//", "a b/", "*"] {
        assert!(Selector::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_address_is_one_that_can_be_connected_to() {
    let longest = format!("{}.{}", vec!["a".repeat(61); 4].join("."), "a".repeat(5));
    assert_eq!(longest.len(), HOST_BYTES_MAX);
    for host in ["10.0.0.1", "::1", "fe80::1", "localhost", "a.b-c.d_e", "a.", "1", &longest, &"a".repeat(63)] {
        assert_eq!(Address::parse(host, 80).unwrap().host(), host);
    }
    for host in ["", ".", "a..b", "-a", "a-", "a b", "a/b", "0.0.0.0", "::", "[::1]", "ä", &"a".repeat(64)] {
        assert!(Address::parse(host, 80).is_err(), "{host:?}");
    }
    assert!(why(Address::parse(&format!("{longest}a"), 80)).contains("254 bytes; 253 at most"));
    for port in [0, 65_536, u32::MAX] {
        assert!(Address::parse("a", port).is_err(), "{port}");
    }
    assert_eq!(Address::parse("a", 65_535).unwrap().port(), 65_535);
}

#[test]
fn an_address_reads_as_it_is_written_in_a_url() {
    assert_eq!(Address::parse("10.0.0.1", 80).unwrap().to_string(), "10.0.0.1:80");
    assert_eq!(Address::parse("::1", 80).unwrap().to_string(), "[::1]:80");
}

#[test]
fn a_label_is_short_and_printable() {
    for text in ["", "eu west", "ü", &"x".repeat(LABEL_BYTES_MAX)] {
        assert_eq!(Label::parse("zone", text).unwrap().as_str(), text);
    }
    for text in ["\n", "\u{7f}", "\u{85}", &"x".repeat(129), &"ü".repeat(65)] {
        assert!(Label::parse("zone", text).is_err(), "{text:?}");
    }
}

#[test]
fn tags_are_sorted_and_each_stands_once() {
    let tags = Tags::parse(["b", "a", "b"]).unwrap();
    assert_eq!(tags.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(tags, Tags::parse(["a", "b"]).unwrap());
    assert!(Tags::parse([""]).is_err());
    let many: Vec<_> = (0..=TAGS_MAX).map(|tag| tag.to_string()).collect();
    assert!(Tags::parse(many[1..].iter().map(String::as_str)).is_ok());
    assert!(why(Tags::parse(many.iter().map(String::as_str))).contains("64 at most"));
}

#[test]
fn metadata_is_sorted_and_each_key_stands_once() {
    let metadata = Metadata::parse([("b", "1"), ("a", "")]).unwrap();
    assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", ""), ("b", "1")]);
    assert!(why(Metadata::parse([("a", "1"), ("a", "1")])).contains("it stands twice"));
    assert!(Metadata::parse([("", "1")]).is_err());
    let value = "x".repeat(METADATA_VALUE_BYTES_MAX + 1);
    assert!(Metadata::parse([("a", &value[1..])]).is_ok());
    assert!(Metadata::parse([("a", value.as_str())]).is_err());
    let many: Vec<_> = (0..=METADATA_PAIRS_MAX).map(|key| key.to_string()).collect();
    assert!(Metadata::parse(many[1..].iter().map(|key| (key.as_str(), ""))).is_ok());
    assert!(Metadata::parse(many.iter().map(|key| (key.as_str(), ""))).is_err());
}

fn registration(weight: u32, metadata: Metadata) -> Registration {
    Registration {
        service: ServiceName::parse("orders").unwrap(),
        address: Address::parse("10.0.0.1", 80).unwrap(),
        kind: Kind::Member,
        node_index: 0,
        version: 0,
        weight,
        zone: Label::default(),
        tags: Tags::default(),
        metadata,
    }
}

#[test]
fn facts_have_a_weight_and_a_size() {
    assert!(registration(WEIGHT_MAX, Metadata::default()).check().is_ok());
    assert!(why(registration(WEIGHT_MAX + 1, Metadata::default()).check()).contains("1000000 at most"));
    let value = "x".repeat(METADATA_VALUE_BYTES_MAX);
    let filled = |keys: [&str; 4], last: usize| {
        let pairs = keys.iter().enumerate().map(|(i, key)| (*key, &value[..if i == 3 { last } else { value.len() }]));
        registration(0, Metadata::parse(pairs).unwrap()).check()
    };
    assert!(filled(["a", "b", "c", "d"], METADATA_VALUE_BYTES_MAX - 4).is_ok());
    assert!(why(filled(["a", "b", "c", "d"], METADATA_VALUE_BYTES_MAX - 3)).contains("16384 bytes at most"));
}

#[test]
fn the_same_place_is_all_but_version_and_facts() {
    let one = registration(1, Metadata::default());
    let same = Registration { version: 9, weight: 2, ..one.clone() };
    assert!(one.is_same_place(&same));
    let others = [
        Registration { service: ServiceName::parse("mail").unwrap(), ..one.clone() },
        Registration { address: Address::parse("10.0.0.1", 81).unwrap(), ..one.clone() },
        Registration { kind: Kind::Main, ..one.clone() },
        Registration { node_index: 1, ..one.clone() },
    ];
    assert!(others.iter().all(|other| !one.is_same_place(other)));
}

#[test]
fn times_and_policies_have_their_bounds() {
    assert_eq!(Grace::default().millis(), GRACE_MILLIS_DEFAULT);
    assert!(Grace::from_millis(GRACE_MILLIS_MAX).is_ok() && Grace::from_millis(GRACE_MILLIS_MAX + 1).is_err());
    assert!(Handover::from_millis(HANDOVER_MILLIS_MAX).is_ok());
    assert!(Handover::from_millis(HANDOVER_MILLIS_MAX + 1).is_err());
    assert!(Cutover::after(0).is_err());
    assert_eq!(Cutover::default(), Cutover::after(1).unwrap());
}

#[test]
fn positions_follow_each_other() {
    assert_eq!(Position::new(4).next(), Position::new(5));
    assert_eq!(Position::new(4).plus(3).to_string(), "7");
}

#[test]
fn a_registration_is_small() {
    // With its count and what the tables add it makes about 400 bytes an instance.
    assert!(size_of::<Registration>() <= 144, "{} bytes", size_of::<Registration>());
    assert_eq!(size_of::<Arc<Registration>>(), 8);
}
