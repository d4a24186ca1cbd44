//! One session stream: hello, then operations, pongs and goodbye, until it breaks.

use std::sync::Arc;
use std::time::Duration;

use roster_core::directory::{Caller, Command};
use roster_core::{InstanceId, Label, SecretHash, SessionId};
use roster_proto::convert::{invalid, parse_grace, parse_register, refuse_all};
use roster_proto::encoded::{self, Request as Wire, SessionOperation};
use roster_proto::v1;
use roster_proto::v1::farewell::Reason;
use roster_proto::v1::refusal::Code;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::budget::Crowded;
use super::{Desk, Place, Ticket, Turns, send, too_many, too_much};
use crate::mail::{Attached, DirectorMail, Origin, Request, Submission, WriterMail};
use crate::session_link::{Outgoing, SessionLink};
use crate::submission;

/// A stream that says nothing for so long after it was opened is closed.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const SECRET_BYTES: usize = 16;
/// Operations that are parsed in one go: the pushes and pings of others wait on the same threads.
const OPERATIONS_PER_TURN: usize = 512;
/// The places that a message with as many operations as it may have takes beside its own.
const FULL_MESSAGE_PLACES: usize = 15;
/// A stream that waits for the log is heard this often: more often than a check waits for its answer.
const HEARD_INTERVAL: Duration = Duration::from_millis(300);
/// What an operation takes in memory beside its record, about: the command, and its place among the answers.
const OPERATION_BYTES: usize = 256;
/// How long a drain is reported on when the caller names no deadline.
pub(super) const DRAIN_MILLIS_DEFAULT: u32 = 10_000;

pub(crate) type SessionResponses =
    tokio_stream::adapters::Map<ReceiverStream<Outgoing>, fn(Outgoing) -> Result<v1::SessionResponse, Status>>;

/// Starts the task of one stream and returns what it answers.
pub(super) fn open(desk: Desk, requests: Streaming<encoded::SessionRequest>) -> Result<SessionResponses, Status> {
    let max = desk.limits.sessions;
    let place = Place::take(&desk.gauges, |gauges| &gauges.sessions, max)
        .ok_or_else(|| too_many("sessions with a stream", max))?;
    let mut secret = vec![0; SECRET_BYTES];
    desk.entropy.fill(&mut secret).map_err(|error| Status::internal(format!("no entropy: {error}")))?;
    let (link, responses) = SessionLink::new(desk.limits.messages_in_flight, secret.into());
    let tasks = desk.tasks.clone();
    let stream = SessionStream { desk, requests, link, _place: place };
    tasks.spawn(stream.run());
    Ok(ReceiverStream::new(responses).map(|outgoing| Ok(outgoing.taken())))
}

/// What became of the wish to be on the way to the log.
enum Ticketed {
    Entered(Ticket),
    Refused(v1::Refusal),
    Ended,
}

struct SessionStream {
    desk: Desk,
    requests: Streaming<encoded::SessionRequest>,
    link: SessionLink,
    _place: Place,
}

