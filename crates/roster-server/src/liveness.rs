//! When a session is pinged, doubted and given up: every timer of the node, without a clock.
//!
//! Pure: it is told what happened and what time it is, and says what is due. Whatever it says becomes
//! a command in the log before it means anything.
//!
//! # Always true
//! * **T1, no early loss**: a session expires no sooner than its grace after it was last attached,
//!   and no sooner than the restart grace after the node was ready.
//! * **T2, one probe a second**: a session is pinged on behalf of askers at most once a second,
//!   whatever their number.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use roster_core::directory::SuspectReason;
use roster_core::{InstanceId, Position, ServiceName, SessionId};

use crate::awake::Awake;

/// The least time between two probes of one session.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// The lengths of the timers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) check_timeout: Duration,
    pub(crate) restart_grace: Duration,
}

/// What is due now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    Ping { session: SessionId, nonce: u64 },
    Suspect { session: SessionId, attachment: Position, reason: SuspectReason },
    Expire { session: SessionId, attachment: Position },
    FinishHandover { service: ServiceName, pending: InstanceId },
}

/// How a request to probe a session was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// It answered a probe within the last second.
    Alive,
    /// A ping is on its way; the answer is [`Liveness::heard`] or a due `Suspect`.
    Asked,
    /// It has no stream to ask over.
    NoStream,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Look whether it was quiet for long.
    Quiet(SessionId),
    /// The answer to a ping, or to a probe, is late.
    Unanswered(SessionId),
    Grace(SessionId),
    Handover(ServiceName, InstanceId),
}

#[derive(Debug)]
struct Entry {
    attachment: Position,
    grace: Duration,
    state: State,
    /// Of the one timer that runs for it.
    deadline: Awake,
}

#[derive(Debug)]
enum State {
    /// `asked` is why a ping is waiting for its answer; `probed` is when somebody last had it pinged.
    Attached {
        heard: Awake,
        asked: Option<SuspectReason>,
        probed: Option<Awake>,
    },
    Away,
}

/// All timers.
#[derive(Debug)]
pub(crate) struct Liveness {
    spans: Spans,
    sessions: HashMap<SessionId, Entry>,
    timers: BTreeSet<(Awake, Timer)>,
    handovers: HashMap<ServiceName, (InstanceId, Awake)>,
    nonce: u64,
}

impl Liveness {
    pub(crate) fn new(spans: Spans) -> Self {
        Self { spans, sessions: HashMap::new(), timers: BTreeSet::new(), handovers: HashMap::new(), nonce: 0 }
    }

    /// A stream opened or resumed the session.
    pub(crate) fn attached(&mut self, now: Awake, session: SessionId, attachment: Position, grace: Duration) {
        self.gone(session);
        let deadline = now.plus(self.spans.ping_interval);
        self.timers.insert((deadline, Timer::Quiet(session)));
        let state = State::Attached { heard: now, asked: None, probed: None };
        self.sessions.insert(session, Entry { attachment, grace, state, deadline });
    }

    /// The session was restored by a start of the node, which is ready now.
    pub(crate) fn restored(&mut self, now: Awake, session: SessionId, attachment: Position, grace: Duration) {
        self.gone(session);
        let deadline = now.plus(self.spans.restart_grace.max(grace));
        self.timers.insert((deadline, Timer::Grace(session)));
        self.sessions.insert(session, Entry { attachment, grace, state: State::Away, deadline });
    }

