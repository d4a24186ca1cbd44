//! Numbers that identify. None of them is ever given out twice.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// The number as it travels and is stored.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A place in the log: the first command stands at 1, and 0 is before everything.
    /// One command moves it by exactly one, so it is also the revision of the state.
    Position
}
number! {
    /// A session, from a counter that is part of the state and only grows.
    SessionId
}
number! {
    /// An instance: the position of its registration.
    InstanceId
}
number! {
    /// A fencing token: the position at which a singleton came to hold its name. Only grows.
    Token
}
number! {
    /// Milliseconds since the Unix epoch, written into a batch by its sender.
    Timestamp
}

impl Position {
    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place `commands` further on.
    #[must_use]
    pub const fn plus(self, commands: u64) -> Self {
        Self(self.0 + commands)
    }
}

/// What the directory keeps of a session's secret: the first 16 bytes of its SHA-256.
///
/// The secret itself never reaches the log, so a stolen log resumes no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 16]);
