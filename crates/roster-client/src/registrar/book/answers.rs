//! What the node answers and tells.

use std::time::{Duration, Instant};

use roster_core::{InstanceId, Position, Token};
use roster_proto::convert::{Advice, RefusalWords};
use roster_proto::v1;
use roster_proto::v1::refusal::Code;
use roster_proto::v1::result::Outcome;

use super::{Asked, Book, REFUSED, Report, Verdict};
use crate::moment::Moment;
use crate::registrar::entry::{Desire, Key, Place};
use crate::registrar::state::{DrainStanding, State, parse_reason};

impl Book {
    /// The results of what was asked.
    pub(in crate::registrar) fn handle_results(&mut self, moment: Moment, results: v1::Results) -> Verdict {
        let mut verdict = Verdict::Fine;
        let mut words = RefusalWords::default();
        for mut result in results.results {
            if let Some(Outcome::Refusal(refusal)) = &mut result.outcome {
                words.complete(refusal);
            }
            let (Some(asked), Some(outcome)) = (self.asked.remove(&result.request_id), result.outcome) else {
                tracing::debug!(request = result.request_id, "a result that nobody awaits");
                continue;
            };
            if let Outcome::Refusal(refusal) = &outcome {
                if refusal.code() == Code::UnknownSession {
                    verdict = Verdict::SessionLost;
                } else if refusal.code() == Code::SessionNotConnected {
                    verdict = Verdict::StreamGivenUp;
                }
            }
            if verdict != Verdict::Fine {
                continue; // all that is wanted is asked for again after the next welcome
            }
            match asked {
                Asked::Register { key, generation, place } => {
                    if self.entries.contains_key(&key) {
                        self.registered(moment, key, generation, outcome);
                    } else {
                        self.registered_for_nobody(key, &place, &outcome);
                    }
                }
                Asked::Deregister { key } => self.deregistered(moment, key, &outcome),
                Asked::Drain { key } => self.drain_accepted(key, outcome),
                // Refused or not: what is still there at the next welcome is asked again then.
                Asked::Stray => {}
            }
        }
        // What is still awaited is awaited from now: a long batch may be answered in parts.
        self.asked_at = (!self.asked.is_empty()).then_some(moment.now);
        verdict
    }

    /// What the node tells the owner of an instance.
    pub(in crate::registrar) fn handle_notice(&mut self, now: Instant, notice: &v1::Notice) {
        let Some(&key) = self.owned.get(&InstanceId::new(notice.instance_id)) else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match &notice.notice {
            Some(v1::notice::Notice::Offline(offline)) => {
                let reason = parse_reason(offline.reason());
                let deadline = now + Duration::from_millis(offline.deadline_ms.into());
                entry.offline = Some((reason, deadline));
                entry.answered = entry.generation;
                self.set_state(key, State::Offline { reason, deadline });
            }
            Some(v1::notice::Notice::Promoted(promoted)) => {
                entry.answered = entry.generation;
                let state = State::Active {
                    instance: InstanceId::new(notice.instance_id),
                    position: Position::new(notice.position),
                    token: token(promoted.fencing_token),
                };
                self.set_state(key, state);
            }
            None => {}
        }
    }

    fn registered(&mut self, moment: Moment, key: Key, generation: u64, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.under_way = false;
        let state = match outcome {
            Outcome::Active(active) => State::Active {
                instance: InstanceId::new(active.instance_id),
                position: Position::new(active.position),
                token: token(active.fencing_token),
            },
            Outcome::Pending(pending) => {
                State::Pending { instance: InstanceId::new(pending.instance_id), ahead: InstanceId::new(pending.ahead) }
            }
            Outcome::Refusal(refusal) => State::Refused(refusal),
            Outcome::Done(_) => {
                tracing::warn!("a registration was answered as if it were none");
                return self.enqueue_later(moment, key);
            }
        };
        entry.answered = generation;
        let outdated = entry.generation != generation || entry.desire == Desire::Gone;
        let mut retry = false;
        if let State::Active { instance, .. } | State::Pending { instance, .. } = state {
            entry.refusals = 0;
            let former = entry.instance.replace(instance);
            if let Some(former) = former.filter(|former| *former != instance) {
                // It moved. Make before break: the new address stands, now the old one may go.
                self.cast_off(key, former);
            }
            self.owned.insert(instance, key);
        } else if let State::Refused(refusal) = &state {
            retry = matches!(refusal.advice(), Advice::RetryNow | Advice::RetryLater);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.desire == Desire::Gone && entry.instance.is_none() {
            return self.end(key);
        }
        if entry.offline.is_none() {
            self.set_state(key, state);
        }
        if outdated {
            self.submit(key);
        } else if retry {
            self.enqueue_later(moment, key);
        }
    }

    /// Its handle has ended: a newer one took the place over (R4). Where that is the place that was
    /// asked for, the newer one asks for itself and gets the same instance; it may have been another.
    fn registered_for_nobody(&mut self, key: Key, place: &Place, outcome: &Outcome) {
        let instance = match outcome {
            Outcome::Active(active) => active.instance_id,
            Outcome::Pending(pending) => pending.instance_id,
            Outcome::Done(_) | Outcome::Refusal(_) => return,
        };
        if !self.places.contains_key(place) {
            self.cast_off(key, InstanceId::new(instance));
        }
    }

    fn deregistered(&mut self, moment: Moment, key: Key, outcome: &Outcome) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.under_way = false;
        if let Outcome::Refusal(refusal) = outcome
            && matches!(refusal.advice(), Advice::RetryNow | Advice::RetryLater)
        {
            return self.enqueue_later(moment, key);
        }
        self.end(key); // refused otherwise, it is not there or not ours
    }

    fn drain_accepted(&mut self, key: Key, outcome: Outcome) {
        let Some(order) = self.drains.get(&key) else { return };
        let standing = match outcome {
            Outcome::Refusal(refusal) => {
                self.drains.remove(&key);
                DrainStanding::Refused(refusal)
            }
            Outcome::Done(_) | Outcome::Active(_) | Outcome::Pending(_) => DrainStanding::Progress(order.progress),
        };
        self.reports.push_back(Report::Drain(key, standing));
    }

    fn enqueue_later(&mut self, moment: Moment, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.refusals += 1;
        let at = moment.jittered(REFUSED.pause(entry.refusals));
        if let Some(former) = entry.retry.replace(at) {
            self.retries.remove(&(former, key));
        }
        self.retries.insert((at, key));
    }
}

fn token(wire: u64) -> Option<Token> {
    (wire != 0).then(|| Token::new(wire))
}
