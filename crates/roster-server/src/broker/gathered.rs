//! What the consumers of one queue said and what ran out, waiting for its turn to go to the log together.

use roster_core::limits::MESSAGES_PER_COMMAND_MAX;
use roster_core::queue::{Attempt, Command, Failure, MessageId, QueueName};

use super::mail::Said;

/// A failure brings its reason: so many of them stay well below the largest record of a log.
const FAILURES_PER_COMMAND_MAX: usize = 8_192;
/// What a failure weighs beside an acknowledgement, in a submission that is bounded.
const FAILURE_WEIGHT: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) acknowledged: Vec<MessageId>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) released: Vec<Attempt>,
    pub(crate) said: Said,
}

impl Gathered {
    pub(crate) fn is_empty(&self) -> bool {
        self.has_no_words() && self.said.confirms.is_empty() && self.said.permits.is_empty()
    }

    fn has_no_words(&self) -> bool {
        self.acknowledged.is_empty() && self.failures.is_empty() && self.released.is_empty()
    }

    /// Moves into a submission what still fits. Whom to confirm follows when all words are in it.
    pub(crate) fn move_into(
        &mut self,
        queue: &QueueName,
        budget: &mut usize,
        commands: &mut Vec<Command>,
        said: &mut Said,
    ) {
        while !self.acknowledged.is_empty() && *budget > 0 {
            let messages = take(&mut self.acknowledged, MESSAGES_PER_COMMAND_MAX.min(*budget));
            *budget -= messages.len();
            commands.push(Command::Acknowledge { queue: queue.clone(), messages });
        }
        while !self.failures.is_empty() && *budget > 0 {
            let failures = take(&mut self.failures, FAILURES_PER_COMMAND_MAX.min(budget.div_ceil(FAILURE_WEIGHT)));
            *budget = budget.saturating_sub(failures.len() * FAILURE_WEIGHT);
            commands.push(Command::Fail { queue: queue.clone(), failures });
        }
        while !self.released.is_empty() && *budget > 0 {
            let attempts = take(&mut self.released, MESSAGES_PER_COMMAND_MAX.min(*budget));
            *budget -= attempts.len();
            commands.push(Command::Release { queue: queue.clone(), attempts });
        }
        if self.has_no_words() {
            said.confirms.append(&mut self.said.confirms);
            said.permits.append(&mut self.said.permits);
        }
    }
}

/// The first `most` of them.
fn take<T>(from: &mut Vec<T>, most: usize) -> Vec<T> {
    if from.len() <= most {
        return std::mem::take(from);
    }
    let rest = from.split_off(most);
    std::mem::replace(from, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_stays_for_the_next_time_and_so_do_its_confirms() {
        let queue = QueueName::parse("jobs").unwrap();
        let mut gathered = Gathered::default();
        gathered.acknowledged.extend((1..=100_000).map(MessageId::new));
        gathered.said.confirms.push((super::super::deliveries::DeliveryBox::new(), 7));
        let (mut commands, mut said) = (Vec::new(), Said::default());
        gathered.move_into(&queue, &mut 80_000, &mut commands, &mut said);
        let lengths = |commands: &[Command]| -> Vec<usize> {
            let length = |command: &Command| {
                let Command::Acknowledge { messages, .. } = command else { panic!("{command:?}") };
                messages.len()
            };
            commands.iter().map(length).collect()
        };
        assert_eq!((lengths(&commands), said.confirms.len()), (vec![65_536, 14_464], 0));
        commands.clear();
        gathered.move_into(&queue, &mut 80_000, &mut commands, &mut said);
        assert_eq!((lengths(&commands), said.confirms.len()), (vec![20_000], 1));
        assert!(gathered.is_empty());
    }
}
