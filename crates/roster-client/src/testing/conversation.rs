//! The node's side of a session stream.

use std::sync::Arc;

use prost::bytes::Bytes;
use roster_core::directory::{Caller, Command, Outcome, SuspectReason};
use roster_core::{Label, Position, SessionId};
use roster_proto::convert::{encode_instance, invalid, parse_grace, parse_register, status_of};
use roster_proto::encoded::{self, Request, SessionOperation as Ask};
use roster_proto::v1;
use roster_proto::v1::farewell::Reason;
use roster_proto::v1::result::Outcome as Answer;
use roster_proto::v1::session_response::Response;
use tokio::time::{Duration, Instant};
use tonic::Streaming;

use super::ledger::{Attached, Book, Ledger, SessionSender, instance_id, tell};

/// A drain that names no deadline.
pub(super) const DRAIN_DEADLINE_MILLIS: u32 = 10_000;

/// Speaks until the stream ends.
pub(super) async fn converse(book: Arc<Book>, mut requests: Streaming<encoded::SessionRequest>, sender: SessionSender) {
    let hello = match requests.message().await {
        Ok(Some(encoded::SessionRequest { request: Some(Request::Hello(hello)) })) => hello,
        Ok(_) | Err(_) => return dismiss(&sender, Reason::Protocol, "the first request is hello"),
    };
    let (session, attachment, epoch, interval) = match book.with(|ledger| ledger.attach(&hello, &sender)) {
        Ok(attached) => attached,
        Err(refusal) => {
            let _ = sender.try_send(Err(status_of(&refusal)));
            return;
        }
    };
    let mut last_word = Instant::now();
    let mut pinged = false;
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            () = tokio::time::sleep_until(last_word + if pinged { 2 * interval } else { interval }) => {
                if pinged {
                    return book.with(|ledger| {
                        if ledger.epoch == epoch {
                            ledger.lose(session, attachment, SuspectReason::PingTimeout);
                        }
                    });
                }
                pinged = true;
                tell(&sender, Response::Ping(v1::Ping { nonce: 1 }));
                continue;
            }
        };
        last_word = Instant::now();
        pinged = false;
        let request = request.ok().flatten().and_then(|request| request.request);
        let goes_on = book.with(|ledger| {
            if ledger.epoch != epoch {
                return false; // a stream of before the restart
            }
            match request {
                Some(Request::Operations(operations)) => ledger.operate(session, operations, &sender),
                Some(Request::Pong(_) | Request::Hello(_)) => {}
                Some(Request::Goodbye(_)) => {
                    ledger.streams.remove(&session);
                    ledger.apply(Command::CloseSession { session, attachment });
                    ledger.tell_owners();
                    dismiss(&sender, Reason::Goodbye, "");
                    return false;
                }
                None => {
                    ledger.lose(session, attachment, SuspectReason::StreamClosed);
                    return false;
                }
            }
            true
        });
        if !goes_on {
            return;
        }
    }
}

pub(super) fn dismiss(sender: &SessionSender, reason: Reason, message: &str) {
    let farewell = v1::Farewell { reason: reason.into(), message: message.to_owned() };
    tell(sender, Response::Farewell(farewell));
}

