//! Conversations of a session as scripts: what is heard, and what the machine then does.

use std::time::{Duration, Instant};

use roster_core::Grace;
use roster_proto::convert::{encode_instance, refuse_all};
use roster_proto::v1;
use roster_proto::v1::farewell::Reason;
use roster_proto::v1::operation::Operation as Ask;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::result::Outcome;
use roster_proto::v1::session_request::Request;
use roster_proto::v1::session_response::Response;

use super::book::Report;
use super::entry::Key;
use super::machine::{Machine, Settings};
use super::state::{Connection, DrainStanding, State};
use crate::announcement::Announcement;
use crate::moment::Moment;
use crate::reconnect::BackOff;
use crate::stream::{Loss, Step};

struct Script {
    machine: Machine,
    moment: Moment,
    begun: Instant,
}

impl Script {
    fn new(endpoints: &[&str]) -> Self {
        // With all the luck there is, a pause is as long as it can be.
        let moment = Moment { now: Instant::now(), chance: 1.0 };
        let settings = Settings {
            name: "test".to_owned(),
            grace: Grace::default(),
            endpoints: endpoints.iter().map(|url| (*url).into()).collect(),
            back_off: BackOff::default(),
            patience: Duration::from_secs(5),
        };
        Self { machine: Machine::new(settings, moment), moment, begun: moment.now }
    }

    /// Welcomed as session 7, owning nothing.
    fn welcomed() -> Self {
        let mut script = Self::new(&["a"]);
        script.wait(0);
        script.hear(welcome(7, false, &[]));
        script
    }

    fn announce(&mut self, port: u16) -> Key {
        self.machine.book.announce(orders(port))
    }

    /// Lets time pass, stopping wherever the machine asked to be woken.
    fn wait(&mut self, millis: u64) -> String {
        let until = self.moment.now + Duration::from_millis(millis);
        let mut done = String::new();
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.moment.now = at.max(self.moment.now);
            self.machine.handle_timeout(self.moment);
            done += &self.done();
        }
        self.moment.now = until;
        done
    }

    fn hear(&mut self, response: Response) -> String {
        self.machine.handle_received(self.moment, v1::SessionResponse { response: Some(response) });
        self.done()
    }

    fn lose(&mut self, loss: Loss) -> String {
        self.machine.handle_lost(self.moment, loss);
        self.done()
    }

    /// All that the machine wants done and told, a line each.
    fn done(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            if let Some(step) = self.machine.poll_step() {
                lines.push(match step {
                    Step::Open { endpoint } => format!("open {endpoint} at {} ms", self.millis()),
                    Step::HangUp => "hang up".to_owned(),
                    Step::Discard => "discard".to_owned(),
                    Step::Finish => "finish".to_owned(),
                });
            } else if let Some(connection) = self.machine.poll_connection() {
                lines.push(match connection {
                    Connection::Connecting => "connecting".to_owned(),
                    Connection::Connected { session, endpoint } => format!("connected to {endpoint} as {session}"),
                    Connection::Away { why, .. } => format!("away: {why}"),
                    Connection::Ended { why } => format!("ended: {why}"),
                });
            } else if let Some(report) = self.machine.book.poll_report() {
                lines.push(match report {
                    Report::Standing(key, standing) => format!("#{key} {}", state(&standing.state)),
                    Report::Drain(key, DrainStanding::Asked) => format!("#{key} drain asked"),
                    Report::Drain(key, DrainStanding::Progress(progress)) => {
                        let over = if progress.finished { ", over" } else { "" };
                        format!("#{key} drain {} of {}{over}", progress.seen, progress.watchers)
                    }
                    Report::Drain(key, DrainStanding::Refused(_)) => format!("#{key} drain refused"),
                });
            } else if let Some(message) = self.machine.poll_message(self.moment.now) {
                lines.push(said(message.request));
            } else {
                return lines.into_iter().map(|line| line + "\n").collect();
            }
        }
    }

    fn millis(&self) -> u128 {
        (self.moment.now - self.begun).as_millis()
    }
}

