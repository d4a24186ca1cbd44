//! Why nobody can be called.

use std::fmt;

use roster_core::ServiceName;

use super::member::Member;

/// More members than this are only counted.
const TOLD_MAX: usize = 16;

/// No instance can be called at present, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoneUsable {
    /// Nothing was heard from a node since the first call.
    #[error("no node of the registry was reached so far, so that no instance of {service} is known: {why}")]
    NeverReached { service: ServiceName, why: String },
    /// The node refuses the watch for good.
    #[error("the registry refuses to tell who serves {service}: {why}")]
    Refused { service: ServiceName, why: String },
    /// The node knows none; `away` says why it cannot be reached, if so.
    #[error("no instance of {service} is registered{}", told_away(away.as_deref()))]
    NoneRegistered { service: ServiceName, away: Option<String> },
    /// There are some, and what is wrong with each.
    #[error("none of the {} instances of {service} can be used: {}", members.len(), Listed(members))]
    Unusable { service: ServiceName, members: Vec<Member> },
    /// The cluster was closed.
    #[error("the cluster of {service} is closed")]
    Ended { service: ServiceName },
}

impl NoneUsable {
    /// Whether waiting is of no use.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Ended { .. } => true,
            Self::NeverReached { .. } | Self::NoneRegistered { .. } | Self::Unusable { .. } => false,
        }
    }
}

fn told_away(away: Option<&str>) -> String {
    away.map(|why| format!(", as was known when the registry was lost: {why}")).unwrap_or_default()
}

struct Listed<'a>(&'a [Member]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, member) in self.0.iter().take(TOLD_MAX).enumerate() {
            let separator = if index == 0 { "" } else { " | " };
            write!(f, "{separator}{member}")?;
        }
        match self.0.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, " | and {more} more"),
        }
    }
}
