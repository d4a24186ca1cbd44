//! What became of the messages: when each was due, who stores any, and whether and how often each was received.
//!
//! A message is known by its number; they are counted from 0 in the order in which they are due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roster_client::InstanceId;

/// Shared by who publishes, who receives and who looks.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    messages: Vec<Fate>,
    /// When each member stored its first message.
    first_stored: HashMap<InstanceId, Instant>,
    answered: usize,
    received: usize,
    duplicates: usize,
    /// Errors, the first of them in words.
    failed: usize,
    first_failure: Option<String>,
    last_reception: Option<Instant>,
    longest_gap: Duration,
    /// Since the last look.
    recent_gap: Duration,
    /// From when a message was due to when it was received first.
    delays: Vec<Duration>,
}

#[derive(Debug)]
struct Fate {
    due: Instant,
    is_received: bool,
}

/// How far it has got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) sent: usize,
    pub(super) received: usize,
    /// The longest time without a reception since the look before.
    pub(super) gap: Duration,
}

/// All of it, in the end.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) sent: usize,
    /// Known to be stored.
    pub(super) answered: usize,
    pub(super) failed: usize,
    pub(super) first_failure: Option<String>,
    pub(super) received: usize,
    /// Received once more than once.
    pub(super) duplicates: usize,
    /// Numbers that nobody received.
    pub(super) missing: Vec<usize>,
    pub(super) longest_gap: Duration,
    pub(super) delays: Vec<Duration>,
}

impl Ledger {
    /// The next message, which is due at that moment. Its number.
    pub(super) fn sent(&self, due: Instant) -> usize {
        let mut state = self.lock();
        state.messages.push(Fate { due, is_received: false });
        state.messages.len() - 1
    }

    /// A message that was sent is stored by that member.
    pub(super) fn stored(&self, member: InstanceId, at: Instant) {
        let mut state = self.lock();
        state.first_stored.entry(member).or_insert(at);
        state.answered += 1;
    }

    pub(super) fn failed(&self, why: String) {
        let mut state = self.lock();
        state.failed += 1;
        state.first_failure.get_or_insert(why);
    }

    pub(super) fn received(&self, number: usize, at: Instant) {
        let mut state = self.lock();
        let Some(fate) = state.messages.get_mut(number) else { return };
        if std::mem::replace(&mut fate.is_received, true) {
            state.duplicates += 1;
            return;
        }
        let delay = at.saturating_duration_since(fate.due);
        state.delays.push(delay);
        state.received += 1;
        state.wait_ends(at);
        state.last_reception = Some(at);
    }

    /// How it stands, and what was seen since the look before.
    pub(super) fn look(&self, at: Instant) -> Look {
        let mut state = self.lock();
        // One that goes on has been seen, too.
        state.wait_ends(at);
        let gap = std::mem::take(&mut state.recent_gap);
        Look { sent: state.messages.len(), received: state.received, gap }
    }

    /// When this member stored its first message, if it has.
    pub(super) fn first_stored_by(&self, member: InstanceId) -> Option<Instant> {
        self.lock().first_stored.get(&member).copied()
    }

    /// Whether everything that was sent has been received, and nobody waits for an answer.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.lock();
        let sent = state.messages.len();
        state.received == sent && state.answered + state.failed == sent
    }

    pub(super) fn account(&self) -> Account {
        let state = self.lock();
        let missing = state.messages.iter().enumerate().filter(|(_, fate)| !fate.is_received);
        Account {
            sent: state.messages.len(),
            answered: state.answered,
            failed: state.failed,
            first_failure: state.first_failure.clone(),
            received: state.received,
            duplicates: state.duplicates,
            missing: missing.map(|(number, _)| number).collect(),
            longest_gap: state.longest_gap,
            delays: state.delays.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait_ends(&mut self, at: Instant) {
        let Some(last) = self.last_reception else { return };
        let gap = at.saturating_duration_since(last);
        self.recent_gap = self.recent_gap.max(gap);
        self.longest_gap = self.longest_gap.max(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_twice_is_a_duplicate_and_one_that_does_not_is_missing() {
        let (ledger, member, now) = (Ledger::default(), InstanceId::new(7), Instant::now());
        for number in 0..3 {
            assert_eq!(ledger.sent(now), number);
            ledger.stored(member, now);
        }
        ledger.received(2, now);
        ledger.received(0, now);
        ledger.received(2, now);
        assert!(!ledger.is_settled());
        let account = ledger.account();
        assert_eq!((account.received, account.duplicates, account.missing), (2, 1, vec![1]));

        ledger.received(1, now);
        assert!(ledger.is_settled());
        assert!(ledger.account().missing.is_empty());
    }

    #[test]
    fn a_gap_is_between_receptions_and_counts_while_it_goes_on() {
        let (ledger, began) = (Ledger::default(), Instant::now());
        let after = |millis| began + Duration::from_millis(millis);
        for _ in 0..3 {
            ledger.sent(began);
        }
        assert_eq!(ledger.look(after(50)).gap, Duration::ZERO);
        ledger.received(0, after(100));
        ledger.received(1, after(104));
        assert_eq!(ledger.look(after(105)).gap, Duration::from_millis(4));
        assert_eq!(ledger.look(after(205)).gap, Duration::from_millis(101));
        ledger.received(2, after(304));
        assert_eq!(ledger.account().longest_gap, Duration::from_millis(200));
    }

    #[test]
    fn a_failure_is_counted_and_the_first_is_told() {
        let (ledger, now) = (Ledger::default(), Instant::now());
        for why in ["no member", "another"] {
            ledger.sent(now);
            ledger.failed(why.to_owned());
        }
        let account = ledger.account();
        assert_eq!((account.answered, account.failed, account.first_failure.as_deref()), (0, 2, Some("no member")));
    }
}