    /// The session is suspect: its grace runs. A restart grace that still runs is not cut short.
    pub(crate) fn suspected(&mut self, now: Awake, session: SessionId) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if let State::Attached { .. } = entry.state {
            stop(&mut self.timers, session, entry.deadline);
            entry.state = State::Away;
            entry.deadline = now.plus(entry.grace);
            self.timers.insert((entry.deadline, Timer::Grace(session)));
        }
    }

    /// Nothing runs for the session any more.
    pub(crate) fn gone(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.remove(&session) {
            stop(&mut self.timers, session, entry.deadline);
        }
    }

    /// Anything came over the session's stream. Says whether a ping was waiting for it.
    pub(crate) fn heard(&mut self, now: Awake, session: SessionId, attachment: Position) -> bool {
        let Some(entry) = self.sessions.get_mut(&session) else { return false };
        if entry.attachment != attachment {
            return false;
        }
        let State::Attached { heard, asked, .. } = &mut entry.state else { return false };
        *heard = now;
        let answered = asked.take().is_some();
        if answered {
            stop(&mut self.timers, session, entry.deadline);
            entry.deadline = now.plus(self.spans.ping_interval);
            self.timers.insert((entry.deadline, Timer::Quiet(session)));
        }
        answered
    }

    /// Somebody wants to know whether the session is alive. A ping that this asks for is returned as due.
    pub(crate) fn probe(&mut self, now: Awake, session: SessionId) -> (Probe, Option<Due>) {
        let Some(entry) = self.sessions.get_mut(&session) else { return (Probe::NoStream, None) };
        let State::Attached { asked, probed, .. } = &mut entry.state else { return (Probe::NoStream, None) };
        let deadline = now.plus(self.spans.check_timeout);
        match (*asked, *probed) {
            (None, Some(probed)) if probed.until(now) < PROBE_PAUSE => return (Probe::Alive, None),
            (Some(_), _) if entry.deadline <= deadline => return (Probe::Asked, None),
            (None | Some(_), _) => {}
        }
        *asked = Some(SuspectReason::CheckFailed);
        *probed = Some(now);
        stop(&mut self.timers, session, entry.deadline);
        entry.deadline = deadline;
        self.timers.insert((deadline, Timer::Unanswered(session)));
        self.nonce += 1;
        (Probe::Asked, Some(Due::Ping { session, nonce: self.nonce }))
    }

    /// A singleton waits for the hand-over at most this long.
    pub(crate) fn handover_started(&mut self, now: Awake, service: ServiceName, pending: InstanceId, wait: Duration) {
        let deadline = now.plus(wait);
        if let Some((earlier, at)) = self.handovers.insert(service.clone(), (pending, deadline)) {
            self.timers.remove(&(at, Timer::Handover(service.clone(), earlier)));
        }
        self.timers.insert((deadline, Timer::Handover(service, pending)));
    }

    /// Nobody waits for this service any more.
    pub(crate) fn handover_ended(&mut self, service: &ServiceName) {
        if let Some((pending, deadline)) = self.handovers.remove(service) {
            self.timers.remove(&(deadline, Timer::Handover(service.clone(), pending)));
        }
    }

    /// When something may be due next.
    pub(crate) fn next(&self) -> Option<Awake> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// What is due by now.
    pub(crate) fn due(&mut self, now: Awake, into: &mut Vec<Due>) {
        while let Some((deadline, _)) = self.timers.first() {
            if *deadline > now {
                return;
            }
            let Some((deadline, timer)) = self.timers.pop_first() else { return };
            match timer {
                Timer::Quiet(session) => self.look_at_quiet(now, session, into),
                Timer::Unanswered(session) => self.give_up_asking(session, into),
                Timer::Grace(session) => {
                    let Some(entry) = self.sessions.remove(&session) else { continue };
                    debug_assert!(entry.deadline <= deadline, "T1: session {session} expires at its own deadline");
                    into.push(Due::Expire { session, attachment: entry.attachment });
                }
                Timer::Handover(service, pending) => {
                    self.handovers.remove(&service);
                    into.push(Due::FinishHandover { service, pending });
                }
            }
        }
    }

    fn look_at_quiet(&mut self, now: Awake, session: SessionId, into: &mut Vec<Due>) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let State::Attached { heard, asked, .. } = &mut entry.state else { return };
        let quiet_until = heard.plus(self.spans.ping_interval);
        if quiet_until > now {
            entry.deadline = quiet_until;
            self.timers.insert((quiet_until, Timer::Quiet(session)));
            return;
        }
        *asked = Some(SuspectReason::PingTimeout);
        entry.deadline = now.plus(self.spans.ping_timeout);
        self.timers.insert((entry.deadline, Timer::Unanswered(session)));
        self.nonce += 1;
        into.push(Due::Ping { session, nonce: self.nonce });
    }

    /// The suspicion is only asked for here; the grace starts when it is applied ([`Self::suspected`]).
    fn give_up_asking(&mut self, session: SessionId, into: &mut Vec<Due>) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let State::Attached { asked: Some(asked), .. } = &entry.state else { return };
        into.push(Due::Suspect { session, attachment: entry.attachment, reason: *asked });
    }
}