impl SessionStream {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, for as long as the stream lives"
    )]
    fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let hello = match tokio::time::timeout(HELLO_TIMEOUT, self.requests.message()).await {
                Ok(Ok(Some(encoded::SessionRequest { request: Some(Wire::Hello(hello)) }))) => hello,
                Ok(Ok(Some(_))) => return self.protocol_error("the first request must be `hello`"),
                Err(_) => return self.protocol_error("no `hello` came in time"),
                Ok(Ok(None) | Err(_)) => return,
            };
            // What comes once is not kept in the task while the stream lives.
            let stream = match Box::pin(self.attach(hello)).await {
                Ok(attached) => attached,
                Err(refusal) => return self.refuse(&refusal),
            };
            let goodbye = self.converse(stream).await;
            if !goodbye {
                let _ = self.desk.tell_soon(DirectorMail::StreamEnded(stream)).await;
            }
        }
    }

    /// Opens or resumes the session through the log. The director sends the welcome.
    async fn attach(&mut self, hello: v1::Hello) -> Result<Attached, v1::Refusal> {
        let command = if hello.session_id == 0 {
            Command::OpenSession {
                secret: hash(&self.link.secret()),
                grace: parse_grace(hello.grace_ms)?,
                client: Label::parse("client", &hello.client).map_err(invalid)?,
            }
        } else {
            self.link.forget_secret();
            Command::ResumeSession { session: SessionId::new(hello.session_id), secret: hash(&hello.secret) }
        };
        let (reply, answer) = oneshot::channel();
        let gone = || roster_proto::convert::unavailable("the node stops");
        let ticket = self.desk.budget.enter_alone().await.ok_or_else(gone)?;
        let submission = Submission::new(vec![command], Origin::Attach { link: self.link.clone(), reply, ticket });
        send(&self.desk.writer, WriterMail::Submission(submission)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Takes requests until the stream ends; whether it ended with a goodbye.
    async fn converse(&mut self, stream: Attached) -> bool {
        let Attached { session, attachment } = stream;
        let places = self.desk.limits.messages_in_flight.min(Semaphore::MAX_PERMITS);
        let in_flight = Arc::new(Semaphore::new(places));
        loop {
            let request = tokio::select! {
                request = self.requests.message() => request,
                () = self.link.ended() => return false,
            };
            let Ok(Some(encoded::SessionRequest { request })) = request else { return false };
            match request {
                Some(Wire::Operations(operations)) => {
                    let max = self.desk.limits.operations_per_message;
                    let count = operations.operations.len();
                    if count > max {
                        self.link.end(Reason::Protocol, format!("{count} operations in one message; {max} at most"));
                        return false;
                    }
                    // A full message takes the places of many short ones: what is asked bounds what is answered.
                    let weight = (1 + count.saturating_mul(FULL_MESSAGE_PLACES) / max).min(places);
                    let weight = u32::try_from(weight).unwrap_or(u32::MAX);
                    let permit = tokio::select! {
                        permit = in_flight.clone().acquire_many_owned(weight) => permit,
                        () = self.link.ended() => return false,
                    };
                    let Ok(permit) = permit else { return false };
                    if !self.take_operations(stream, operations, permit).await {
                        return false;
                    }
                }
                Some(Wire::Pong(_)) => {
                    if self.desk.tell_soon(DirectorMail::Heard(stream)).await.is_err() {
                        return false;
                    }
                }
                Some(Wire::Goodbye(_)) => {
                    let goodbye = self.desk.submit(Command::CloseSession { session, attachment });
                    let said = Box::pin(self.while_heard(stream, goodbye)).await;
                    return said.is_some_and(|said| said.is_ok());
                }
                Some(Wire::Hello(_)) => {
                    self.link.end(Reason::Protocol, "`hello` comes once, first");
                    return false;
                }
                None => {
                    self.link.end(Reason::Protocol, "a request of a kind that this node does not know");
                    return false;
                }
            }
        }
    }

    /// Whether the stream goes on. What parses becomes commands; what does not is answered here.
    async fn take_operations(
        &self,
        stream: Attached,
        operations: encoded::Operations,
        permit: OwnedSemaphorePermit,
    ) -> bool {
        let turn = if Turns::is_long(operations.operations.len()) {
            let Some(turn) = Box::pin(self.while_heard(stream, self.desk.turns.take())).await else { return false };
            turn
        } else {
            None
        };
        let (commands, requests, refused) = parse(stream.session, operations).await;
        if commands.is_empty() {
            self.link.answer(refused, Some(permit));
            return true;
        }
        self.link.answer(refused, None);
        let submission = submission::Submission::<roster_store::Directory, ()>::new(commands, ());
        drop(turn);
        let bytes = submission.records.bytes_len() + requests.len() * OPERATION_BYTES;
        let ticket = match self.ticket(stream, bytes).await {
            Ticketed::Entered(ticket) => Some(ticket),
            Ticketed::Refused(refusal) => {
                let refused = refuse_all(requests.iter().map(|request| request.id), &refusal);
                self.link.answer(refused, Some(permit));
                return true;
            }
            Ticketed::Ended => return false,
        };
        let origin = Origin::Session { stream, link: self.link.clone(), requests, permit: Some(permit), ticket };
        send(&self.desk.writer, WriterMail::Submission(submission.for_whom(origin))).await.is_ok()
    }

    /// Waits for the node. Meanwhile nothing is read from the client: that it is not heard is the doing of the node,
    /// and counts as heard. Nothing when the node stops.
    async fn while_heard<T>(&self, stream: Attached, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = std::pin::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return Some(done),
                // A full lane has enough to take in; the next time says it as well.
                () = tokio::time::sleep(HEARD_INTERVAL) => match self.desk.urgent.try_send(DirectorMail::Heard(stream)) {
                    Ok(()) | Err(TrySendError::Full(_)) => {}
                    Err(TrySendError::Closed(_)) => return None,
                },
            }
        }
    }

    /// So many bytes on their way to the log.
    async fn ticket(&self, stream: Attached, bytes: usize) -> Ticketed {
        match self.desk.budget.try_enter(bytes) {
            Some(ticket) => Ticketed::Entered(ticket),
            None => Box::pin(self.wait_for_ticket(stream, bytes)).await,
        }
    }

    async fn wait_for_ticket(&self, stream: Attached, bytes: usize) -> Ticketed {
        let budget = &self.desk.budget;
        let Some(_waiting) = budget.wait(bytes) else {
            let limit = "bytes of messages of this size that wait for the log (a part of limits.waiting-bytes)";
            return Ticketed::Refused(too_much(limit, budget.bound(bytes, Crowded::All)));
        };
        tokio::select! {
            entered = self.while_heard(stream, budget.enter(bytes)) => {
                entered.flatten().map_or(Ticketed::Ended, Ticketed::Entered)
            }
            () = self.link.ended() => Ticketed::Ended,
        }
    }

    fn protocol_error(&self, message: &str) {
        self.link.end(Reason::Protocol, message);
    }

    fn refuse(&self, refusal: &v1::Refusal) {
        let reason = match refusal.code() {
            Code::UnknownSession | Code::Unauthorized => Reason::Expired,
            Code::ReadOnly | Code::Unavailable => Reason::Shutdown,
            Code::Unspecified
            | Code::InvalidName
            | Code::InvalidAddress
            | Code::InvalidKind
            | Code::InvalidArgument
            | Code::SessionNotConnected
            | Code::VersionTooLow
            | Code::KindConflict
            | Code::AddressInUse
            | Code::LimitExceeded
            | Code::UnknownInstance
            | Code::UnknownQueue
            | Code::QueueFull
            | Code::SettingsDiffer
            | Code::SequenceGap
            | Code::MessageTooLarge => Reason::Protocol,
        };
        self.link.end(reason, refusal.message.clone());
    }
}

