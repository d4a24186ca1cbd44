//! Conversations of a watch stream as scripts: what is heard, and what the machine then does.

use std::time::{Duration, Instant};

use roster_core::directory::{Event, Instance, Liveness, RemovedCause};
use roster_core::view::{Change, Group, Told};
use roster_core::{InstanceId, Position, Registration, Selector, ServiceName, SessionId, Timestamp};
use roster_proto::convert::encode_group;
use roster_proto::v1;
use roster_proto::v1::refusal::Code;

use super::machine::{Machine, Report, Settings};
use super::subscription::WatchId;
use crate::announcement::Announcement;
use crate::moment::Moment;
use crate::reconnect::BackOff;
use crate::stream::{Loss, Step};

struct Script {
    machine: Machine,
    moment: Moment,
    begun: Instant,
    epoch: u64,
}

impl Script {
    /// Watching everything as watch 1, over an open stream of epoch 5 that has said nothing.
    fn opened() -> Self {
        let moment = Moment { now: Instant::now(), chance: 1.0 };
        let settings = Settings {
            endpoints: vec!["a".into()],
            back_off: BackOff::default(),
            patience: Duration::from_secs(5),
            silence: Duration::from_secs(30),
        };
        let mut script = Self { machine: Machine::new(settings), moment, begun: moment.now, epoch: 5 };
        script.watch("");
        assert_eq!(script.wait(0), "open 0 at 0 ms\n> watch 1 \"\"\n");
        assert_eq!(script.open(), "connected to a\n");
        script
    }

    /// The same, and knowing instance 3 as of position 4.
    fn loaded() -> Self {
        let mut script = Self::opened();
        assert_eq!(
            script.hear(&[1], 4, vec![Told::Reset, up(3), Told::Loaded]),
            "#1 has 3: up 3, loaded\n> taken in 4\n"
        );
        script.wait(10);
        script
    }

    fn watch(&mut self, selector: &str) -> WatchId {
        self.machine.subscribe(self.moment, Selector::parse(selector).expect("a valid selector"))
    }

    fn open(&mut self) -> String {
        self.machine.handle_opened(self.moment);
        self.done()
    }

    fn hear(&mut self, watches: &[WatchId], position: u64, told: Vec<Told>) -> String {
        let group = encode_group(&Group { position: Position::new(position), told });
        self.hear_wire(watches, group)
    }

    fn hear_wire(&mut self, watches: &[WatchId], group: v1::EventGroup) -> String {
        let delivery = v1::Delivery { watch_ids: watches.to_vec(), group: Some(group) };
        let response = v1::WatchResponse { deliveries: vec![delivery], epoch: self.epoch };
        self.machine.handle_received(self.moment, response);
        self.done()
    }

    fn lose(&mut self) -> String {
        self.machine.handle_lost(self.moment, Loss::new("it broke"));
        self.done()
    }

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

    /// All that the machine wants done and told, a line each.
    fn done(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            if let Some(step) = self.machine.poll_step() {
                lines.push(match step {
                    Step::Open { endpoint } => {
                        format!("open {endpoint} at {} ms", (self.moment.now - self.begun).as_millis())
                    }
                    Step::HangUp => "hang up".to_owned(),
                    Step::Discard => "discard".to_owned(),
                    Step::Finish => "finish".to_owned(),
                });
            } else if let Some(report) = self.machine.poll_report() {
                lines.push(match report {
                    Report::Taken { watch, view, changes } => {
                        let ids: Vec<_> = view.all().map(|instance| instance.id.to_string()).collect();
                        let changes: Vec<_> = changes.iter().map(changed).collect();
                        format!("#{watch} has {}: {}", ids.join(" "), changes.join(", "))
                    }
                    Report::Connected { endpoint } => format!("connected to {endpoint}"),
                    Report::Disconnected { why } => format!("disconnected: {why}"),
                    Report::Refused { watch, refusal } => format!("#{watch} refused {:?}", refusal.code()),
                });
            } else if let Some(message) = self.machine.poll_message(self.moment.now) {
                lines.push(said(&message));
            } else {
                return lines.into_iter().map(|line| line + "\n").collect();
            }
        }
    }
}

