//! The settings of a queue: part of its state, so that each node and each replay decides alike.

use std::fmt;

use super::message::Delay;
use crate::limits::{
    ACK_TIMEOUT_MILLIS_DEFAULT, ACK_TIMEOUT_MILLIS_MAX, ATTEMPTS_DEFAULT, ATTEMPTS_MAX, BACK_OFF_FIRST_MILLIS_DEFAULT,
    BACK_OFF_LAST_MILLIS_DEFAULT, DELAY_MILLIS_MAX, IN_FLIGHT_MESSAGES_DEFAULT, IN_FLIGHT_MESSAGES_MAX,
    MESSAGE_BYTES_DEFAULT, MESSAGE_BYTES_MAX, WAITING_BYTES_DEFAULT, WAITING_BYTES_MAX, WAITING_MESSAGES_DEFAULT,
    WAITING_MESSAGES_MAX,
};

/// What a queue is created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Messages with all its consumers together.
    pub in_flight_max: u32,
    /// How long a consumer has for a message, unless it extends the deadline.
    pub ack_timeout_millis: u32,
    /// Deliveries without an acknowledgement after which a message is a dead letter.
    pub attempts_max: u32,
    /// The back-off after the first failure; it doubles with each further one.
    pub back_off_first_millis: u32,
    /// The longest back-off.
    pub back_off_last_millis: u32,
    /// Payload, content type and headers of one message.
    pub message_bytes_max: u32,
    /// Messages that are kept, in flight and dead ones included.
    pub waiting_max: u64,
    /// Bytes that are kept, those of messages in flight and of dead letters included.
    pub waiting_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight_max: IN_FLIGHT_MESSAGES_DEFAULT,
            ack_timeout_millis: ACK_TIMEOUT_MILLIS_DEFAULT,
            attempts_max: ATTEMPTS_DEFAULT,
            back_off_first_millis: BACK_OFF_FIRST_MILLIS_DEFAULT,
            back_off_last_millis: BACK_OFF_LAST_MILLIS_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_DEFAULT,
            waiting_max: WAITING_MESSAGES_DEFAULT,
            waiting_bytes_max: WAITING_BYTES_DEFAULT,
        }
    }
}

impl Settings {
    /// # Errors
    /// [`SettingOutOfRange`] naming the first one that no queue can have.
    pub fn check(self) -> Result<Self, SettingOutOfRange> {
        let lowest_last = u64::from(self.back_off_first_millis);
        let ranges = [
            (1, u64::from(IN_FLIGHT_MESSAGES_MAX)),
            (1, u64::from(ACK_TIMEOUT_MILLIS_MAX)),
            (1, u64::from(ATTEMPTS_MAX)),
            (0, u64::from(DELAY_MILLIS_MAX)),
            (lowest_last, u64::from(DELAY_MILLIS_MAX)),
            (1, u64::from(MESSAGE_BYTES_MAX)),
            (1, WAITING_MESSAGES_MAX),
            (1, WAITING_BYTES_MAX),
        ];
        for ((setting, value), (min, max)) in self.named().into_iter().zip(ranges) {
            if !(min..=max).contains(&value) {
                return Err(SettingOutOfRange { setting, value, min, max });
            }
        }
        Ok(self)
    }

    /// What the others have that these have not: the name, the value here, the value there.
    #[must_use]
    pub fn differences(&self, others: &Self) -> SettingDifferences {
        let pairs = self.named().into_iter().zip(others.named());
        let differing = pairs.filter(|((_, is), (_, asked))| is != asked);
        SettingDifferences(differing.map(|((setting, is), (_, asked))| (setting, is, asked)).collect())
    }

    /// How long to wait after the failure of this attempt, the first being 1: the back-off doubles from
    /// attempt to attempt, and `chance` picks a moment in its second half, so that what failed together
    /// does not come back together. The machine never calls it; who sends a failure does.
    #[must_use]
    pub fn back_off(&self, attempt: u32, chance: u32) -> Delay {
        let doublings = attempt.saturating_sub(1).min(u32::BITS);
        let whole = (u64::from(self.back_off_first_millis) << doublings).min(u64::from(self.back_off_last_millis));
        let half = whole / 2;
        Delay::at_most(whole - half + ((half * u64::from(chance)) >> u32::BITS))
    }

    fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("in-flight-max", u64::from(self.in_flight_max)),
            ("ack-timeout-millis", u64::from(self.ack_timeout_millis)),
            ("attempts-max", u64::from(self.attempts_max)),
            ("back-off-first-millis", u64::from(self.back_off_first_millis)),
            ("back-off-last-millis", u64::from(self.back_off_last_millis)),
            ("message-bytes-max", u64::from(self.message_bytes_max)),
            ("waiting-max", self.waiting_max),
            ("waiting-bytes-max", self.waiting_bytes_max),
        ]
    }
}

/// A setting that no queue can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}; it goes from {min} to {max}")]
pub struct SettingOutOfRange {
    pub setting: &'static str,
    pub value: u64,
    pub min: u64,
    pub max: u64,
}

/// Settings that differ: the name, what it is, and what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDifferences(pub Vec<(&'static str, u64, u64)>);

impl fmt::Display for SettingDifferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (setting, is, asked)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{setting} is {is} and not {asked}")?;
        }
        Ok(())
    }
}