fn stop(timers: &mut BTreeSet<(Awake, Timer)>, session: SessionId, deadline: Awake) {
    for timer in [Timer::Quiet(session), Timer::Unanswered(session), Timer::Grace(session)] {
        if timers.remove(&(deadline, timer)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId::new(1);
    const FIRST: Position = Position::new(10);
    const GRACE: Duration = Duration::from_secs(3);

    fn liveness() -> Liveness {
        Liveness::new(Spans {
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(5),
            check_timeout: Duration::from_secs(1),
            restart_grace: Duration::from_secs(35),
        })
    }

    fn at(millis: u64) -> Awake {
        Awake::default().plus(Duration::from_millis(millis))
    }

    fn due(liveness: &mut Liveness, now: Awake) -> Vec<Due> {
        let mut due = Vec::new();
        liveness.due(now, &mut due);
        due
    }

    fn suspect(reason: SuspectReason) -> Due {
        Due::Suspect { session: SESSION, attachment: FIRST, reason }
    }

    #[test]
    fn a_quiet_session_is_pinged_then_suspect_then_expired() {
        let mut liveness = liveness();
        liveness.attached(at(0), SESSION, FIRST, GRACE);
        assert_eq!(due(&mut liveness, at(4_999)), []);
        assert_eq!(due(&mut liveness, at(5_000)), [Due::Ping { session: SESSION, nonce: 1 }]);
        assert_eq!(due(&mut liveness, at(9_999)), []);
        assert_eq!(due(&mut liveness, at(10_000)), [suspect(SuspectReason::PingTimeout)]);
        liveness.suspected(at(10_001), SESSION);
        assert_eq!(due(&mut liveness, at(13_000)), []);
        assert_eq!(due(&mut liveness, at(13_001)), [Due::Expire { session: SESSION, attachment: FIRST }]);
        assert_eq!(liveness.next(), None);
    }

    #[test]
    fn an_answer_puts_the_next_ping_off() {
        let mut liveness = liveness();
        liveness.attached(at(0), SESSION, FIRST, GRACE);
        due(&mut liveness, at(5_000));
        assert!(liveness.heard(at(5_010), SESSION, FIRST));
        assert_eq!(due(&mut liveness, at(10_009)), []);
        assert_eq!(due(&mut liveness, at(10_010)), [Due::Ping { session: SESSION, nonce: 2 }]);
    }

    #[test]
    fn a_busy_session_is_not_pinged() {
        let mut liveness = liveness();
        liveness.attached(at(0), SESSION, FIRST, GRACE);
        for second in 1..60 {
            liveness.heard(at(second * 1_000), SESSION, FIRST);
            assert_eq!(due(&mut liveness, at(second * 1_000)), []);
        }
    }

    #[test]
    fn words_of_an_older_stream_do_not_count() {
        let mut liveness = liveness();
        liveness.attached(at(0), SESSION, FIRST, GRACE);
        liveness.attached(at(10), SESSION, Position::new(11), GRACE);
        due(&mut liveness, at(5_010));
        assert!(!liveness.heard(at(5_020), SESSION, FIRST));
    }

    #[test]
    fn a_thousand_askers_cost_one_probe_a_second() {
        let mut liveness = liveness();
        liveness.attached(at(0), SESSION, FIRST, GRACE);
        let mut pings = 0;
        for ask in 0..3_000 {
            let now = at(2_000 + ask);
            pings += usize::from(liveness.probe(now, SESSION).1.is_some());
            liveness.heard(now, SESSION, FIRST);
        }
        assert!((1..=4).contains(&pings), "T2: {pings} pings in 3 s");
    }

    #[test]
    fn a_probe_shortens_a_ping_that_is_under_way() {
        let mut liveness = liveness();
        liveness.attached(at(0), SESSION, FIRST, GRACE);
        due(&mut liveness, at(5_000));
        assert_eq!(liveness.probe(at(5_100), SESSION).0, Probe::Asked);
        assert_eq!(due(&mut liveness, at(6_100)), [suspect(SuspectReason::CheckFailed)]);
    }

    #[test]
    fn a_restored_session_has_the_whole_restart_grace() {
        let mut liveness = liveness();
        liveness.restored(at(0), SESSION, FIRST, GRACE);
        liveness.suspected(at(1_000), SESSION);
        assert_eq!(due(&mut liveness, at(34_999)), [], "T1");
        assert_eq!(due(&mut liveness, at(35_000)), [Due::Expire { session: SESSION, attachment: FIRST }]);
    }

    #[test]
    fn a_session_that_returns_is_not_expired() {
        let mut liveness = liveness();
        liveness.restored(at(0), SESSION, FIRST, GRACE);
        liveness.attached(at(34_000), SESSION, Position::new(20), GRACE);
        assert_eq!(due(&mut liveness, at(38_000)), []);
    }

    #[test]
    fn a_further_newcomer_restarts_the_hand_over() {
        let mut liveness = liveness();
        let service = ServiceName::parse("leader").unwrap();
        let (first, second) = (InstanceId::new(1), InstanceId::new(2));
        liveness.handover_started(at(0), service.clone(), first, Duration::from_secs(5));
        liveness.handover_started(at(3_000), service.clone(), second, Duration::from_secs(5));
        assert_eq!(due(&mut liveness, at(7_999)), []);
        assert_eq!(due(&mut liveness, at(8_000)), [Due::FinishHandover { service, pending: second }]);
    }
}
