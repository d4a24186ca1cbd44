//! Whether the queue is full, so that nobody wonders why nothing is stored.

use std::time::Duration;

use roster_client::queue::{QueueName, QueueStatus, Queues};
use tokio::time::{Instant, sleep_until};

/// Nothing stored for so long is worth a question.
const QUIET: Duration = Duration::from_secs(1);

/// What a producer sends together: so much room may be left while it waits.
const BATCH_MESSAGES: u64 = 1024;
const BATCH_BYTES: u64 = 1024 * 1024;

pub(super) struct Fullness {
    queues: Queues,
    queue: QueueName,
    look_at: Instant,
    told: bool,
}

impl Fullness {
    pub(super) fn new(queues: Queues, queue: QueueName) -> Self {
        Self { queues, queue, look_at: Instant::now() + QUIET, told: false }
    }

    /// Something was stored.
    pub(super) fn moved(&mut self) {
        self.look_at = Instant::now() + QUIET;
        self.told = false;
    }

    /// What to say when nothing was stored for a while because the queue is full; once until something is.
    pub(super) async fn next(&mut self) -> String {
        loop {
            sleep_until(self.look_at).await;
            self.look_at = Instant::now() + QUIET;
            if !self.told
                && let Ok(status) = self.queues.get(&self.queue).await
                && let Some(line) = sentence(&status)
            {
                self.told = true;
                return line;
            }
        }
    }
}

fn sentence(status: &QueueStatus) -> Option<String> {
    let QueueStatus { queue, settings, dead, bytes, .. } = status;
    let kept = status.waiting + status.in_flight + status.failed + dead;
    let (kept, unit, max) = if kept + BATCH_MESSAGES > settings.waiting_max {
        (kept, "messages", settings.waiting_max)
    } else if bytes + BATCH_BYTES > settings.waiting_bytes_max {
        (*bytes, "bytes", settings.waiting_bytes_max)
    } else {
        return None;
    };
    Some(format!(
        "queue {queue} is full or nearly so: it keeps {kept} {unit} of {max}, {dead} of its messages are dead letters; \
         waiting for room"
    ))
}
