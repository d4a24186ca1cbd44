//! Time as the node lived it: a clock that stands still while the node did.
//!
//! A node that was stopped, swapped out or starved for Δ must not take Δ for silence of its clients.
//! All deadlines of sessions are in this time, so a stall moves every one of them by its length.
//! While the edge is late the clock stands still as well, but not for ever: an edge that is late all the time must not
//! keep alive whoever is gone.

use std::time::Duration;

/// A sleep that ends this much late was a stall.
const STALL: Duration = Duration::from_millis(250);
/// After a stall the clock stands still this much longer, so that what waits in the sockets is read first.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Between two such standstills.
const STANDSTILL_PAUSE: Duration = Duration::from_secs(5);
/// The longest that the edge holds the clock in one go.
const EDGE_HOLDS_AT_MOST: Duration = Duration::from_secs(60);
/// Nobody may sleep longer than this between two looks at the clock, or a stall could hide in the sleep.
pub(crate) const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(100);

/// A point in the life of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Awake(Duration);

impl Awake {
    pub(crate) fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    pub(crate) fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// What holds the clock, beside stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    /// Whoever is heard cannot be noted down.
    Log,
    /// What was answered may wait to be read.
    Edge,
}

/// What a look at the clock noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// The node stood still for so long.
    Stall(Duration),
    /// The edge has held the clock for as long as it may; told once. Time goes on.
    EdgeTooLate(Duration),
}

/// Follows a steady clock and leaves out the stalls.
#[derive(Debug, Default)]
pub(crate) struct AwakeClock {
    now: Awake,
    seen: Duration,
    catching_up_until: Duration,
    /// No further standstill before this, or a node that is starved all the time would stop its clock.
    standstill_from: Duration,
    /// For how long the edge has been late, without stalls and without as much time in which it was not.
    edge_late: Duration,
}

impl AwakeClock {
    /// Takes in what the steady clock says. Called at least every [`LOOK_AT_LEAST_EVERY`], but for the
    /// time that the caller `worked`. While something holds it the clock stands still.
    pub(crate) fn look(&mut self, steady: Duration, worked: Duration, hold: Hold) -> Option<Oddity> {
        let passed = steady.saturating_sub(self.seen);
        self.seen = steady;
        let overshoot = passed.saturating_sub(LOOK_AT_LEAST_EVERY + worked);
        if overshoot > STALL {
            if steady >= self.standstill_from {
                self.catching_up_until = steady + CATCH_UP;
                self.standstill_from = steady + STANDSTILL_PAUSE;
            }
            return Some(Oddity::Stall(passed));
        }
        match hold {
            // An edge that is in time for a moment now and then is late all the same.
            Hold::Nothing => self.edge_late = self.edge_late.saturating_sub(passed),
            Hold::Log => return None,
            Hold::Edge => {
                let was_held = self.edge_late < EDGE_HOLDS_AT_MOST;
                // Told of again only when it has been in time for a minute.
                self.edge_late = (self.edge_late + passed).min(2 * EDGE_HOLDS_AT_MOST);
                if was_held {
                    let goes_on = self.edge_late >= EDGE_HOLDS_AT_MOST;
                    return goes_on.then_some(Oddity::EdgeTooLate(self.edge_late));
                }
            }
        }
        if steady >= self.catching_up_until {
            self.now = self.now.plus(passed);
        }
        None
    }

    pub(crate) fn now(&self) -> Awake {
        self.now
    }

    /// Whether what gathered during a stall is still being read.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.seen < self.catching_up_until
    }
}

