//! What the broker can tell about its queues between two batches.

use roster_core::Timestamp;
use roster_core::queue::{MessageId, Place, Queue, QueueName, Stored};
use roster_proto::convert::{encode_message, encode_queue_settings};
use roster_proto::v1;

use super::Broker;

/// A page of messages ends at about this size.
const PAGE_BYTES: u64 = 1024 * 1024;
/// Messages looked at for one page, so that a page costs the others little.
const LOOKED_AT_MAX: usize = 1000;

/// What the node as a whole shows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) queues: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) producers: u64,
    pub(crate) consumers: u64,
}

/// Which messages of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Waiting,
    Failed,
    Dead,
}

/// A page of messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) part: Part,
    pub(crate) after: MessageId,
    pub(crate) size: usize,
    pub(crate) with_message: bool,
}

impl Broker {
    pub(crate) fn queue(&self, name: &QueueName) -> Option<&Queue> {
        self.queues.queue(name)
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, queue) in self.queues.queues(None) {
            let kept = queue.counts();
            counts.queues += 1;
            counts.messages += kept.waiting + kept.failed + kept.dead;
            counts.bytes += kept.bytes;
        }
        counts.producers = self.lanes.values().map(|lane| lane.producers.len() as u64).sum();
        counts.consumers = self.consumers.len() as u64;
        counts
    }

    /// One queue as it is shown.
    pub(crate) fn summary(&self, name: &QueueName) -> Option<v1::Queue> {
        self.queues.queue(name).map(|queue| self.summary_of(name, queue))
    }

    /// Queues by name below a prefix, beyond a name; whether there are more.
    pub(crate) fn list(&self, prefix: &str, after: Option<&QueueName>, most: usize) -> (Vec<v1::Queue>, bool) {
        // Names below a prefix stand together, and it is itself no name.
        let start = QueueName::parse(prefix.trim_end_matches('/')).ok();
        let from = if after.is_some() { after } else { start.as_ref() };
        let is_below = |name: &QueueName| name.as_str().starts_with(prefix);
        let all =
            self.queues.queues(from).skip_while(|(name, _)| !is_below(name)).take_while(|(name, _)| is_below(name));
        let mut queues: Vec<_> = all.take(most + 1).map(|(name, queue)| self.summary_of(name, queue)).collect();
        let more = queues.len() > most;
        queues.truncate(most);
        (queues, more)
    }

    fn summary_of(&self, name: &QueueName, queue: &Queue) -> v1::Queue {
        let (counts, totals) = (queue.counts(), queue.totals());
        let lane = self.lanes.get(name);
        let traffic = lane.map(|lane| lane.dispatcher.traffic()).unwrap_or_default();
        let kept = counts.waiting + counts.failed;
        // What is settling is on its way from a consumer to its end.
        let in_flight = ((traffic.in_flight + traffic.settling) as u64).min(kept);
        let failed = if lane.is_some() { (traffic.due as u64).min(counts.failed) } else { counts.failed };
        let now = self.clock.now();
        let (publish_rate, acknowledge_rate) = lane.map_or((0.0, 0.0), |lane| lane.rates.now(now, totals));
        v1::Queue {
            name: name.as_str().to_owned(),
            r#type: v1::QueueType::Work.into(),
            settings: Some(encode_queue_settings(queue.settings())),
            waiting: kept.saturating_sub(in_flight + failed),
            in_flight,
            failed,
            dead: counts.dead,
            bytes: counts.bytes,
            consumers: lane.map_or(0, |lane| u32::try_from(lane.consumers.len()).unwrap_or(u32::MAX)),
            producers: lane.map_or(0, |lane| u32::try_from(lane.producers.len()).unwrap_or(u32::MAX)),
            oldest_unix_ms: queue.oldest().map_or(0, Timestamp::get),
            published_total: totals.published,
            acknowledged_total: totals.acknowledged,
            failed_total: totals.failures,
            dead_total: totals.deaths,
            publish_rate,
            acknowledge_rate,
        }
    }

    /// A page of messages, and whether more follow.
    pub(crate) fn page(&self, name: &QueueName, page: Page) -> Option<(Vec<v1::KeptMessage>, bool)> {
        let queue = self.queues.queue(name)?;
        let from = page.after.plus(1);
        Some(match page.part {
            Part::Waiting => self.take_page(name, page, queue.waiting_from(from)),
            Part::Failed => self.take_page(name, page, queue.failed(from)),
            Part::Dead => self.take_page(name, page, queue.dead(from)),
        })
    }

    /// The next dead letters beyond one, and the newest id that the queue gave out.
    pub(crate) fn dead(&self, name: &QueueName, after: MessageId, most: usize) -> Option<(Vec<MessageId>, MessageId)> {
        let queue = self.queues.queue(name)?;
        Some((queue.dead(after.plus(1)).take(most).map(|dead| dead.id).collect(), queue.last_id()))
    }

    /// One message, wherever it is.
    pub(crate) fn message(&self, name: &QueueName, id: MessageId, with_message: bool) -> Option<v1::KeptMessage> {
        Some(self.kept(name, &self.queues.queue(name)?.message(id)?, with_message))
    }

    fn take_page<'a>(
        &self,
        name: &QueueName,
        page: Page,
        messages: impl Iterator<Item = Stored<'a>>,
    ) -> (Vec<v1::KeptMessage>, bool) {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for stored in messages {
            if taken.len() >= page.size.min(LOOKED_AT_MAX) || bytes >= PAGE_BYTES {
                return (taken, true);
            }
            bytes += if page.with_message { stored.message.bytes() } else { 0 };
            taken.push(self.kept(name, &stored, page.with_message));
        }
        (taken, false)
    }

    fn kept(&self, name: &QueueName, stored: &Stored<'_>, with_message: bool) -> v1::KeptMessage {
        let (reason, when) = match stored.place {
            Place::Fresh => ("", Timestamp::default()),
            Place::Failed { due: when, reason } | Place::Dead { since: when, reason } => (reason, when),
        };
        v1::KeptMessage {
            message_id: stored.id.get(),
            enqueued_unix_ms: stored.enqueued.get(),
            attempts: stored.attempts,
            bytes: stored.message.bytes(),
            reason: reason.to_owned(),
            when_unix_ms: when.get(),
            in_flight: self.lanes.get(name).is_some_and(|lane| lane.dispatcher.is_in_flight(stored.id)),
            message: with_message.then(|| encode_message(stored.message)),
        }
    }
}
