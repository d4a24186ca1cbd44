//! The words of queues: what is valid, what is cut, and how long a failed message waits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use roster_core::limits::{DELAY_MILLIS_MAX, REASON_BYTES_MAX, WINDOW_MESSAGES_MAX};
use roster_core::queue::{Delay, Message, ProducerId, QueueName, Reason, Settings, Window};
use roster_core::{Label, Metadata};

#[test]
fn a_queue_name_has_the_rules_of_a_service_name() {
    assert_eq!(QueueName::parse("team/mail").unwrap().as_str(), "team/mail");
    let error = QueueName::parse("team//mail").unwrap_err().to_string();
    assert_eq!(error, "queue name \"team//mail\" is not valid: a segment between slashes is empty");
    assert!(QueueName::parse("").is_err() && QueueName::parse(&"a".repeat(256)).is_err());
}

#[test]
fn a_producer_has_an_id_of_128_bytes_at_most() {
    assert!(ProducerId::parse("").is_err() && ProducerId::parse("a\nb").is_err());
    assert!(ProducerId::parse(&"p".repeat(129)).is_err());
    assert_eq!(ProducerId::parse(&"p".repeat(128)).unwrap().as_str().len(), 128);
}

#[test]
fn a_reason_is_cut_between_characters() {
    assert_eq!(Reason::new("no").as_str(), "no");
    let long = format!("{}üü", "x".repeat(REASON_BYTES_MAX - 1));
    assert_eq!(Reason::new(&long).as_str(), "x".repeat(REASON_BYTES_MAX - 1));
    assert_eq!(Reason::new(&"x".repeat(REASON_BYTES_MAX + 1)).as_str().len(), REASON_BYTES_MAX);
}

#[test]
fn delays_and_windows_have_an_end() {
    assert_eq!(Delay::from_millis(DELAY_MILLIS_MAX).unwrap().millis(), DELAY_MILLIS_MAX);
    assert!(Delay::from_millis(DELAY_MILLIS_MAX + 1).is_err());
    assert_eq!(Window::of_messages(WINDOW_MESSAGES_MAX).unwrap().messages(), WINDOW_MESSAGES_MAX);
    assert!(Window::of_messages(WINDOW_MESSAGES_MAX + 1).is_err());
    assert_eq!(Window::default().messages(), 256);
}

#[test]
fn the_back_off_doubles_to_its_end_and_chance_picks_in_its_second_half() {
    let settings = Settings::default();
    let range = |attempt| (settings.back_off(attempt, 0).millis(), settings.back_off(attempt, u32::MAX).millis());
    assert_eq!([range(1), range(2), range(3)], [(50, 99), (100, 199), (200, 399)]);
    assert_eq!([range(9), range(10), range(16)], [(12_800, 25_599), (15_000, 29_999), (15_000, 29_999)]);
    assert_eq!((range(0), range(u32::MAX)), (range(1), range(16)));
    assert_eq!(settings.back_off(2, 1 << 31).millis(), 150);
    let none = Settings { back_off_first_millis: 0, ..settings };
    assert_eq!(none.back_off(7, u32::MAX).millis(), 0);
    let longest =
        Settings { back_off_first_millis: DELAY_MILLIS_MAX, back_off_last_millis: DELAY_MILLIS_MAX, ..settings };
    assert!(longest.check().is_ok());
    assert_eq!(longest.back_off(40, u32::MAX).millis(), DELAY_MILLIS_MAX - 1);
}

#[test]
fn what_a_message_has_counts() {
    let headers = Metadata::parse([("trace", "77")]).unwrap();
    let message = Message::described(Bytes::from_static(b"{}"), Label::parse("type", "json").unwrap(), headers);
    assert_eq!(message.bytes(), 2 + 4 + 5 + 2);
    assert_eq!((message.content_type(), message.headers().collect()), ("json", vec![("trace", "77")]));
    let plain = Message::plain(Bytes::from_static(b"{}"));
    assert_eq!((plain.bytes(), plain.content_type(), plain.headers().count()), (2, "", 0));
    assert_eq!(Message::described(plain.payload().clone(), Label::default(), Metadata::default()), plain);
}