fn state(state: &State) -> String {
    match state {
        State::Waiting => "waiting".to_owned(),
        State::Active { instance, .. } => format!("active {instance}"),
        State::Pending { instance, ahead } => format!("pending {instance} behind {ahead}"),
        State::Refused(refusal) => format!("refused {:?}", refusal.code()),
        State::Offline { reason, .. } => format!("offline {reason:?}"),
        State::Ended => "ended".to_owned(),
    }
}

fn said(request: Option<Request>) -> String {
    match request {
        Some(Request::Hello(hello)) if hello.session_id == 0 => "> hello".to_owned(),
        Some(Request::Hello(hello)) => format!("> hello again {} {:?}", hello.session_id, hello.secret),
        Some(Request::Pong(pong)) => format!("> pong {}", pong.nonce),
        Some(Request::Goodbye(_)) => "> goodbye".to_owned(),
        Some(Request::Operations(operations)) => {
            let asked = operations.operations.into_iter().map(|operation| match operation.operation {
                Some(Ask::Register(register)) => {
                    let registration = register.registration.unwrap_or_default();
                    format!("{}: register {}", operation.request_id, registration.port)
                }
                Some(Ask::Deregister(ask)) => format!("{}: deregister {}", operation.request_id, ask.instance_id),
                Some(Ask::Drain(ask)) => {
                    format!("{}: drain {} for {:?} ms", operation.request_id, ask.instance_id, ask.deadline_ms)
                }
                None => "nothing".to_owned(),
            });
            format!("> {}", asked.collect::<Vec<_>>().join(", "))
        }
        None => "> nothing".to_owned(),
    }
}

fn orders(port: u16) -> Announcement {
    Announcement::new("orders", "10.0.0.7", port).expect("a valid name and address")
}

fn welcome(session: u64, resumed: bool, owned: &[(u64, u16)]) -> Response {
    let instance = |(id, port): &(u64, u16)| {
        encode_instance(&roster_core::directory::Instance {
            id: roster_core::InstanceId::new(*id),
            registration: orders(*port).registration().clone().into(),
            session: roster_core::SessionId::new(session),
            liveness: roster_core::directory::Liveness::Up,
            draining: false,
            pending: false,
            token: None,
            registered: roster_core::Timestamp::default(),
            changed: roster_core::Position::default(),
        })
    };
    Response::Welcome(v1::Welcome {
        session_id: session,
        secret: if resumed { Vec::new().into() } else { b"key".to_vec().into() },
        resumed,
        grace_ms: 3000,
        ping_interval_ms: 5000,
        instances: owned.iter().map(instance).collect(),
    })
}

fn result(request_id: u64, outcome: Outcome) -> Response {
    Response::Results(v1::Results { results: vec![v1::Result { request_id, outcome: Some(outcome) }] })
}

fn active(request_id: u64, instance_id: u64) -> Response {
    result(request_id, Outcome::Active(v1::Active { instance_id, position: instance_id, fencing_token: 0 }))
}

fn done(request_id: u64) -> Response {
    result(request_id, Outcome::Done(v1::Done { position: 99 }))
}

fn refusal(code: Code) -> v1::Refusal {
    v1::Refusal { code: code.into(), message: "no".to_owned(), ..Default::default() }
}

fn refused(request_id: u64, code: Code) -> Response {
    result(request_id, Outcome::Refusal(refusal(code)))
}

fn farewell(reason: Reason) -> Response {
    Response::Farewell(v1::Farewell { reason: reason.into(), message: String::new() })
}

fn offline(instance_id: u64, reason: v1::offline::Reason, deadline_ms: u32) -> Response {
    let notice = v1::notice::Notice::Offline(v1::Offline { reason: reason.into(), deadline_ms });
    Response::Notice(v1::Notice { instance_id, position: 50, notice: Some(notice) })
}