impl Ledger {
    fn attach(
        &mut self,
        hello: &v1::Hello,
        sender: &SessionSender,
    ) -> Result<(SessionId, Position, u64, Duration), v1::Refusal> {
        let command = if hello.session_id == 0 {
            let secret: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
            let client = Label::parse("client", &hello.client).map_err(invalid)?;
            let open =
                Command::OpenSession { secret: Ledger::hash(&secret), grace: parse_grace(hello.grace_ms)?, client };
            (open, Bytes::copy_from_slice(&secret))
        } else {
            let session = SessionId::new(hello.session_id);
            (Command::ResumeSession { session, secret: Ledger::hash(&hello.secret) }, Bytes::new())
        };
        let (command, secret) = command;
        let (attachment, outcome) = self.apply(command);
        let (session, resumed) = match outcome {
            Outcome::Opened { session } => (session, false),
            Outcome::Resumed { session } => (session, true),
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Done | Outcome::Active { .. } | Outcome::Pending { .. } | Outcome::Stale => {
                return Err(v1::Refusal::default());
            }
        };
        let attached = Attached { attachment, sender: sender.clone() };
        if let Some(former) = self.streams.insert(session, attached) {
            dismiss(&former.sender, Reason::ResumedElsewhere, "another stream has resumed this session");
        }
        let grace_ms = self.directory.session(session).map_or(0, |known| known.grace.millis());
        let instances = self.directory.session_instances(session);
        let welcome = v1::Welcome {
            session_id: session.get(),
            secret,
            resumed,
            grace_ms,
            ping_interval_ms: u32::try_from(self.ping_interval.as_millis()).unwrap_or(u32::MAX),
            instances: instances.iter().map(encode_instance).collect(),
        };
        tell(sender, Response::Welcome(welcome));
        self.tell_owners();
        Ok((session, attachment, self.epoch, self.ping_interval))
    }

    fn operate(&mut self, session: SessionId, operations: encoded::Operations, sender: &SessionSender) {
        let mut results = Vec::new();
        let mut drains = Vec::new();
        for operation in operations.operations {
            let answer = match operation.operation {
                Some(Ask::Register(register)) => self.take_registration(session, &register),
                Some(Ask::Deregister(deregister)) => {
                    let instance = instance_id(deregister.instance_id);
                    let (position, outcome) = self.apply(Command::Deregister { session, instance });
                    answer(position, outcome)
                }
                Some(Ask::Drain(drain)) => {
                    let instance = instance_id(drain.instance_id);
                    let caller = Caller::Session(session);
                    let (position, outcome) = self.apply(Command::Drain { caller, instance });
                    if outcome == Outcome::Done {
                        drains.push((instance, drain.deadline_ms.unwrap_or(DRAIN_DEADLINE_MILLIS)));
                    }
                    answer(position, outcome)
                }
                None => Answer::Refusal(v1::Refusal::default()),
            };
            results.push(v1::Result { request_id: operation.request_id, outcome: Some(answer) });
        }
        tell(sender, Response::Results(v1::Results { results }));
        self.tell_owners();
        for (instance, deadline_ms) in drains {
            let sender = sender.clone();
            self.follow_drain(instance, deadline_ms, move |progress| tell(&sender, Response::DrainProgress(progress)));
        }
    }

    pub(super) fn follow_drain(
        &mut self,
        instance: roster_core::InstanceId,
        deadline_ms: u32,
        sink: impl Fn(v1::DrainProgress) + Send + 'static,
    ) {
        let Some(known) = self.directory.instance(instance) else { return };
        let drain = self.watchers.drain(instance, &known.registration.service, known.changed, Box::new(sink));
        self.end_drain_in(Duration::from_millis(deadline_ms.into()), drain);
    }

    fn take_registration(&mut self, session: SessionId, register: &encoded::Register) -> Answer {
        self.registrations += 1;
        if let Some(refusal) = self.refusals.pop_front() {
            return Answer::Refusal(refusal);
        }
        match parse_register(register) {
            Ok((registration, handover, cutover)) => {
                let (position, outcome) = self.apply(Command::Register { session, registration, handover, cutover });
                answer(position, outcome)
            }
            Err(refusal) => Answer::Refusal(refusal),
        }
    }
}

fn answer(position: Position, outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Active { instance, changed, token } => Answer::Active(v1::Active {
            instance_id: instance.get(),
            position: changed.get(),
            fencing_token: token.map_or(0, roster_core::Token::get),
        }),
        Outcome::Pending { instance, ahead } => {
            Answer::Pending(v1::Pending { instance_id: instance.get(), ahead: ahead.get() })
        }
        Outcome::Refused(refusal) => Answer::Refusal(refusal.into()),
        Outcome::Done | Outcome::Opened { .. } | Outcome::Resumed { .. } | Outcome::Stale => {
            Answer::Done(v1::Done { position: position.get() })
        }
    }
}