/// Commands with their requests, and the answers to what is none.
async fn parse(session: SessionId, operations: encoded::Operations) -> (Vec<Command>, Vec<Request>, Vec<v1::Result>) {
    let mut commands = Vec::with_capacity(operations.operations.len());
    let mut requests = Vec::with_capacity(operations.operations.len());
    let mut refused = Vec::new();
    for (number, operation) in operations.operations.into_iter().enumerate() {
        if number % OPERATIONS_PER_TURN == OPERATIONS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        let id = operation.request_id;
        match command_of(session, operation) {
            Ok((command, drain_millis)) => {
                commands.push(command);
                requests.push(Request { id, drain_millis });
            }
            Err(refusal) => {
                refused.push(v1::Result { request_id: id, outcome: Some(v1::result::Outcome::Refusal(refusal)) });
            }
        }
    }
    (commands, requests, refused)
}

fn command_of(session: SessionId, operation: encoded::Operation) -> Result<(Command, Option<u32>), v1::Refusal> {
    match operation.operation {
        Some(SessionOperation::Register(register)) => {
            let (registration, handover, cutover) = parse_register(&register)?;
            Ok((Command::Register { session, registration, handover, cutover }, None))
        }
        Some(SessionOperation::Deregister(deregister)) => {
            Ok((Command::Deregister { session, instance: InstanceId::new(deregister.instance_id) }, None))
        }
        Some(SessionOperation::Drain(drain)) => {
            let millis = drain.deadline_ms.unwrap_or(DRAIN_MILLIS_DEFAULT);
            let caller = Caller::Session(session);
            Ok((Command::Drain { caller, instance: InstanceId::new(drain.instance_id) }, Some(millis)))
        }
        None => Err(v1::Refusal {
            code: Code::InvalidArgument.into(),
            message: "the operation is of a kind that this node does not know".into(),
            ..Default::default()
        }),
    }
}

/// The first 16 bytes of the SHA-256 of a secret.
fn hash(secret: &[u8]) -> SecretHash {
    let digest = Sha256::digest(secret);
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    SecretHash(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_stream_that_waits_is_small() {
        let bytes = bytes_of(SessionStream::run);
        assert!(bytes <= 1_536, "{bytes} bytes");
    }
}
