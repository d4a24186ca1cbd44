//! Answers of a connection, given where they were asked for.
//!
//! Most calls can be answered at once. As tasks of their own they would cost a task and two rounds through the
//! scheduler each, and every answer would be written by itself, for a task that is woken runs before its like
//! (docs/performance.md). What has to wait for something becomes a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

use hyper::rt::Executor;
use tracing::error;

/// Runs what a connection is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtOnce;

impl<F> Executor<F> for AtOnce
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, answer: F) {
        let mut answer = Box::pin(answer);
        // Whoever is not done is looked at again by its task, which can be woken.
        let mut nobody = Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(&mut nobody))) {
            Ok(polled) if polled.is_pending() => drop(tokio::spawn(answer)),
            Ok(_) => {}
            // As in a task of its own: the caller's stream is reset, the connection goes on.
            Err(_) => error!("an answer panicked"),
        }
    }
}
