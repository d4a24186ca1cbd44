//! Publishing: one call, or one stream of batches that waits while the queue is full.
//!
//! A stream reads one request further only when the batch before has room in its queue and is at the writer:
//! whoever publishes too fast is slowed by the flow control of its connection. What was read and waits is counted, of
//! all streams together, and refused beyond a bound.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use roster_core::limits::MESSAGES_PER_COMMAND_MAX;
use roster_core::queue::{Command, Message, Origin as Source, Outcome, ProducerId, QueueName, Refusal};
use roster_proto::convert::{invalid, parse_message, parse_queue_name, status_of};
use roster_proto::v1;
use roster_proto::v1::publish_stream_request::Request;
use roster_store::limits::RECORD_BYTES_MAX;
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::budget::Crowded;
use super::{Desk, Place, Ticket, Turns, stopping, too_many, too_much};
use crate::broker::{BrokerMail, Load, NoRoom, Opened, Origin, Reservation, ResultBox, Room, WriterMail};
use crate::submission;

/// A stream that says nothing for so long after it was opened is closed.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A message that became a dead letter has its reason beside it, and must still be one record of a snapshot.
const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX - 4 * 1024;
/// Payloads share the buffer in which their request came, and the last one that is kept keeps all of it. Those of a
/// longer request are moved into buffers of this size.
const SHARED_BYTES_MAX: usize = 128 * 1024;

/// What a publishing stream answers.
#[derive(Debug)]
pub(crate) struct PublishResponses(Arc<ResultBox>);

impl Stream for PublishResponses {
    type Item = Result<v1::PublishStreamResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(context)
    }
}

impl Drop for PublishResponses {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Starts the task of one stream and returns what it answers.
pub(super) fn open(desk: Desk, requests: Streaming<v1::PublishStreamRequest>) -> Result<PublishResponses, Status> {
    let max = desk.limits.producers;
    let place = Place::take(&desk.gauges, |gauges| &gauges.producers, max)
        .ok_or_else(|| too_many("publishing streams (limits.producers)", max))?;
    let results = ResultBox::new(desk.limits.batches_in_flight);
    let tasks = desk.tasks.clone();
    let stream = PublishStream { desk, requests, results: results.clone(), _place: place };
    tasks.spawn(stream.run());
    Ok(PublishResponses(results))
}

struct PublishStream {
    desk: Desk,
    requests: Streaming<v1::PublishStreamRequest>,
    results: Arc<ResultBox>,
    _place: Place,
}

/// A stream that was opened.
struct Publisher {
    queue: QueueName,
    producer: ProducerId,
    room: Arc<Room>,
    /// What is stored of this producer, at least.
    stored: u64,
    /// The sequence of the next message.
    next: u64,
}

impl PublishStream {
    async fn run(mut self) {
        let results = self.results.clone();
        // Whether or not the broker has let it in when its client goes: it is told of the end.
        let opening = match self.opening().await {
            Ok(opening) => opening,
            Err(status) => return results.end(status),
        };
        let queue = opening.0.clone();
        let stream = self.desk.gauges.next_stream.fetch_add(1, Ordering::Relaxed);
        let publisher = match self.begin(opening, stream).await {
            Ok(publisher) => publisher,
            Err(status) => return results.end(status),
        };
        tokio::select! {
            biased;
            // The client is gone, the queue was deleted, or the node stops.
            () = results.ended() => {}
            end = self.take_batches(publisher) => match end {
                Ok(()) => results.finish(),
                Err(status) => results.end(status),
            },
        }
        let _ = self.desk.queues.broker.send(BrokerMail::ClosePublish { queue, stream }).await;
    }

    async fn opening(&mut self) -> Result<(QueueName, ProducerId), Status> {
        let results = self.results.clone();
        let first = tokio::select! {
            first = tokio::time::timeout(OPEN_TIMEOUT, self.requests.message()) => first,
            () = results.ended() => return Err(stopping()),
        };
        let first = first.map_err(|_| protocol("no `open` came in time"))??;
        let Some(v1::PublishStreamRequest { request: Some(Request::Open(open)) }) = first else {
            return Err(protocol("the first request must be `open`"));
        };
        let queue = parse_queue_name(&open.queue).map_err(|refusal| status_of(&refusal))?;
        Ok((queue, producer_id(&open.producer)?))
    }

