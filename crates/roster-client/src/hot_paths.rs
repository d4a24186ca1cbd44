//! What `benches/sdk.rs` counts the instructions of: the machines of the SDK without a runtime and a network.
//! Not part of the interface.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub use crate::queue::hot_paths::{Consumed, Published};
pub use crate::watch::hot_path::Watched;

/// What a future has without waiting.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
