//! The settings of a queue as options.

use std::time::Duration;

use roster_client::queue::{Settings, SettingsChange};

use crate::commands::words;
use crate::exit::{Ending, Exit};

/// What a queue is created with, or what is to change.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Options {
    /// Messages with all consumers together [default: 1024]
    #[arg(long, value_name = "N", help_heading = "Settings")]
    in_flight_max: Option<u32>,
    /// How long a consumer has for a message, unless it extends the time [default: 30s]
    #[arg(long, value_name = "SPAN", value_parser = millis, help_heading = "Settings")]
    ack_timeout: Option<u32>,
    /// Deliveries without an acknowledgement that make a dead letter [default: 16]
    #[arg(long, value_name = "N", help_heading = "Settings")]
    attempts_max: Option<u32>,
    /// The back-off after the first failure; it doubles with each further one [default: 100ms]
    #[arg(long, value_name = "SPAN", value_parser = millis, help_heading = "Settings")]
    back_off_first: Option<u32>,
    /// The longest back-off [default: 30s]
    #[arg(long, value_name = "SPAN", value_parser = millis, help_heading = "Settings")]
    back_off_last: Option<u32>,
    /// The largest message: payload, content type and headers [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = message_size, help_heading = "Settings")]
    message_max: Option<u32>,
    /// Messages that the queue keeps, dead letters included [default: 1000000]
    #[arg(long, value_name = "N", help_heading = "Settings")]
    waiting_max: Option<u64>,
    /// Bytes that the queue keeps, dead letters included [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = words::size, help_heading = "Settings")]
    waiting_bytes_max: Option<u64>,
}

fn millis(text: &str) -> Result<u32, String> {
    let span: Duration = words::span(text)?;
    u32::try_from(span.as_millis()).map_err(|_| "it is longer than any queue allows".to_owned())
}

fn message_size(text: &str) -> Result<u32, String> {
    u32::try_from(words::size(text)?).map_err(|_| "it is larger than any queue allows".to_owned())
}

impl Options {
    /// What was given.
    pub(super) fn change(&self) -> SettingsChange {
        SettingsChange {
            in_flight_max: self.in_flight_max,
            ack_timeout_millis: self.ack_timeout,
            attempts_max: self.attempts_max,
            back_off_first_millis: self.back_off_first,
            back_off_last_millis: self.back_off_last,
            message_bytes_max: self.message_max,
            waiting_max: self.waiting_max,
            waiting_bytes_max: self.waiting_bytes_max,
        }
    }

    /// What was given, over the defaults.
    ///
    /// # Errors
    /// When no queue can have them.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let default = Settings::default();
        let settings = Settings {
            in_flight_max: self.in_flight_max.unwrap_or(default.in_flight_max),
            ack_timeout_millis: self.ack_timeout.unwrap_or(default.ack_timeout_millis),
            attempts_max: self.attempts_max.unwrap_or(default.attempts_max),
            back_off_first_millis: self.back_off_first.unwrap_or(default.back_off_first_millis),
            back_off_last_millis: self.back_off_last.unwrap_or(default.back_off_last_millis),
            message_bytes_max: self.message_max.unwrap_or(default.message_bytes_max),
            waiting_max: self.waiting_max.unwrap_or(default.waiting_max),
            waiting_bytes_max: self.waiting_bytes_max.unwrap_or(default.waiting_bytes_max),
        };
        settings.check().map_err(|wrong| Ending::error(Exit::Usage, wrong.to_string()))
    }
}