#[test]
fn what_was_announced_before_the_welcome_is_asked_for_after_it() {
    let mut script = Script::new(&["a"]);
    script.announce(1);
    script.announce(2);
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello\n");
    assert_eq!(script.hear(welcome(7, false, &[])), "connected to a as 7\n> 1: register 1, 2: register 2\n");
    assert_eq!(script.hear(active(1, 11)), "#1 active 11\n");
    assert_eq!(script.hear(active(2, 12)), "#2 active 12\n");
}

#[test]
fn r1_one_goes_out_at_once_and_the_rest_gathers_until_it_is_answered() {
    let mut script = Script::welcomed();
    script.announce(1);
    assert_eq!(script.done(), "> 1: register 1\n");
    script.announce(2);
    script.announce(3);
    assert_eq!(script.done(), "");
    assert_eq!(script.hear(active(1, 11)), "#1 active 11\n> 2: register 2, 3: register 3\n");
}

#[test]
fn operations_that_are_refused_together_each_say_why() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    script.announce(2);
    script.announce(3);
    script.announce(4);
    script.hear(active(1, 11));
    let results = refuse_all([2, 3], &refusal(Code::LimitExceeded));
    let wordless = v1::Refusal { code: Code::LimitExceeded.into(), ..Default::default() };
    for response in [Response::Results(v1::Results { results }), result(4, Outcome::Refusal(wordless))] {
        script.machine.handle_received(script.moment, v1::SessionResponse { response: Some(response) });
    }
    for why in ["no", "no", "the node gives no reason but CODE_LIMIT_EXCEEDED"] {
        let Some(Report::Standing(_, told)) = script.machine.book.poll_report() else { panic!("nothing is told") };
        assert!(matches!(&told.state, State::Refused(refusal) if refusal.message == why), "{told:?}");
    }
}

#[test]
fn s1_a_lost_stream_is_resumed_and_r2_the_node_brought_to_what_is_wanted() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    script.hear(active(1, 11));
    assert_eq!(script.lose(Loss::new("it broke")), "away: it broke\n#1 waiting\n");
    script.announce(2);
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello again 7 b\"key\"\n");
    let heard = script.hear(welcome(7, true, &[(11, 1), (13, 3)]));
    assert_eq!(heard, "connected to a as 7\n#1 active 11\n> 2: deregister 13, 3: register 2\n");
    assert_eq!(script.hear(done(2)), "");
    assert_eq!(script.hear(active(3, 12)), "#2 active 12\n");
}

#[test]
fn r2_what_the_node_has_otherwise_or_has_not_answered_is_asked_for_again() {
    let mut script = Script::welcomed();
    let moved = script.announce(1);
    script.announce(2);
    script.done();
    script.hear(active(1, 11));
    script.lose(Loss::new("it broke"));
    script.machine.book.update(moved, orders(1).weight(7));
    script.wait(0);
    let heard = script.hear(welcome(7, true, &[(11, 1), (12, 2)]));
    assert_eq!(heard, "connected to a as 7\n> 3: register 1, 4: register 2\n");
}

#[test]
fn r2_what_the_node_remembers_otherwise_or_lets_wait_is_asked_for_again() {
    let mut script = Script::welcomed();
    script.machine.book.announce(orders(1).weight(7));
    script.announce(2);
    script.done();
    script.hear(active(1, 11));
    script.hear(result(2, Outcome::Pending(v1::Pending { instance_id: 12, ahead: 9 })));
    script.lose(Loss::new("it broke"));
    script.wait(0);
    let mut welcome = welcome(7, true, &[(11, 1), (12, 2)]);
    if let Response::Welcome(welcome) = &mut welcome {
        welcome.instances[1].pending = true;
    }
    assert_eq!(script.hear(welcome), "connected to a as 7\n> 3: register 1, 4: register 2\n");
}

#[test]
fn s1_a_session_that_the_node_does_not_know_is_opened_anew_at_once() {
    for code in [Code::UnknownSession, Code::Unauthorized] {
        let mut script = Script::welcomed();
        script.lose(Loss::new("it broke"));
        script.wait(0);
        let loss = Loss { why: "who are you".to_owned(), refusal: Some(refusal(code)) };
        assert_eq!(script.lose(loss), "away: who are you\n");
        assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello\n");
    }
}

