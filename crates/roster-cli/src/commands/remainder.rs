//! What the queues of a leaving member still keep: consumers work it off while there is time, and what is
//! left is reported, because it stays on this node's disk until the member returns.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roster_client::queue::{Contents, MessagesQuery, QueueStatus, Queues};
use tracing::{info, warn};

use super::node;
use crate::exit;

/// How often the queues are looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// Failed messages that are looked at, of one queue.
const FAILED_MAX: u32 = 1000;

/// Waits until nothing is left that a consumer will get before the deadline, then tells what is kept.
pub(crate) async fn worked_off(url: &str, deadline: Instant) {
    let asked = async {
        let queues = node::client(&[url.to_owned()])?.queues();
        watch(&queues, deadline).await
    };
    match asked.await {
        Ok(kept) => report(&kept),
        Err(error) => warn!(why = exit::chain(&error), "cannot tell what the queues keep"),
    }
}

async fn watch(queues: &Queues, deadline: Instant) -> anyhow::Result<Vec<QueueStatus>> {
    loop {
        let all = queues.list("").await?;
        if Instant::now() >= deadline || !is_worked_on(queues, &all, deadline).await? {
            return Ok(all);
        }
        tokio::time::sleep(INTERVAL.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

/// Whether a consumer has, or gets before the deadline, a message of any of them.
async fn is_worked_on(queues: &Queues, all: &[QueueStatus], deadline: Instant) -> anyhow::Result<bool> {
    let consumed = || all.iter().filter(|queue| queue.consumers > 0);
    if consumed().any(|queue| queue.waiting + queue.in_flight > 0) {
        return Ok(true);
    }
    let deadline_unix_millis = unix_millis(deadline);
    for queue in consumed().filter(|queue| queue.failed > 0) {
        let query = MessagesQuery { part: Contents::Failed, limit: FAILED_MAX, ..MessagesQuery::default() };
        let page = queues.messages(&queue.queue, query).await?;
        if page.messages.iter().any(|message| message.when_unix_millis.is_none_or(|due| due <= deadline_unix_millis)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unix_millis(moment: Instant) -> u64 {
    let then = SystemTime::now() + moment.saturating_duration_since(Instant::now());
    let since = then.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn report(queues: &[QueueStatus]) {
    for queue in queues {
        let messages = queue.waiting + queue.in_flight + queue.failed;
        if messages > 0 {
            let noun = if messages == 1 { "message" } else { "messages" };
            info!("queue {} keeps {messages} {noun} for its return", queue.queue);
        }
    }
}
