//! How a service changes hands, and how long a session may be away.

use std::num::NonZeroU32;

use super::InvalidWord;
use crate::limits::{GRACE_MILLIS_DEFAULT, GRACE_MILLIS_MAX, HANDOVER_MILLIS_MAX};

/// When a higher version takes over the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutover {
    /// As soon as that many instances of it are up.
    After(NonZeroU32),
    /// Never.
    SideBySide,
}

impl Cutover {
    /// # Errors
    /// [`InvalidWord`] when `instances` is 0.
    pub fn after(instances: u32) -> Result<Self, InvalidWord> {
        NonZeroU32::new(instances)
            .map(Self::After)
            .ok_or_else(|| InvalidWord::new("cutover", "0", "it waits for at least one instance"))
    }
}

impl Default for Cutover {
    fn default() -> Self {
        Self::After(NonZeroU32::MIN)
    }
}

/// How long a session may be away before it is lost: 0 to 300 000 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace(u32);

impl Grace {
    /// # Errors
    /// [`InvalidWord`] above 300 000 ms.
    pub fn from_millis(millis: u32) -> Result<Self, InvalidWord> {
        if millis > GRACE_MILLIS_MAX {
            return Err(InvalidWord::new("grace", &format!("{millis} ms"), format!("{GRACE_MILLIS_MAX} ms at most")));
        }
        Ok(Self(millis))
    }

    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.0
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self(GRACE_MILLIS_DEFAULT)
    }
}

/// How long a singleton waits for the holder to leave; 0 replaces it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handover(u32);

impl Handover {
    /// # Errors
    /// [`InvalidWord`] above one hour.
    pub fn from_millis(millis: u32) -> Result<Self, InvalidWord> {
        if millis > HANDOVER_MILLIS_MAX {
            return Err(InvalidWord::new(
                "hand-over",
                &format!("{millis} ms"),
                format!("{HANDOVER_MILLIS_MAX} ms at most"),
            ));
        }
        Ok(Self(millis))
    }

    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.0
    }
}