fn said(message: &v1::WatchRequest) -> String {
    let mut parts = Vec::new();
    for subscribe in &message.subscribe {
        let from = match (subscribe.resume_epoch, subscribe.resume_position) {
            (0, 0) => String::new(),
            (epoch, position) => format!(" from {position} of {epoch}"),
        };
        parts.push(format!("watch {} {:?}{from}", subscribe.watch_id, subscribe.selector));
    }
    parts.extend(message.unsubscribe.iter().map(|watch| format!("end {watch}")));
    if message.acknowledged != 0 {
        parts.push(format!("taken in {}", message.acknowledged));
    }
    format!("> {}", parts.join(", "))
}

fn changed(change: &Change) -> String {
    match change {
        Change::Up(instance) => format!("up {}", instance.id),
        Change::Suspect(instance) => format!("suspect {}", instance.id),
        Change::Changed(instance) => format!("changed {}", instance.id),
        Change::Draining(instance) => format!("draining {}", instance.id),
        Change::MainChanged { .. } => "main".to_owned(),
        Change::Replaced { old, new } => format!("replaced {} {}", old.id, new.id),
        Change::Removed { instance, cause } => format!("removed {} {cause:?}", instance.id),
        Change::Loaded { .. } => "loaded".to_owned(),
    }
}

fn registration() -> Registration {
    Announcement::new("orders", "10.0.0.7", 1).expect("a valid name and address").registration().clone()
}

fn up(id: u64) -> Told {
    Told::Event(Event::Up(Instance {
        id: InstanceId::new(id),
        registration: registration().into(),
        session: SessionId::new(1),
        liveness: Liveness::Up,
        draining: false,
        pending: false,
        token: None,
        registered: Timestamp::default(),
        changed: Position::new(id),
    }))
}

fn draining(id: u64) -> Told {
    Told::Event(Event::Draining { service: registration().service, instance: InstanceId::new(id) })
}

fn removed(id: u64) -> Told {
    let service: ServiceName = registration().service;
    Told::Event(Event::Removed { service, instance: InstanceId::new(id), cause: RemovedCause::Logout })
}

#[test]
fn changes_are_taken_in_and_acknowledged() {
    let mut script = Script::loaded();
    script.wait(1_000);
    assert_eq!(script.hear(&[1], 5, vec![up(5)]), "#1 has 3 5: up 5\n> taken in 5\n");
}

#[test]
fn acknowledgements_that_follow_each_other_closely_are_one() {
    let mut script = Script::loaded();
    script.wait(1_000);
    assert_eq!(script.hear(&[1], 5, vec![up(5)]), "#1 has 3 5: up 5\n> taken in 5\n");
    assert_eq!(script.hear(&[1], 6, vec![up(6)]), "#1 has 3 5 6: up 6\n");
    assert_eq!(script.hear(&[1], 7, vec![removed(6)]), "#1 has 3 5: removed 6 Some(Logout)\n");
    assert_eq!(script.wait(999), "");
    assert_eq!(script.wait(1), "> taken in 7\n");
    assert_eq!(script.wait(10_000), "");
}

#[test]
fn w5_what_drains_is_acknowledged_soon_together_with_what_came_before() {
    let mut script = Script::loaded();
    script.wait(1_000);
    assert_eq!(script.hear(&[1], 5, vec![up(5)]), "#1 has 3 5: up 5\n> taken in 5\n");
    assert_eq!(script.hear(&[1], 6, vec![up(6)]), "#1 has 3 5 6: up 6\n");
    assert_eq!(script.hear(&[1], 7, vec![draining(6)]), "#1 has 3 5 6: draining 6\n");
    assert_eq!(script.wait(9), "");
    assert_eq!(script.wait(1), "> taken in 7\n");
    assert_eq!(script.wait(10_000), "");
}

#[test]
fn w1_a_broken_stream_is_resumed_from_what_was_taken_in() {
    let mut script = Script::loaded();
    assert_eq!(script.lose(), "disconnected: it broke\n");
    assert_eq!(script.wait(0), "open 0 at 10 ms\n> watch 1 \"\" from 4 of 5\n");
    assert_eq!(script.open(), "connected to a\n");
    assert_eq!(script.hear(&[1], 6, vec![removed(3)]), "#1 has : removed 3 Some(Logout)\n");
}

