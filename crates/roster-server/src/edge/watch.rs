//! One watch stream: what it asks for goes to the director, what its outbox holds goes out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use roster_core::{Position, Selector};
use roster_proto::convert::invalid;
use roster_proto::encoded::WatchResponse;
use roster_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Desk, Place, stopping, too_many};
use crate::mail::DirectorMail;
use crate::watch::{Outbox, StreamId, Subscription, Taken};

pub(crate) type WatchResponses = ReceiverStream<Result<WatchResponse, Status>>;

/// Starts the task of one stream and returns what it answers.
pub(super) async fn open(desk: Desk, requests: Streaming<v1::WatchRequest>) -> Result<WatchResponses, Status> {
    let max = desk.limits.watch_streams;
    let place =
        Place::take(&desk.gauges, |gauges| &gauges.watch_streams, max).ok_or_else(|| too_many("watch streams", max))?;
    let stream = StreamId(desk.gauges.next_stream.fetch_add(1, Ordering::Relaxed));
    let (reply, outbox) = oneshot::channel();
    desk.tell(DirectorMail::OpenWatchStream { stream, reply }).await?;
    let outbox = outbox.await.map_err(|_| stopping())?;
    // One message waits in the channel, the others where they are bounded: in the outbox.
    let (responses, reader) = mpsc::channel(1);
    let tasks = desk.tasks.clone();
    tasks.spawn(WatchStream { desk, stream, requests, outbox, responses, place }.run());
    Ok(ReceiverStream::new(reader))
}

struct WatchStream {
    desk: Desk,
    stream: StreamId,
    requests: Streaming<v1::WatchRequest>,
    outbox: Arc<Outbox>,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
    place: Place,
}

impl WatchStream {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, for as long as the stream lives"
    )]
    fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            // Taken in by name: an async block leaves out the fields that it does not use.
            let _place = self.place;
            // A caller that has asked for all it wants may close its side and go on reading.
            let mut asking = true;
            loop {
                let writable = async {
                    self.outbox.ready().await;
                    self.responses.reserve().await
                };
                tokio::select! {
                    request = self.requests.message(), if asking => match request {
                        Ok(Some(request)) => {
                            if take_in(&self.desk, self.stream, request).await.is_err() {
                                break;
                            }
                        }
                        Ok(None) => asking = false,
                        Err(_) => break,
                    },
                    () = self.responses.closed() => break,
                    permit = writable => {
                        let Ok(permit) = permit else { break };
                        match self.outbox.take(self.desk.epoch) {
                            Taken::Response(response) if response.deliveries.is_empty() => {}
                            Taken::Response(response) => permit.send(Ok(response)),
                            Taken::Overflowed => {
                                drop(permit);
                                let resync = DirectorMail::Resync { stream: self.stream };
                                if self.desk.tell(resync).await.is_err() {
                                    break;
                                }
                            }
                            Taken::Closed => {
                                permit.send(Err(stopping()));
                                return;
                            }
                        }
                    }
                }
            }
            let _ = self.desk.tell(DirectorMail::CloseWatchStream { stream: self.stream }).await;
        }
    }
}

async fn take_in(desk: &Desk, stream: StreamId, request: v1::WatchRequest) -> Result<(), Status> {
    for watch in request.unsubscribe {
        desk.tell(DirectorMail::Unsubscribe { stream, watch }).await?;
    }
    for subscribe in request.subscribe {
        let watch = subscribe.watch_id;
        let mail = match Selector::parse(&subscribe.selector) {
            Ok(selector) => {
                let same_epoch = subscribe.resume_epoch == desk.epoch && subscribe.resume_position > 0;
                let resume = same_epoch.then(|| Position::new(subscribe.resume_position));
                DirectorMail::Subscribe { stream, subscription: Subscription { watch, selector, resume } }
            }
            Err(word) => DirectorMail::RefuseWatch { stream, watch, refusal: invalid(word) },
        };
        desk.tell(mail).await?;
    }
    if request.acknowledged > 0 {
        desk.tell(DirectorMail::Acknowledge { stream, position: Position::new(request.acknowledged) }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_watch_stream_that_waits_is_small() {
        let bytes = bytes_of(WatchStream::run);
        assert!(bytes <= 1_536, "{bytes} bytes");
    }
}