    async fn begin(&self, (queue, producer): (QueueName, ProducerId), stream: u64) -> Result<Publisher, Status> {
        let (reply, opened) = oneshot::channel();
        let (results, name) = (self.results.clone(), queue.clone());
        let mail = BrokerMail::OpenPublish { queue: name, producer: producer.clone(), stream, results, reply };
        self.desk.queues.broker.send(mail).await.map_err(|_| stopping())?;
        let opened = opened.await.map_err(|_| stopping())?.map_err(|refusal| status_of(&refusal))?;
        let Opened { room, last_sequence } = opened;
        let message_bytes_max = room.message_bytes_max();
        self.results.open(v1::PublishOpened { last_sequence, message_bytes_max });
        Ok(Publisher { queue, producer, room, stored: last_sequence, next: last_sequence + 1 })
    }

    /// Takes batches until the client sends no more.
    async fn take_batches(&mut self, mut publisher: Publisher) -> Result<(), Status> {
        loop {
            self.results.place().await;
            let batch = match self.requests.message().await? {
                Some(v1::PublishStreamRequest { request: Some(Request::Batch(batch)) }) => batch,
                Some(v1::PublishStreamRequest { request: Some(Request::Open(_)) }) => {
                    return Err(protocol("`open` comes once, first"));
                }
                Some(v1::PublishStreamRequest { request: None }) => {
                    return Err(protocol("a request of a kind that this node does not know"));
                }
                None => return Ok(()),
            };
            let first_sequence = batch.first_sequence;
            match self.take_batch(&mut publisher, batch).await {
                Ok(()) => {}
                Err(Refused::Batch(refusal)) => {
                    let outcome = Some(v1::publish_result::Outcome::Refusal(refusal));
                    self.results.expect(Some(v1::PublishResult { first_sequence, outcome }));
                }
                Err(Refused::Stream(status)) => return Err(status),
            }
        }
    }

    async fn take_batch(&self, publisher: &mut Publisher, batch: v1::PublishBatch) -> Result<(), Refused> {
        let first = batch.first_sequence;
        let turn = if Turns::is_long(batch.messages.len()) { self.desk.turns.take().await } else { None };
        let messages = parse_messages(batch.messages).map_err(Refused::Batch)?;
        check_sizes(&messages, publisher.room.message_bytes_max()).map_err(Refused::Batch)?;
        let end = first.saturating_add(messages.len() as u64);
        if first == 0 || first > publisher.next {
            // What follows a batch that was refused would be refused as well: it need not be logged for that.
            let gap = Refusal::SequenceGap { expected: publisher.next, found: first };
            return Err(Refused::Batch(gap.into()));
        }
        // What is stored already takes no room.
        let new = messages.iter().zip(first..).filter(|(_, sequence)| *sequence > publisher.stored);
        let load = new.fold(Load::default(), |load, (message, _)| Load {
            messages: load.messages + 1,
            bytes: load.bytes + message.bytes(),
        });
        let origin = Some(Source { producer: publisher.producer.clone(), first });
        let submission = draft(vec![Command::Publish { queue: publisher.queue.clone(), origin, messages }]);
        let submission = submission.map_err(Refused::Batch)?;
        drop(turn);
        let (reservation, ticket) = self.way(publisher, load, submission.records.bytes_len()).await?;
        // From here on nothing is waited for: a batch that is expected is at the writer.
        let place = self.desk.queues.writer.reserve().await.map_err(|_| Refused::Stream(stopping()))?;
        publisher.next = publisher.next.max(end);
        let results = self.results.clone();
        let origin = Origin::Publish { results, first_sequence: first, reservation: Some(reservation), ticket };
        self.results.expect(None);
        place.send(WriterMail::Submission(submission.for_whom(origin)));
        Ok(())
    }