#[test]
fn s1_a_session_that_is_forgotten_or_expired_while_it_stands_is_opened_anew() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    let heard = script.hear(refused(1, Code::UnknownSession));
    assert_eq!(heard, "hang up\naway: the node does not know the session any more\n");
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello\n");
    assert_eq!(script.hear(welcome(8, false, &[])), "connected to a as 8\n> 2: register 1\n");
    assert_eq!(script.hear(farewell(Reason::Expired)), "hang up\naway: the session has expired\n");
    assert_eq!(script.wait(50), "open 0 at 50 ms\n> hello\n");
}

#[test]
fn s1_a_session_whose_stream_the_node_has_given_up_is_resumed() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    let heard = script.hear(refused(1, Code::SessionNotConnected));
    assert_eq!(heard, "hang up\naway: the node has given this stream up\n");
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello again 7 b\"key\"\n");
}

#[test]
fn attempts_go_round_the_addresses_and_pause_after_each_round() {
    let mut script = Script::new(&["a", "b"]);
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello\n");
    script.lose(Loss::new("no"));
    assert_eq!(script.wait(0), "open 1 at 0 ms\n> hello\n");
    script.lose(Loss::new("no"));
    assert_eq!(script.wait(49), "");
    assert_eq!(script.wait(1), "open 0 at 50 ms\n> hello\n");
    assert_eq!(script.hear(welcome(7, false, &[])), "connected to a as 7\n");
    assert_eq!(script.hear(farewell(Reason::Shutdown)), "hang up\naway: the node stops\n");
    assert_eq!(script.wait(0), "open 1 at 50 ms\n> hello again 7 b\"key\"\n");
}

#[test]
fn s2_a_ping_is_answered_at_once_and_silence_is_loss() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    script.hear(active(1, 11));
    script.announce(2);
    assert_eq!(script.done(), "> 2: register 2\n");
    assert_eq!(script.wait(14_000), "");
    assert_eq!(script.hear(Response::Ping(v1::Ping { nonce: 9 })), "> pong 9\n");
    assert_eq!(script.wait(14_999), "");
    let silent = "discard\naway: not a word within 15s\n#1 waiting\nopen 0 at 29000 ms\n> hello again 7 b\"key\"\n";
    assert_eq!(script.wait(1), silent);
}

#[test]
fn s2_a_node_that_does_not_welcome_is_left() {
    let mut script = Script::new(&["a"]);
    script.wait(0);
    assert_eq!(script.wait(4_999), "");
    assert_eq!(script.wait(1), "discard\naway: no welcome within 5s\n");
    assert_eq!(script.wait(50), "open 0 at 5050 ms\n> hello\n");
}

#[test]
fn s2_results_that_do_not_come_are_not_awaited_for_ever() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    for _ in 0..5 {
        assert_eq!(script.wait(5_000), "");
        script.hear(Response::Ping(v1::Ping { nonce: 1 }));
    }
    assert!(script.wait(5_000).starts_with("discard\naway: no results within 30s\n"));
}

#[test]
fn s3_who_is_resumed_elsewhere_stops() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    let ended = "hang up\nfinish\nended: another process has resumed this session\n#1 ended\n";
    assert_eq!(script.hear(farewell(Reason::ResumedElsewhere)), ended);
    assert_eq!(script.machine.poll_timeout(), None);
}

#[test]
fn s4_goodbye_waits_for_the_farewell_but_not_for_ever() {
    let mut script = Script::welcomed();
    script.machine.leave(script.moment);
    assert_eq!(script.done(), "> goodbye\n");
    assert_eq!(script.hear(farewell(Reason::Goodbye)), "hang up\nfinish\nended: closed\n");
    assert_eq!(script.machine.farewell(), Some(&Ok(())));

    let mut script = Script::welcomed();
    script.machine.leave(script.moment);
    script.done();
    assert_eq!(script.wait(2_999), "");
    assert_eq!(script.wait(1), "hang up\nfinish\nended: no farewell came in time\n");
}

