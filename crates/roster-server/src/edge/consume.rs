//! Consuming: what a stream says goes to the broker, what it is given comes out of its box.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use roster_core::Label;
use roster_core::limits::MESSAGES_PER_COMMAND_MAX;
use roster_core::queue::{ConsumerId, Delay, MessageId, Reason, Window};
use roster_proto::convert::{invalid, parse_queue_name, status_of};
use roster_proto::v1;
use tokio::sync::{Semaphore, oneshot};
use tokio_stream::Stream;
use tonic::{Status, Streaming};
use tracing::debug;

use super::publish::{argument, protocol};
use super::{Desk, Place, stopping, too_many};
use crate::broker::{BrokerMail, DeliveryBox, Nack, Words};

/// A stream that says nothing for so long after it was opened is closed.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// What a consumer has said of so many messages may be on its way to the log; reading waits beyond it.
const WORDS_UNDER_WAY: usize = 2 * MESSAGES_PER_COMMAND_MAX;

/// What a consuming stream is given.
#[derive(Debug)]
pub(crate) struct ConsumeResponses(Arc<DeliveryBox>);

impl Stream for ConsumeResponses {
    type Item = Result<v1::ConsumeResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(context)
    }
}

impl Drop for ConsumeResponses {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Starts the task of one stream and returns what it is given.
pub(super) fn open(desk: Desk, requests: Streaming<v1::ConsumeRequest>) -> Result<ConsumeResponses, Status> {
    let max = desk.limits.consumers;
    let place = Place::take(&desk.gauges, |gauges| &gauges.consumers, max)
        .ok_or_else(|| too_many("consuming streams (limits.consumers)", max))?;
    let deliveries = DeliveryBox::new();
    let tasks = desk.tasks.clone();
    let stream = ConsumeStream { desk, requests, deliveries: deliveries.clone(), _place: place };
    tasks.spawn(stream.run());
    Ok(ConsumeResponses(deliveries))
}

struct ConsumeStream {
    desk: Desk,
    requests: Streaming<v1::ConsumeRequest>,
    deliveries: Arc<DeliveryBox>,
    _place: Place,
}

impl ConsumeStream {
    async fn run(mut self) {
        let deliveries = self.deliveries.clone();
        let opening = tokio::select! {
            opening = self.first() => opening,
            () = deliveries.ended() => return,
        };
        let (consumer, first) = match opening {
            Ok((open, first)) => match self.join(open).await {
                Ok(consumer) => (consumer, first),
                Err(status) => return self.deliveries.end(status),
            },
            Err(status) => return self.deliveries.end(status),
        };
        tokio::select! {
            biased;
            // The client is gone, the queue was deleted, or the node stops.
            () = deliveries.ended() => {}
            end = self.converse(consumer, first) => if let Err(status) = end {
                deliveries.end(status);
            },
        }
        let _ = self.desk.queues.broker.send(BrokerMail::Leave(consumer)).await;
    }

    async fn first(&mut self) -> Result<(v1::OpenConsume, v1::ConsumeRequest), Status> {
        let first = tokio::time::timeout(OPEN_TIMEOUT, self.requests.message()).await;
        let first = first.map_err(|_| protocol("no `open` came in time"))??;
        let mut first = first.ok_or_else(|| protocol("the stream ended before `open`"))?;
        let open = first.open.take().ok_or_else(|| protocol("the first request must have `open`"))?;
        Ok((open, first))
    }

    async fn join(&self, open: v1::OpenConsume) -> Result<ConsumerId, Status> {
        let queue = parse_queue_name(&open.queue).map_err(|refusal| status_of(&refusal))?;
        let window = open.window.map_or(Ok(Window::default()), parse_window)?;
        let name = Label::parse("consumer", &open.consumer).map_err(|word| status_of(&invalid(word)))?;
        let (reply, joined) = oneshot::channel();
        let deliveries = self.deliveries.clone();
        let mail = BrokerMail::Join { queue: queue.clone(), window, deliveries, reply };
        self.desk.queues.broker.send(mail).await.map_err(|_| stopping())?;
        let joined = joined.await.map_err(|_| stopping())?.map_err(|refusal| status_of(&refusal))?;
        debug!(%queue, consumer = joined.0, name = name.as_str(), window = window.messages(), "consumes");
        Ok(joined)
    }

    /// Takes requests until the client says no more.
    async fn converse(&mut self, consumer: ConsumerId, first: v1::ConsumeRequest) -> Result<(), Status> {
        let under_way = Arc::new(Semaphore::new(WORDS_UNDER_WAY));
        let mut next = Some(first);
        while let Some(request) = next {
            let mut words = parse_words(request)?;
            let weight = words.acknowledged.len() + words.failed.len();
            if weight > 0 {
                let weight = u32::try_from(weight).unwrap_or(u32::MAX);
                words.permit = under_way.clone().acquire_many_owned(weight).await.ok();
            }
            if words.confirm > 0 {
                self.deliveries.want(words.confirm);
            }
            self.desk.queues.broker.send(BrokerMail::Words { consumer, words }).await.map_err(|_| stopping())?;
            next = self.requests.message().await?;
        }
        Ok(())
    }
}

fn parse_words(request: v1::ConsumeRequest) -> Result<Words, Status> {
    if request.open.is_some() {
        return Err(protocol("`open` comes once, first"));
    }
    let named = request.acknowledge.len() + request.nack.len() + request.hand_back.len() + request.extend.len();
    if named > MESSAGES_PER_COMMAND_MAX {
        return Err(status_of(&argument(format!(
            "{named} messages in one request; {MESSAGES_PER_COMMAND_MAX} at most"
        ))));
    }
    let parse_nack = |nack: v1::Nack| {
        let delay = nack.delay_ms.map(Delay::from_millis).transpose().map_err(|word| status_of(&invalid(word)))?;
        Ok(Nack { message: MessageId::new(nack.message_id), reason: Reason::new(&nack.reason), delay })
    };
    Ok(Words {
        acknowledged: request.acknowledge.into_iter().map(MessageId::new).collect(),
        failed: request.nack.into_iter().map(parse_nack).collect::<Result<_, Status>>()?,
        handed_back: request.hand_back.into_iter().map(MessageId::new).collect(),
        extended: request.extend.iter().map(|extend| (MessageId::new(extend.message_id), extend.extra_ms)).collect(),
        window: request.window.map(parse_window).transpose()?,
        confirm: request.confirm,
        permit: None,
    })
}

fn parse_window(messages: u32) -> Result<Window, Status> {
    Window::of_messages(messages).map_err(|word| status_of(&invalid(word)))
}