    /// Room in the queue and the way to the log, waited for when they are not there. Of what waits there is only so
    /// much: a queue that stays full must not fill the memory of the node with what its publishers have sent.
    async fn way(&self, publisher: &Publisher, load: Load, bytes: usize) -> Result<(Reservation, Ticket), Refused> {
        let budget = &self.desk.queues.budget;
        let no_room = |why| match why {
            NoRoom::Full(refusal) => Refused::Batch(refusal.into()),
            NoRoom::Never => Refused::Batch(never_fits(&publisher.queue, load)),
            NoRoom::Closed => Refused::Stream(closed(&publisher.queue)),
        };
        match publisher.room.try_reserve(load) {
            Ok(reservation) => {
                if let Some(ticket) = budget.try_enter(bytes) {
                    return Ok((reservation, ticket));
                }
                let waiting = budget.wait(bytes).ok_or_else(|| too_much_waits(&self.desk, bytes, Crowded::All));
                let _waiting = waiting.map_err(Refused::Batch)?;
                let ticket = budget.enter(bytes).await.ok_or_else(|| Refused::Stream(stopping()))?;
                Ok((reservation, ticket))
            }
            Err(NoRoom::Full(_)) => {
                let waiting = budget.wait_for_room(&publisher.room.crowd, bytes);
                let _waiting = waiting.map_err(|crowded| Refused::Batch(too_much_waits(&self.desk, bytes, crowded)))?;
                let reservation = publisher.room.reserve(load).await.map_err(no_room)?;
                // Who waited for room is not refused for want of a place to wait for the log: it has one.
                let ticket = budget.enter(bytes).await.ok_or_else(|| Refused::Stream(stopping()))?;
                Ok((reservation, ticket))
            }
            Err(why @ (NoRoom::Never | NoRoom::Closed)) => Err(no_room(why)),
        }
    }
}

fn too_much_waits(desk: &Desk, bytes: usize, crowded: Crowded) -> v1::Refusal {
    let what = match crowded {
        Crowded::All => "bytes of batches of this size that wait to be published (a part of limits.waiting-bytes)",
        Crowded::Queues => "bytes of such batches that wait for room in queues (a part of limits.waiting-bytes)",
        Crowded::Queue => "bytes of such batches that wait for room in one queue (a part of limits.waiting-bytes)",
    };
    too_much(what, desk.queues.budget.bound(bytes, crowded))
}

enum Refused {
    /// This batch, and the stream goes on.
    Batch(v1::Refusal),
    Stream(Status),
}

/// Waiting is of no use, and neither is the same batch again; smaller ones may be.
fn never_fits(queue: &QueueName, load: Load) -> v1::Refusal {
    let Load { messages, bytes } = load;
    argument(format!(
        "{messages} messages of {bytes} bytes are more than queue {queue} may ever keep; send less at a time"
    ))
}

/// Publishes one batch and waits until it is stored.
pub(super) async fn publish(desk: &Desk, request: v1::PublishRequest) -> Result<v1::PublishResponse, Status> {
    let queue = parse_queue_name(&request.queue).map_err(|refusal| status_of(&refusal))?;
    let origin = match (request.producer.as_str(), request.first_sequence) {
        ("", 0) => None,
        ("", _) => return Err(status_of(&argument("first_sequence without a producer"))),
        (producer, first) => Some(Source { producer: producer_id(producer)?, first }),
    };
    let turn = if Turns::is_long(request.messages.len()) { desk.turns.take().await } else { None };
    let messages = parse_messages(request.messages).map_err(|refusal| status_of(&refusal))?;
    drop(turn);
    let (reply, opened) = oneshot::channel();
    let producer = origin.as_ref().map(|origin| origin.producer.clone());
    let mail = BrokerMail::Room { queue: queue.clone(), producer, reply };
    desk.queues.broker.send(mail).await.map_err(|_| stopping())?;
    let opened = opened.await.map_err(|_| stopping())?.map_err(|refusal| status_of(&refusal))?;
    let Opened { room, last_sequence } = opened;
    check_sizes(&messages, room.message_bytes_max()).map_err(|refusal| status_of(&refusal))?;
    let first = origin.as_ref().map_or(u64::MAX, |origin| origin.first);
    let new = messages.iter().enumerate().filter(|(index, _)| first.saturating_add(*index as u64) > last_sequence);
    let load = new.fold(Load::default(), |load, (_, message)| Load {
        messages: load.messages + 1,
        bytes: load.bytes + message.bytes(),
    });
    let reservation: Reservation = match room.try_reserve(load) {
        Ok(reservation) => reservation,
        Err(NoRoom::Full(refusal)) => return Err(status_of(&refusal.into())),
        Err(NoRoom::Never) => return Err(status_of(&never_fits(&queue, load))),
        Err(NoRoom::Closed) => return Err(closed(&queue)),
    };
    let submission =
        draft(vec![Command::Publish { queue, origin, messages }]).map_err(|refusal| status_of(&refusal))?;
    let (budget, bytes) = (&desk.queues.budget, submission.records.bytes_len());
    let ticket = match budget.try_enter(bytes) {
        Some(ticket) => ticket,
        None => {
            let _waiting = budget.wait(bytes).ok_or_else(|| status_of(&too_much_waits(desk, bytes, Crowded::All)))?;
            budget.enter(bytes).await.ok_or_else(stopping)?
        }
    };
    let (reply, answer) = oneshot::channel();
    let origin = Origin::Unary { reply, reservation: Some(reservation), ticket: Some(ticket) };
    let submission = submission.for_whom(origin);
    desk.queues.writer.send(WriterMail::Submission(submission)).await.map_err(|_| stopping())?;
    let (_, outcome) = answer.await.map_err(|_| stopping())?.map_err(|refusal| status_of(&refusal))?;
    let Outcome::Published { first, stored, duplicates } = outcome else {
        return Err(Status::internal(format!("{outcome:?} is no outcome of publishing")));
    };
    let published = v1::Published { first_message_id: first.get(), stored, duplicates };
    Ok(v1::PublishResponse { published: Some(published) })
}

fn parse_messages(mut wire: Vec<v1::QueueMessage>) -> Result<Vec<Message>, v1::Refusal> {
    if wire.len() > MESSAGES_PER_COMMAND_MAX {
        let max = MESSAGES_PER_COMMAND_MAX as u64;
        return Err(Refusal::LimitExceeded { limit: "messages of one batch", max }.into());
    }
    part_buffers(&mut wire);
    wire.into_iter().map(parse_message).collect()
}

/// Sees to it that no small message of a long request shares a long buffer.
fn part_buffers(wire: &mut [v1::QueueMessage]) {
    let all: usize = wire.iter().map(|message| message.payload.len()).sum();
    if all <= SHARED_BYTES_MAX {
        return;
    }
    let mut buffer = BytesMut::new();
    // One that is half of the request may as well keep it.
    for payload in wire.iter_mut().map(|message| &mut message.payload).filter(|payload| 2 * payload.len() < all) {
        if payload.len() > buffer.capacity() {
            buffer = BytesMut::with_capacity(payload.len().max(SHARED_BYTES_MAX));
        }
        buffer.extend_from_slice(payload);
        *payload = buffer.split().freeze();
    }
}

fn check_sizes(messages: &[Message], max: u32) -> Result<(), v1::Refusal> {
    let max = u64::from(max);
    let too_large = messages.iter().zip(0..).find(|(message, _)| message.bytes() > max);
    too_large
        .map_or(Ok(()), |(message, index)| Err(Refusal::MessageTooLarge { index, bytes: message.bytes(), max }.into()))
}

type Draft = submission::Submission<roster_store::Queues, ()>;

/// Encodes what will be submitted. What the log would not take would take others down with it: it is refused here.
fn draft(commands: Vec<Command>) -> Result<Draft, v1::Refusal> {
    let submission = Draft::new(commands, ());
    let bytes = submission.records.bytes_len();
    if bytes > BATCH_BYTES_MAX {
        return Err(argument(format!("the batch has {bytes} bytes; {BATCH_BYTES_MAX} at most")));
    }
    Ok(submission)
}

fn producer_id(text: &str) -> Result<ProducerId, Status> {
    ProducerId::parse(text).map_err(|word| status_of(&invalid(word)))
}

pub(super) fn argument(message: impl Into<String>) -> v1::Refusal {
    let code = v1::refusal::Code::InvalidArgument.into();
    v1::Refusal { code, message: message.into(), ..Default::default() }
}

pub(super) fn protocol(message: &str) -> Status {
    status_of(&argument(message))
}

fn closed(queue: &QueueName) -> Status {
    status_of(&Refusal::UnknownQueue { queue: queue.clone() }.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(buffer: &Bytes, payload_bytes: usize) -> Vec<v1::QueueMessage> {
        let payloads = (0..buffer.len()).step_by(payload_bytes).map(|at| buffer.slice(at..at + payload_bytes));
        payloads.map(|payload| v1::QueueMessage { payload, ..Default::default() }).collect()
    }

    #[test]
    fn a_message_of_a_long_request_does_not_keep_its_buffer() {
        let long = Bytes::from_iter((0..1_000_000).map(|byte| byte as u8));
        let mut wire = request(&long, 100);
        part_buffers(&mut wire);
        assert!(long.is_unique());
        assert_eq!(wire.iter().flat_map(|message| message.payload.to_vec()).collect::<Vec<_>>(), long);

        let short = Bytes::from(vec![7; SHARED_BYTES_MAX]);
        let mut wire = request(&short, 1024);
        part_buffers(&mut wire);
        assert!(!short.is_unique(), "a short one is not copied");
    }
}