#[test]
fn w1_a_bookmark_moves_the_place_to_resume_from() {
    let mut script = Script::loaded();
    assert_eq!(script.hear(&[1], 9, vec![Told::Bookmark]), "#1 has 3: \n> taken in 9\n");
    script.lose();
    assert_eq!(script.wait(0), "open 0 at 10 ms\n> watch 1 \"\" from 9 of 5\n");
}

#[test]
fn w1_a_state_that_broke_off_is_not_visible_nor_resumed_from() {
    let mut script = Script::opened();
    assert_eq!(script.hear(&[1], 4, vec![Told::Reset, up(3)]), "#1 has : \n");
    script.lose();
    assert_eq!(script.wait(0), "open 0 at 0 ms\n> watch 1 \"\"\n");
}

#[test]
fn w1_a_reset_keeps_the_old_state_until_the_new_one_is_whole_and_tells_the_difference() {
    let mut script = Script::loaded();
    script.lose();
    script.wait(0);
    script.open();
    script.epoch = 6;
    assert_eq!(script.hear(&[1], 2, vec![Told::Reset, up(2)]), "#1 has 3: \n");
    assert_eq!(script.hear(&[1], 2, vec![Told::Loaded]), "#1 has 2: up 2, removed 3 None, loaded\n> taken in 2\n");
    script.lose();
    assert_eq!(script.wait(50), "open 0 at 60 ms\n> watch 1 \"\" from 2 of 6\n");
}

#[test]
fn w1_a_reset_that_broke_off_leaves_the_old_place_in_the_old_epoch() {
    let mut script = Script::loaded();
    script.lose();
    script.wait(0);
    script.open();
    script.epoch = 6;
    assert_eq!(script.hear(&[1], 9, vec![Told::Reset, up(9)]), "#1 has 3: \n");
    script.lose();
    assert_eq!(script.wait(50), "open 0 at 60 ms\n> watch 1 \"\" from 4 of 5\n");
}

#[test]
fn w1_what_follows_a_reset_that_broke_off_is_visible_at_once() {
    let mut script = Script::loaded();
    assert_eq!(script.hear(&[1], 9, vec![Told::Reset, up(8)]), "#1 has 3: \n");
    script.lose();
    assert_eq!(script.wait(0), "open 0 at 10 ms\n> watch 1 \"\" from 4 of 5\n");
    script.open();
    assert_eq!(script.hear(&[1], 8, vec![up(8)]), "#1 has 3 8: up 8\n");
}

#[test]
fn w2_nothing_is_acknowledged_while_a_state_is_not_whole() {
    let mut script = Script::loaded();
    script.watch("orders");
    assert_eq!(script.done(), "> watch 2 \"orders\", taken in 4\n");
    assert_eq!(script.hear(&[2], 5, vec![Told::Reset]), "#2 has : \n");
    assert_eq!(script.hear(&[1], 6, vec![up(6)]), "#1 has 3 6: up 6\n");
    let whole = script.hear(&[2], 6, vec![up(3), Told::Loaded]);
    assert_eq!(whole, "#2 has 3: up 3, loaded\n> taken in 6\n");
}

#[test]
fn a_delivery_to_nobody_in_particular_is_for_all() {
    let mut script = Script::loaded();
    script.watch("orders");
    script.done();
    script.hear(&[2], 4, vec![Told::Reset, up(3), Told::Loaded]);
    let heard = script.hear(&[], 5, vec![removed(3)]);
    assert_eq!(heard, "#1 has : removed 3 Some(Logout)\n#2 has : removed 3 Some(Logout)\n");
}

#[test]
fn w3_silence_is_loss() {
    let mut script = Script::loaded();
    assert_eq!(script.wait(29_989), "");
    let silent = "discard\ndisconnected: not a word within 30s\nopen 0 at 30000 ms\n> watch 1 \"\" from 4 of 5\n";
    assert_eq!(script.wait(1), silent);
    assert_eq!(script.wait(4_999), "");
    assert_eq!(script.wait(1), "discard\n", "the reader knows already");
}