#[test]
fn s4_who_never_had_a_session_leaves_at_once_and_who_is_away_tries_to_say_goodbye() {
    let mut script = Script::new(&["a"]);
    script.machine.leave(script.moment);
    assert_eq!(script.done(), "hang up\nfinish\nended: closed\n");

    let mut script = Script::welcomed();
    script.lose(Loss::new("it broke"));
    script.machine.leave(script.moment);
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> hello again 7 b\"key\"\n");
    assert_eq!(script.hear(welcome(7, true, &[])), "connected to a as 7\n> goodbye\n");
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_slower_and_slower() {
    let codes = [Code::ReadOnly, Code::LimitExceeded, Code::AddressInUse, Code::VersionTooLow];
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    for ((code, request), pause) in codes.into_iter().zip(1..).zip([1_000, 2_000, 4_000, 8_000]) {
        assert_eq!(script.hear(refused(request, code)), format!("#1 refused {code:?}\n"));
        assert_eq!(script.wait(pause - 1), "");
        assert_eq!(script.wait(1), format!("> {}: register 1\n", request + 1));
    }
    assert_eq!(script.hear(active(5, 11)), "#1 active 11\n");
}

#[test]
fn a_refusal_that_will_not_pass_is_kept_until_an_update() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    assert_eq!(script.hear(refused(1, Code::KindConflict)), "#1 refused KindConflict\n");
    assert_eq!(script.wait(14_999), "");
    script.machine.book.update(key, orders(1).version(2));
    assert_eq!(script.done(), "> 2: register 1\n");
}

#[test]
fn r3_who_is_told_to_leave_is_not_registered_again_but_by_an_update() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    script.hear(active(1, 11));
    let told = script.hear(offline(11, v1::offline::Reason::Superseded, 0));
    assert_eq!(told, "#1 offline Superseded\n");
    assert_eq!(script.lose(Loss::new("it broke")), "away: it broke\n");
    script.wait(0);
    assert_eq!(script.hear(welcome(7, true, &[])), "connected to a as 7\n");
    script.machine.book.update(key, orders(1).version(2));
    assert_eq!(script.done(), "> 2: register 1\n");
    assert_eq!(script.hear(active(2, 14)), "#1 active 14\n");
}

#[test]
fn r3_who_is_drained_by_an_operator_stays_until_it_leaves_by_itself() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    script.hear(active(1, 11));
    script.hear(offline(11, v1::offline::Reason::Drained, 0));
    script.lose(Loss::new("it broke"));
    script.wait(0);
    assert_eq!(script.hear(welcome(7, true, &[(11, 1)])), "connected to a as 7\n");
    script.machine.book.withdraw(key);
    assert_eq!(script.done(), "> 2: deregister 11\n");
    assert_eq!(script.hear(done(2)), "#1 ended\n");
}

#[test]
fn r4_a_place_has_one_entry() {
    let mut script = Script::welcomed();
    let older = script.announce(1);
    script.done();
    script.hear(active(1, 11));
    script.announce(1);
    assert_eq!(script.done(), "#1 ended\n> 2: register 1\n");
    script.machine.book.withdraw(older);
    assert_eq!(script.hear(active(2, 11)), "#2 active 11\n");
    assert_eq!(script.done(), "");
}

#[test]
fn r2_what_moves_onto_the_place_of_another_handle_leaves_its_old_place() {
    let mut script = Script::welcomed();
    let moved = script.announce(1);
    script.announce(2);
    script.done();
    script.hear(active(1, 11));
    script.done();
    script.hear(active(2, 12));
    script.machine.book.update(moved, orders(2));
    assert_eq!(script.done(), "#2 ended\n> 3: deregister 11, 4: register 2\n");
    assert_eq!(script.hear(active(4, 12)), "#1 active 12\n");
    let notice = offline(11, v1::offline::Reason::Superseded, 0);
    assert_eq!(script.hear(notice), "", "what it was before is not its any more");
}

