//! What is logged is applied and answered; what could not be logged is answered, or tried again.

use roster_core::queue::{Command, Discarded, MessageId, Outcome, QueueName, Refusal};
use roster_core::{Position, Timestamp};
use roster_proto::convert::status_of;
use roster_proto::v1;
use roster_proto::v1::publish_result::Outcome as Published;

use super::lane::Lane;
use super::mail::{Origin, Said, Submission};
use super::{Broker, deleted};
use crate::submission;

impl Broker {
    pub(super) fn apply(&mut self, first: Position, at: Timestamp, submissions: Vec<Submission>) {
        let mut position = first;
        for submission::Submission { commands, origin, .. } in submissions {
            let mut answer = None;
            for command in commands {
                answer = Some((position, self.apply_one(position, at, command)));
                position = position.next();
            }
            match (origin, answer) {
                (Origin::Broker(said), _) => {
                    self.is_under_way = false;
                    self.confirm(said);
                }
                (Origin::Unary { reply, reservation, ticket: _ticket }, Some((position, outcome))) => {
                    self.spent.extend(reservation);
                    let answer = if let Outcome::Refused(refusal) = outcome {
                        Err(refusal.into())
                    } else {
                        Ok((position, outcome))
                    };
                    let _ = reply.send(answer);
                }
                (Origin::Publish { results, first_sequence, reservation, ticket }, Some((_, outcome))) => {
                    self.spent.extend(reservation);
                    drop(ticket);
                    if let Outcome::Refused(refusal @ Refusal::QueueFull { .. }) = outcome {
                        // The limits were lowered while it was on its way: its client sends it again, and it waits.
                        results.break_off(status_of(&refusal.into()));
                        continue;
                    }
                    if results.put(result_of(first_sequence, outcome)) {
                        self.results_to_wake.push(results);
                    }
                }
                (Origin::Unary { .. } | Origin::Publish { .. }, None) => {}
            }
        }
    }

    fn apply_one(&mut self, position: Position, at: Timestamp, command: Command) -> Outcome {
        debug_assert_eq!(self.queues.revision().next(), position, "K1: positions have no gaps");
        let name = command.queue().cloned();
        if let Some(name) = &name
            && let Some(queue) = self.queues.queue(name)
        {
            let lane = match self.lanes.get_mut(name) {
                Some(lane) => lane,
                None => self.lanes.entry(name.clone()).or_insert_with(|| Lane::new(name, queue)),
            };
            lane.rates.look(at, queue.totals());
        }
        let outcome = self.queues.apply(at, command, &mut self.effects);
        let discarded = std::mem::take(&mut self.effects.discarded);
        self.discard(discarded);
        if let Some(name) = name {
            self.tell_lane(&name);
        }
        outcome
    }

    fn tell_lane(&mut self, name: &QueueName) {
        let Some(queue) = self.queues.queue(name) else {
            if let Some(mut lane) = self.lanes.remove(name) {
                lane.room.close();
                lane.close(&deleted(name));
                lane.consumers.keys().for_each(|consumer| drop(self.consumers.remove(consumer)));
                lane.wake.map(|wake| self.wakes.remove(&(wake, name.clone())));
                self.discard(lane.dispatcher.into_discarded());
            }
            return;
        };
        if let Some(lane) = self.lanes.get_mut(name) {
            let discarded = lane.dispatcher.take_in(queue, &self.effects);
            self.discard(discarded);
            self.touch(name);
        }
    }

    fn discard(&mut self, discarded: Discarded) {
        if discarded == Discarded::default() {
            return;
        }
        if let Err(error) = self.discards.try_send(discarded) {
            // So many purges at a time that one of them may cost this thread something.
            drop(error);
        }
    }

    pub(super) fn not_logged(&mut self, submissions: Vec<Submission>, refusal: &v1::Refusal) {
        for submission::Submission { commands, origin, .. } in submissions {
            match origin {
                Origin::Broker(said) => self.not_said(commands, said, refusal),
                Origin::Unary { reply, .. } => {
                    let _ = reply.send(Err(refusal.clone()));
                }
                // A batch after it may still be logged; only a stream that begins anew keeps the order.
                Origin::Publish { results, .. } => results.break_off(status_of(refusal)),
            }
        }
    }

    /// What was said is kept and tried again, so that nothing that is done is delivered once more. But what
    /// was released goes to somebody else at once: nobody works on it.
    fn not_said(&mut self, commands: Vec<Command>, said: Said, refusal: &v1::Refusal) {
        self.is_under_way = false;
        let is_passing = refusal.code() == v1::refusal::Code::ReadOnly;
        let (again, given_up): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| is_passing && !matches!(command, Command::Release { .. }));
        for command in given_up {
            let Some(name) = command.queue() else { continue };
            if let (Some(queue), Some(lane)) = (self.queues.queue(name), self.lanes.get_mut(name)) {
                lane.dispatcher.withdraw(queue, &named(&command));
            }
            self.touch(name);
        }
        if is_passing {
            self.retry = Some((again, said));
        }
    }
}

/// The messages of a command of the broker's own.
fn named(command: &Command) -> Vec<MessageId> {
    match command {
        Command::Acknowledge { messages, .. } => messages.clone(),
        Command::Fail { failures, .. } => failures.iter().map(|failure| failure.attempt.message).collect(),
        Command::Release { attempts, .. } => attempts.iter().map(|attempt| attempt.message).collect(),
        Command::StartNode
        | Command::CreateQueue { .. }
        | Command::UpdateSettings { .. }
        | Command::DeleteQueue { .. }
        | Command::Publish { .. }
        | Command::Purge { .. }
        | Command::RequeueDead { .. }
        | Command::DropDead { .. } => Vec::new(),
    }
}

fn result_of(first_sequence: u64, outcome: Outcome) -> v1::PublishResult {
    let outcome = match outcome {
        Outcome::Published { first, stored, duplicates } => {
            Some(Published::Published(v1::Published { first_message_id: first.get(), stored, duplicates }))
        }
        Outcome::Refused(refusal) => Some(Published::Refusal(refusal.into())),
        Outcome::Done
        | Outcome::Created
        | Outcome::Exists
        | Outcome::Acknowledged { .. }
        | Outcome::Ended { .. }
        | Outcome::Moved { .. } => None,
    };
    v1::PublishResult { first_sequence, outcome }
}