#[test]
fn each_loss_is_told_once() {
    let mut script = Script::loaded();
    assert_eq!(script.lose(), "disconnected: it broke\n");
    script.wait(0);
    assert_eq!(script.lose(), "");
    script.wait(50);
    script.open();
    assert_eq!(script.lose(), "disconnected: it broke\n");
}

#[test]
fn w4_the_stream_ends_with_the_last_watch_and_begins_with_the_next() {
    let mut script = Script::loaded();
    script.watch("orders");
    script.done();
    script.machine.unsubscribe(2);
    assert_eq!(script.done(), "> end 2, taken in 4\n");
    script.machine.unsubscribe(1);
    assert_eq!(script.done(), "hang up\n");
    assert_eq!(script.wait(60_000), "");
    script.watch("orders");
    assert_eq!(script.wait(0), "open 0 at 60010 ms\n> watch 3 \"orders\"\n");
    script.machine.finish();
    assert_eq!(script.done(), "hang up\nfinish\n");
}

#[test]
fn what_comes_for_a_watch_that_has_ended_is_dropped() {
    let mut script = Script::loaded();
    script.watch("orders");
    script.done();
    script.machine.unsubscribe(2);
    script.done();
    assert_eq!(script.hear(&[2], 5, vec![Told::Reset, up(3), Told::Loaded]), "> taken in 5\n");
}

fn refuse(code: Code) -> v1::EventGroup {
    let refusal = v1::Refusal { code: code.into(), ..Default::default() };
    v1::EventGroup { position: 0, events: vec![v1::Event { event: Some(v1::event::Event::Refused(refusal)) }] }
}

#[test]
fn w2_a_watch_that_ends_before_it_is_whole_holds_no_acknowledgement_back() {
    let mut script = Script::loaded();
    script.watch("orders");
    script.done();
    script.hear(&[2], 5, vec![Told::Reset]);
    assert_eq!(script.hear(&[1], 6, vec![up(6)]), "#1 has 3 6: up 6\n");
    script.machine.unsubscribe(2);
    assert_eq!(script.done(), "> end 2, taken in 6\n");
    // Nor does one that is refused, and told of nevertheless.
    script.watch("orders");
    script.done();
    script.hear_wire(&[3], refuse(Code::InvalidName));
    script.hear(&[3], 7, vec![Told::Reset]);
    assert_eq!(script.hear(&[1], 8, vec![up(8)]), "#1 has 3 6 8: up 8\n");
    script.machine.unsubscribe(3);
    assert_eq!(script.wait(1_000), "> taken in 8\n");
}

#[test]
fn a_refused_watch_is_tried_again_when_that_may_help() {
    let mut script = Script::opened();
    assert_eq!(script.hear_wire(&[1], refuse(Code::LimitExceeded)), "#1 refused LimitExceeded\n");
    assert_eq!(script.wait(999), "");
    assert_eq!(script.wait(1), "> watch 1 \"\"\n");
    assert_eq!(script.hear_wire(&[1], refuse(Code::InvalidName)), "#1 refused InvalidName\n");
    assert_eq!(script.wait(29_999), "");
}

#[test]
fn an_event_of_a_newer_node_is_left_out() {
    let mut script = Script::loaded();
    let unknown = v1::EventGroup { position: 5, events: vec![v1::Event { event: None }] };
    assert_eq!(script.hear_wire(&[1], unknown), "");
}

#[test]
fn what_makes_no_sense_ends_the_stream_and_everything_is_asked_anew() {
    let mut script = Script::loaded();
    let nonsense = v1::event::Event::Up(v1::Instance::default());
    let group = v1::EventGroup { position: 5, events: vec![v1::Event { event: Some(nonsense) }] };
    let heard = script.hear_wire(&[1], group);
    assert!(heard.starts_with("hang up\ndisconnected: the node tells what makes no sense"), "{heard}");
    assert_eq!(script.wait(0), "open 0 at 10 ms\n> watch 1 \"\"\n");
}
