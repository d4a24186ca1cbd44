//! One pair of hands: takes a delivery, runs the handler, says how it went.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinSet;

use super::board::Board;
use super::delivery::{Debt, Delivery, verdict_of};
use super::machine::Verdict;
use super::seat::Consuming;
use crate::queue::format::Decode;
use crate::stream::Shared;

/// Hires workers when there is work for them, until the board closes; ends with the last of them, or takes them
/// along when it is dismissed.
pub(super) async fn employ<T, C, H, F, E>(board: Arc<Board>, shared: Arc<Shared<Consuming>>, handler: H)
where
    T: Send + 'static,
    C: Decode<T>,
    H: Fn(Delivery<T>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: fmt::Display + 'static,
{
    let handler = Arc::new(handler);
    let mut workers = JoinSet::new();
    while board.hire().await.is_some() {
        workers.spawn(work::<T, C, H, F, E>(board.clone(), shared.clone(), handler.clone()));
    }
    tokio::select! {
        () = board.dismissed() => {}
        () = async { while workers.join_next().await.is_some() {} } => {}
    }
    workers.shutdown().await;
}

/// Works until the board closes.
async fn work<T, C, H, F, E>(board: Arc<Board>, shared: Arc<Shared<Consuming>>, handler: Arc<H>)
where
    C: Decode<T>,
    H: Fn(Delivery<T>) -> F,
    F: Future<Output = Result<(), E>>,
    E: fmt::Display + 'static,
{
    board.arrived();
    while let Some(wire) = board.take().await {
        let mut debt = Debt { id: wire.message_id, board: board.clone(), shared: shared.clone(), paid: false };
        let attempt = async {
            match Delivery::decode::<C>(wire) {
                Ok(delivery) => match handler(delivery).await {
                    Ok(()) => Verdict::Acknowledged,
                    Err(error) => verdict_of(&error),
                },
                Err(reason) => Verdict::Failed { reason, delay: None },
            }
        };
        debt.pay(unwound(attempt).await);
        // Handlers that never wait would otherwise keep everybody else from this thread.
        tokio::task::consume_budget().await;
    }
}

/// The verdict, or that there was a panic.
async fn unwound(attempt: impl Future<Output = Verdict>) -> Verdict {
    let mut attempt = pin!(attempt);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(context))) {
        Ok(Poll::Ready(verdict)) => Poll::Ready(verdict),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Verdict::Failed { reason: format!("panic: {}", words_of(&*panic)), delay: None }),
    })
    .await
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
