//! Where and when to try next. Time and chance are inputs.
//!
//! # Always true
//! * **B1, one free retry**: a connection that broke is tried again at once, at the same address, but
//!   once only until a connection has been steady: who accepts and hangs up is not hammered.
//! * **B2, every address in turn**: after a failure the next address is tried at once; only when all
//!   have failed comes a pause.
//! * **B3, pauses grow**: from `min` they double up to `max`, and chance takes up to half away.

use std::time::{Duration, Instant};

use crate::moment::Moment;

/// A connection that stood this long was a good one: failures before it no longer count.
const STEADY: Duration = Duration::from_secs(1);

/// How long to pause between failed attempts to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The first pause; 50 ms by default.
    pub min: Duration,
    /// The longest pause; 5 s by default.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { min: Duration::from_millis(50), max: Duration::from_secs(5) }
    }
}

impl BackOff {
    /// The pause after `failures` (at least one) in a row, before chance.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }
}

/// The next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) endpoint: usize,
    pub(crate) at: Instant,
}

/// Which address to try when.
#[derive(Debug)]
pub(crate) struct Reconnect {
    back_off: BackOff,
    endpoints: usize,
    endpoint: usize,
    failures: usize,
    stands_since: Option<Instant>,
    free_retry: bool,
}

impl Reconnect {
    /// For that many addresses, at least one.
    pub(crate) fn new(back_off: BackOff, endpoints: usize) -> Self {
        assert!(endpoints > 0, "a client has at least one endpoint");
        Self { back_off, endpoints, endpoint: 0, failures: 0, stands_since: None, free_retry: true }
    }

    /// The address of the current attempt or connection.
    pub(crate) fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// The node has answered.
    pub(crate) fn stands(&mut self, now: Instant) {
        self.stands_since = Some(now);
    }

    /// The attempt failed or the connection broke.
    pub(crate) fn lost(&mut self, moment: Moment) -> Attempt {
        if self.forgive(moment.now) && std::mem::take(&mut self.free_retry) {
            return Attempt { endpoint: self.endpoint, at: moment.now }; // B1
        }
        self.turn(moment)
    }

    /// The node answered, only not what it was hoped to: the same address, at once.
    pub(crate) fn again(&self, now: Instant) -> Attempt {
        Attempt { endpoint: self.endpoint, at: now }
    }

    /// The node asked us to go elsewhere: the next address, or this one after a pause.
    pub(crate) fn sent_away(&mut self, moment: Moment) -> Attempt {
        self.forgive(moment.now);
        self.turn(moment)
    }

    /// Whether a connection stood; a steady one clears the record.
    fn forgive(&mut self, now: Instant) -> bool {
        let Some(since) = self.stands_since.take() else { return false };
        if now.saturating_duration_since(since) >= STEADY {
            self.failures = 0;
            self.free_retry = true;
        }
        true
    }

    fn turn(&mut self, moment: Moment) -> Attempt {
        self.failures += 1;
        self.endpoint = (self.endpoint + 1) % self.endpoints;
        let round_is_over = self.failures.is_multiple_of(self.endpoints);
        let at = if round_is_over {
            let rounds = u32::try_from(self.failures / self.endpoints).unwrap_or(u32::MAX);
            moment.jittered(self.back_off.pause(rounds)) // B3
        } else {
            moment.now // B2
        };
        Attempt { endpoint: self.endpoint, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnect(endpoints: usize) -> (Reconnect, Moment) {
        (Reconnect::new(BackOff::default(), endpoints), Moment { now: Instant::now(), chance: 0.999_999 })
    }

    fn pause_ms(attempt: Attempt, moment: Moment) -> u128 {
        (attempt.at - moment.now + Duration::from_micros(500)).as_millis()
    }

    #[test]
    fn b1_a_broken_connection_is_retried_at_once_and_only_once() {
        let (mut reconnect, moment) = reconnect(1);
        reconnect.stands(moment.now);
        assert_eq!(pause_ms(reconnect.lost(moment), moment), 0);
        reconnect.stands(moment.now);
        assert_eq!(pause_ms(reconnect.lost(moment), moment), 50, "it broke again before it was steady");
    }

    #[test]
    fn b1_a_steady_connection_clears_the_record() {
        let (mut reconnect, mut moment) = reconnect(1);
        for _ in 0..5 {
            reconnect.lost(moment);
        }
        reconnect.stands(moment.now);
        moment.now += STEADY;
        assert_eq!(pause_ms(reconnect.lost(moment), moment), 0);
        assert_eq!(pause_ms(reconnect.lost(moment), moment), 50);
    }

    #[test]
    fn b2_all_addresses_are_tried_before_a_pause() {
        let (mut reconnect, moment) = reconnect(3);
        let attempts: Vec<_> = (0..6).map(|_| reconnect.lost(moment)).collect();
        let tried: Vec<_> = attempts.iter().map(|attempt| (attempt.endpoint, pause_ms(*attempt, moment))).collect();
        assert_eq!(tried, [(1, 0), (2, 0), (0, 50), (1, 0), (2, 0), (0, 100)]);
    }

    #[test]
    fn b3_pauses_double_up_to_the_longest() {
        let (mut reconnect, moment) = reconnect(1);
        let pauses: Vec<_> = (0..9).map(|_| pause_ms(reconnect.lost(moment), moment)).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn b3_chance_takes_up_to_half_away() {
        let (mut reconnect, mut moment) = reconnect(1);
        moment.chance = 0.0;
        assert_eq!(pause_ms(reconnect.lost(moment), moment), 25);
    }

    #[test]
    fn a_node_that_stops_sends_to_the_next_address() {
        let (mut reconnect, moment) = reconnect(2);
        reconnect.stands(moment.now);
        assert_eq!(reconnect.sent_away(moment), Attempt { endpoint: 1, at: moment.now });
    }
}