#[test]
fn who_takes_a_place_that_another_handle_leaves_is_not_deregistered_with_it() {
    let answer = |id, instance_id| v1::Result {
        request_id: id,
        outcome: Some(Outcome::Active(v1::Active { instance_id, position: instance_id, fencing_token: 0 })),
    };
    let mut script = Script::welcomed();
    let moved = script.announce(1);
    script.done();
    script.hear(active(1, 11));
    script.announce(3);
    script.done();
    script.machine.book.update(moved, orders(2));
    script.announce(1);
    assert_eq!(script.hear(active(2, 13)), "#2 active 13\n> 3: register 2, 4: register 1\n");
    let both = Response::Results(v1::Results { results: vec![answer(3, 12), answer(4, 11)] });
    assert_eq!(script.hear(both), "#1 active 12\n#3 active 11\n");
}

#[test]
fn r2_the_answer_to_a_place_that_was_left_before_its_handle_ended_is_a_stray() {
    let mut script = Script::welcomed();
    let moved = script.announce(1);
    script.done();
    script.machine.book.update(moved, orders(2));
    script.announce(2);
    assert_eq!(script.done(), "#1 ended\n");
    assert_eq!(script.hear(active(1, 11)), "> 2: deregister 11, 3: register 2\n");
}

#[test]
fn what_is_withdrawn_while_it_is_being_registered_is_deregistered_when_answered() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    script.machine.book.withdraw(key);
    assert_eq!(script.done(), "");
    assert_eq!(script.hear(active(1, 11)), "#1 active 11\n> 2: deregister 11\n");
    assert_eq!(script.hear(refused(2, Code::UnknownInstance)), "#1 ended\n");
}

#[test]
fn what_moves_is_registered_at_its_new_place_before_it_leaves_the_old_one() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    script.hear(active(1, 11));
    script.machine.book.update(key, orders(2));
    assert_eq!(script.done(), "> 2: register 2\n");
    assert_eq!(script.hear(active(2, 12)), "#1 active 12\n> 3: deregister 11\n");
}

#[test]
fn an_update_while_the_former_facts_are_under_way_follows_them() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    script.machine.book.update(key, orders(1).weight(7));
    assert_eq!(script.done(), "");
    assert_eq!(script.hear(active(1, 11)), "#1 active 11\n> 2: register 1\n");
}

#[test]
fn a_pending_singleton_is_promoted() {
    let mut script = Script::welcomed();
    script.announce(1);
    script.done();
    let pending = result(1, Outcome::Pending(v1::Pending { instance_id: 12, ahead: 11 }));
    assert_eq!(script.hear(pending), "#1 pending 12 behind 11\n");
    let promoted = v1::notice::Notice::Promoted(v1::Promoted { fencing_token: 60 });
    let notice = v1::Notice { instance_id: 12, position: 60, notice: Some(promoted) };
    assert_eq!(script.hear(Response::Notice(notice)), "#1 active 12\n");
}

#[test]
fn a_drain_goes_on_after_a_reconnect_with_the_time_that_is_left() {
    let mut script = Script::welcomed();
    let key = script.announce(1);
    script.done();
    script.hear(active(1, 11));
    assert!(script.machine.book.drain(key, script.moment.now + Duration::from_secs(10)));
    assert_eq!(script.done(), "#1 drain asked\n> 2: drain 11 for Some(10000) ms\n");
    assert_eq!(script.hear(done(2)), "#1 drain 0 of 0\n");
    let progress = v1::DrainProgress { instance_id: 11, seen: 1, watchers: 3, finished: false };
    assert_eq!(script.hear(Response::DrainProgress(progress)), "#1 drain 1 of 3\n");
    script.wait(4_000);
    script.lose(Loss::new("it broke"));
    script.wait(0);
    let heard = script.hear(welcome(7, true, &[(11, 1)]));
    assert_eq!(heard, "connected to a as 7\n#1 active 11\n> 3: drain 11 for Some(6000) ms\n");
    script.hear(done(3));
    assert_eq!(script.wait(7_000), "#1 drain 1 of 3, over\n", "its deadline and the slack have passed");
}
