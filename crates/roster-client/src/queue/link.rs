//! The stream under a producer or a consumer, as a caller sees it.

use std::sync::Arc;
use std::time::Instant;

/// Whether there is a stream to the queue, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Never connected so far.
    Connecting,
    /// The node has opened the stream.
    Connected { endpoint: Arc<str> },
    /// Lost, or not to be had; it is being tried again.
    Away { since: Instant, why: String },
    /// It will not come back.
    Ended { why: String },
}

impl Link {
    /// Whether what is said reaches the node.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}