/// The processor time of this thread; it stands still while the process is stopped or starved.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_stall_does_not_count_and_is_reported() {
        let mut clock = AwakeClock::default();
        for tick in 1..=10 {
            assert_eq!(clock.look(millis(tick * 100), Duration::ZERO, Hold::Nothing), None);
        }
        assert_eq!(clock.now(), Awake(millis(1_000)));
        assert_eq!(clock.look(millis(61_000), Duration::ZERO, Hold::Nothing), Some(Oddity::Stall(millis(60_000))));
        assert_eq!(clock.now(), Awake(millis(1_000)));
    }

    #[test]
    fn after_a_stall_the_clock_waits_until_what_gathered_is_read() {
        let mut clock = AwakeClock::default();
        clock.look(millis(60_000), Duration::ZERO, Hold::Nothing);
        for tick in 1..10 {
            clock.look(millis(60_000 + tick * 100), Duration::ZERO, Hold::Nothing);
        }
        assert_eq!(clock.now(), Awake::default());
        assert!(clock.is_catching_up());
        clock.look(millis(61_000), Duration::ZERO, Hold::Nothing);
        assert!(!clock.is_catching_up());
        clock.look(millis(61_100), Duration::ZERO, Hold::Nothing);
        assert_eq!(clock.now(), Awake(millis(200)));
    }

    #[test]
    fn a_long_turn_is_no_stall() {
        let mut clock = AwakeClock::default();
        assert_eq!(clock.look(millis(5_000), millis(4_900), Hold::Nothing), None);
        assert_eq!(clock.now(), Awake(millis(5_000)));
    }

    #[test]
    fn a_node_that_is_starved_all_the_time_still_ages() {
        let mut clock = AwakeClock::default();
        for second in 1..=60 {
            clock.look(millis(second * 1_000), Duration::ZERO, Hold::Nothing);
            for tick in 1..=9 {
                clock.look(millis(second * 1_000 + tick * 50), Duration::ZERO, Hold::Nothing);
            }
        }
        assert!(clock.now() > Awake(millis(15_000)), "{:?}", clock.now());
    }

    #[test]
    fn while_the_log_is_stuck_nothing_ages() {
        let mut clock = AwakeClock::default();
        for tick in 1..=100 {
            clock.look(millis(tick * 100), Duration::ZERO, Hold::Log);
        }
        assert_eq!(clock.now(), Awake::default());
    }

    #[test]
    fn an_edge_that_is_late_for_ever_holds_the_clock_for_a_minute_and_says_so_once() {
        let mut clock = AwakeClock::default();
        let mut told = Vec::new();
        for tick in 1..=599 {
            told.extend(clock.look(millis(tick * 100), Duration::ZERO, Hold::Edge));
        }
        assert_eq!((clock.now(), told.as_slice()), (Awake::default(), [].as_slice()));
        // That the node stood still is not the edge's doing.
        clock.look(millis(120_000), Duration::ZERO, Hold::Edge);
        clock.look(millis(120_050), Duration::ZERO, Hold::Edge);
        assert_eq!(clock.now(), Awake::default());
        for tick in 1..=100 {
            told.extend(clock.look(millis(120_050 + tick * 100), Duration::ZERO, Hold::Edge));
        }
        assert!(matches!(told.as_slice(), [Oddity::EdgeTooLate(late)] if *late < millis(61_000)), "{told:?}");
        assert!(clock.now() >= Awake(millis(7_000)), "{:?}", clock.now());

        for tick in 1..=150 {
            clock.look(millis(130_050 + tick * 100), Duration::ZERO, Hold::Nothing);
        }
        let now = clock.now();
        clock.look(millis(145_150), Duration::ZERO, Hold::Edge);
        assert_eq!(clock.now(), now, "as long as it was in time it may be late again");
    }

    #[test]
    fn an_edge_that_is_in_time_for_a_moment_now_and_then_does_not_hold_the_clock_for_ever() {
        let mut clock = AwakeClock::default();
        for tick in 1..=1_200 {
            let hold = if tick % 20 == 0 { Hold::Nothing } else { Hold::Edge };
            clock.look(millis(tick * 100), Duration::ZERO, hold);
        }
        assert!(clock.now() >= Awake(millis(40_000)), "{:?}", clock.now());
    }
}
