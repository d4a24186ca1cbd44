//! The signals that the binary is sent, as a stream of what they mean.

use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::Instant;

/// Two within this time are one: timeout(1) and some supervisors signal the process and then its
/// group. A second signal means impatience only when somebody had the time to grow impatient.
const REPEATED: Duration = Duration::from_millis(250);

/// A signal by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Come to an end: SIGTERM or SIGINT.
    Stop(Signal),
    /// Meant for whatever is wrapped: SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2.
    PassOn(Signal),
}

/// SIGTERM and SIGINT, taken from the moment this is made; without it they would end the process.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    last: Option<Instant>,
}

impl StopSignals {
    /// # Errors
    /// When the operating system refuses the handlers.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, last: None })
    }

    /// The next one. Nothing is lost when this is dropped before it is done.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.interrupt.recv() => Signal::INT,
            };
            let now = Instant::now();
            let is_repeated = self.last.is_some_and(|last| now.duration_since(last) < REPEATED);
            if !is_repeated {
                self.last = Some(now);
                return signal;
            }
        }
    }
}

/// Those, and the ones that a wrapper passes on.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: StopSignals,
    hang_up: unix::Signal,
    quit: unix::Signal,
    user_1: unix::Signal,
    user_2: unix::Signal,
}

impl Signals {
    /// # Errors
    /// When the operating system refuses the handlers.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            stop: StopSignals::listen()?,
            hang_up: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            user_1: listen(SignalKind::user_defined1())?,
            user_2: listen(SignalKind::user_defined2())?,
        })
    }

    /// The next one. Nothing is lost when this is dropped before it is done.
    pub(crate) async fn next(&mut self) -> Heard {
        tokio::select! {
            signal = self.stop.next() => Heard::Stop(signal),
            _ = self.hang_up.recv() => Heard::PassOn(Signal::HUP),
            _ = self.quit.recv() => Heard::PassOn(Signal::QUIT),
            _ = self.user_1.recv() => Heard::PassOn(Signal::USR1),
            _ = self.user_2.recv() => Heard::PassOn(Signal::USR2),
        }
    }
}

fn listen(kind: SignalKind) -> anyhow::Result<unix::Signal> {
    unix::signal(kind).context("listen for signals")
}
