//! `roster register NAME`: makes any process a registered one.
//!
//! With a command: starts it, registers it once it listens, and ties the two together. When the
//! registration must end, its callers are told to leave before the command is; when the command
//! ends, it is deregistered and its exit code passed on. Without: registers until a signal comes.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use roster_client::{Announcement, Connection, Handle, OfflineReason, Registrar, State};
use roster_core::{Address, Cutover, Kind, ServiceName, limits};
use roster_proto::convert::Advice;
use rustix::process::Signal;
use tokio::sync::watch;

use super::{node, words};
use crate::exit::{self, Ending, Exit};
use crate::wrapped::{Child, Heard, Readiness, Signals, accepts, listens};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster register orders --address 10.0.0.7:8080 --version 2 -- ./orders --port 8080
  roster register orders --address 10.0.0.7:8080 --kind main --zone eu-1 --tag blue
  roster register scheduler --address 10.0.0.7:9000 --kind singleton --handover 30s -- ./scheduler

With a COMMAND: it is started, registered when its port accepts connections, and told to stop only
after the registry has told its callers to leave. SIGTERM and SIGINT end it that way, a second one
at once; SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on. When the registry asks it to leave
(a higher version took over, another singleton waits, an operator drains it), it is stopped too.
A COMMAND is not started while somebody else listens at its port: when `roster register` itself is
killed (SIGKILL), its COMMAND goes on without it, and has to be ended before it is started again.
Ends with the code of the COMMAND, or 4 when the registration is refused.")]
pub(crate) struct Register {
    /// The service
    #[arg(value_name = "NAME", value_parser = words::service)]
    service: ServiceName,
    /// Where callers reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = words::address)]
    address: Address,
    /// Its part in the service
    #[arg(long, value_enum, default_value = "member")]
    kind: KindWord,
    /// The version it runs; a higher one takes over
    #[arg(long, value_name = "N", default_value_t = 0)]
    version: u64,
    /// A number for this node, if it has one
    #[arg(long, value_name = "N", default_value_t = 0)]
    node_index: u32,
    /// Its share of the work relative to others
    #[arg(long, value_name = "N", default_value_t = limits::WEIGHT_DEFAULT)]
    weight: u32,
    /// Where it runs, for callers that prefer the near
    #[arg(long, value_name = "ZONE", default_value = "")]
    zone: String,
    /// A free mark; several allowed
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A free pair; several allowed
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = words::pair)]
    metadata: Vec<(String, String)>,
    /// How long it may be out of contact before it is removed, up to 300s
    #[arg(long, value_name = "SPAN", default_value = "3s", value_parser = words::span)]
    grace: Duration,
    /// How long a singleton waits for the present holder to leave; 0 replaces it at once [default: 0]
    #[arg(long, value_name = "SPAN", value_parser = words::span)]
    handover: Option<Duration>,
    /// How many instances of a higher version take over, or side-by-side for never [default: as it is]
    #[arg(long, value_name = "N|side-by-side", value_parser = words::cutover)]
    cutover: Option<Cutover>,
    /// How long callers have to take in that it leaves
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = words::span)]
    drain: Duration,
    /// Keep trying when a rule refuses the registration but may not for ever
    #[arg(long)]
    keep_trying: bool,
    /// Where to see whether the command listens, if not at its address
    #[arg(long, value_name = "HOST:PORT", value_parser = words::address, requires = "command")]
    probe: Option<Address>,
    /// How long the command has until it listens
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = words::span, requires = "command")]
    ready_within: Duration,
    /// How long the command has to stop before it is killed
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = words::span, requires = "command")]
    stop_within: Duration,
    /// What to run, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum KindWord {
    /// One of many
    Member,
    /// One of many that is the main while it registered last
    Main,
    /// The only one; a newcomer takes over by hand-over
    Singleton,
}

pub(crate) async fn run(register: Register, nodes: &[String]) -> anyhow::Result<Exit> {
    let announcement = register.announcement()?;
    let client = node::client(nodes)?;
    let mut signals = Signals::listen()?;

    let mut child = match register.command.split_first() {
        Some((program, arguments)) => {
            register.refuse_taken().await?;
            Some(Child::start(program, arguments)?)
        }
        None => None,
    };
    if let Some(child) = &mut child
        && let Some(exit) = register.until_ready(child, &mut signals).await?
    {
        return Ok(exit);
    }

    let registrar = client.registrar().grace(register.grace).start();
    let handle = registrar.register(announcement);
    let mut wrapper = Wrapper { register, child, signals };
    let parting = wrapper.serve(&registrar, handle).await?;
    // A child that has ended cannot serve the calls of those who do not know yet.
    let signal = match parting {
        Parting::ChildEnded(exit) => {
            say_goodbye(registrar).await;
            return Ok(exit);
        }
        Parting::Refused(error) => {
            wrapper.stop_child(Signal::TERM).await?;
            say_goodbye(registrar).await;
            return Err(error);
        }
        Parting::Leave(signal) => signal,
    };
    say_goodbye(registrar).await;
    wrapper.stop_child(signal).await
}

impl Register {
    fn announcement(&self) -> anyhow::Result<Announcement> {
        let wrong = |wrong: roster_core::InvalidWord| Ending::error(Exit::Usage, wrong.to_string());
        let (host, port) = (self.address.host(), self.address.port());
        let mut announcement = Announcement::new(self.service.as_str(), host, port)
            .map_err(wrong)?
            .kind(match self.kind {
                KindWord::Member => Kind::Member,
                KindWord::Main => Kind::Main,
                KindWord::Singleton => Kind::Singleton,
            })
            .version(self.version)
            .node_index(self.node_index)
            .weight(self.weight)
            .zone(&self.zone)
            .handover(self.handover.unwrap_or_default());
        announcement = self.tags.iter().fold(announcement, |announcement, tag| announcement.tag(tag));
        let pairs = self.metadata.iter();
        announcement = pairs.fold(announcement, |announcement, (key, value)| announcement.metadata(key, value));
        if let Some(cutover) = self.cutover {
            announcement = announcement.cutover(cutover);
        }
        if self.handover.is_some() && !matches!(self.kind, KindWord::Singleton) {
            let why = "--handover is for singletons; add --kind singleton, or leave it out";
            return Err(Ending::error(Exit::Usage, why));
        }
        let grace_max = Duration::from_millis(limits::GRACE_MILLIS_MAX.into());
        if self.grace > grace_max {
            return Err(Ending::error(Exit::Usage, format!("a grace of {:?}; {grace_max:?} at most", self.grace)));
        }
        announcement.check().map_err(wrong)?;
        Ok(announcement)
    }

    /// Where the command's readiness is seen.
    fn probe(&self) -> &Address {
        self.probe.as_ref().unwrap_or(&self.address)
    }

    /// Whoever listens there before the command is started would be taken for it, and callers sent to
    /// a process that nobody watches: often a former command, left behind by a wrapper that was killed.
    async fn refuse_taken(&self) -> anyhow::Result<()> {
        let probe = self.probe();
        if accepts(probe).await {
            let why = format!(
                "somebody else listens at {probe} already, perhaps a former command whose `roster register` was \
                 killed; the command is not started"
            );
            return Err(Ending::error(Exit::Failure, why));
        }
        Ok(())
    }

    /// `Some` when it never came to listening: its end.
    async fn until_ready(&self, child: &mut Child, signals: &mut Signals) -> anyhow::Result<Option<Exit>> {
        let probe = self.probe();
        let listening = listens(probe, self.ready_within);
        tokio::pin!(listening);
        loop {
            tokio::select! {
                readiness = &mut listening => match readiness {
                    Readiness::Listens => return Ok(None),
                    Readiness::Silent => {
                        child.stop(Signal::TERM, self.stop_within).await?;
                        let why = format!(
                            "the command did not listen at {probe} within {:?}; see --ready-within and --probe",
                            self.ready_within
                        );
                        return Err(Ending::error(Exit::Failure, why));
                    }
                },
                exit = child.ended() => return Ok(Some(exit?)),
                heard = signals.next() => match heard {
                    Heard::Stop(signal) => return child.stop(signal, self.stop_within).await.map(Some),
                    Heard::PassOn(signal) => child.signal(signal),
                },
            }
        }
    }
}

/// Why the registration ends.
enum Parting {
    /// The wrapped command has ended by itself.
    ChildEnded(Exit),
    /// Callers have been told to leave; the command gets this signal.
    Leave(Signal),
    /// It was never registered.
    Refused(anyhow::Error),
}

/// What is held together as long as it is registered.
struct Wrapper {
    register: Register,
    child: Option<Child>,
    signals: Signals,
}

impl Wrapper {
    /// Until one of the two must end.
    async fn serve(&mut self, registrar: &Registrar, mut handle: Handle) -> anyhow::Result<Parting> {
        let mut contact = Contact { connection: registrar.connection(), told_away: false };
        loop {
            tokio::select! {
                state = handle.changed() => match state {
                    State::Offline { .. } => {
                        say(&self.register, &standing(&state));
                        return self.leave(handle, Signal::TERM).await;
                    }
                    State::Ended => {
                        let why = "the registration has ended".to_owned();
                        return Ok(Parting::Refused(Ending::error(Exit::Failure, why)));
                    }
                    State::Refused(refusal) => {
                        let later = matches!(refusal.advice(), Advice::RetryNow | Advice::RetryLater);
                        if !(later && self.register.keep_trying) {
                            let exit = exit::of_refusal(refusal.code());
                            return Ok(Parting::Refused(Ending::error(exit, format!("refused: {}", refusal.message))));
                        }
                        say(&self.register, &format!("refused, to be tried again: {}", refusal.message));
                    }
                    State::Waiting | State::Active { .. } | State::Pending { .. } => {
                        say(&self.register, &standing(&state));
                    }
                },
                () = contact.tell(&self.register) => {}
                exit = ended(&mut self.child) => return exit.map(Parting::ChildEnded),
                heard = self.signals.next() => match heard {
                    Heard::Stop(signal) => return self.leave(handle, signal).await,
                    Heard::PassOn(signal) => self.pass_on(signal),
                },
            }
        }
    }

    /// Drains for as long as its callers need and the deadline allows. A second signal ends the patience.
    async fn leave(&mut self, handle: Handle, signal: Signal) -> anyhow::Result<Parting> {
        let draining = drain(&self.register, &handle);
        tokio::pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => return Ok(Parting::Leave(signal)),
                exit = ended(&mut self.child) => return exit.map(Parting::ChildEnded),
                heard = self.signals.next() => match heard {
                    Heard::Stop(signal) => return Ok(Parting::Leave(signal)),
                    Heard::PassOn(signal) => self.pass_on(signal),
                },
            }
        }
    }

    fn pass_on(&self, signal: Signal) {
        if let Some(child) = &self.child {
            child.signal(signal);
        }
    }

    async fn stop_child(&mut self, signal: Signal) -> anyhow::Result<Exit> {
        match &mut self.child {
            Some(child) => child.stop(signal, self.register.stop_within).await,
            None => Ok(Exit::Success),
        }
    }
}

/// The end of the child; never, when there is none.
async fn ended(child: &mut Option<Child>) -> anyhow::Result<Exit> {
    match child {
        Some(child) => child.ended().await,
        None => std::future::pending().await,
    }
}

async fn drain(register: &Register, handle: &Handle) {
    let deadline = match handle.state() {
        State::Active { .. } => register.drain,
        // It is still listed, and stays so until it says goodbye.
        State::Offline { reason: OfflineReason::Drained, .. } => register.drain,
        State::Offline { deadline, .. } => deadline.saturating_duration_since(Instant::now()).min(register.drain),
        // What was never visible has no callers to wait for.
        State::Waiting | State::Pending { .. } | State::Refused(_) | State::Ended => Duration::ZERO,
    };
    if deadline.is_zero() {
        return;
    }
    match handle.drain(deadline).await {
        Ok(mut draining) => {
            let last = draining.finished().await;
            say(register, &format!("drained: {} of {} watchers have seen it", last.seen, last.watchers));
        }
        Err(error) => say(register, &format!("leaves without a drain: {}", exit::chain(&error.into()))),
    }
}

async fn say_goodbye(registrar: Registrar) {
    if let Err(error) = registrar.close().await {
        eprintln!("roster: {}", exit::chain(&error.into()));
    }
}

/// Whether there is a node, as its user has been told.
struct Contact {
    connection: watch::Receiver<Connection>,
    told_away: bool,
}

impl Contact {
    /// Says when contact is lost or found, once each: the attempts between are nobody's news.
    async fn tell(&mut self, register: &Register) {
        if self.connection.changed().await.is_err() {
            // The registrar has ended; the handle says how.
            return std::future::pending().await;
        }
        let was_away = self.told_away;
        let line = match &*self.connection.borrow_and_update() {
            Connection::Away { .. } if was_away => return,
            Connection::Connecting => return,
            Connection::Away { why, .. } => {
                self.told_away = true;
                format!("no contact, trying again: {why}")
            }
            Connection::Connected { session, endpoint } => {
                self.told_away = false;
                format!("session {session} at {endpoint}")
            }
            Connection::Ended { why } => format!("the session has ended: {why}"),
        };
        say(register, &line);
    }
}

fn standing(state: &State) -> String {
    match state {
        State::Waiting => "waiting for a node".to_owned(),
        State::Active { instance, token: Some(token), .. } => {
            format!("registered as instance {instance}, with fencing token {token}")
        }
        State::Active { instance, token: None, .. } => format!("registered as instance {instance}"),
        State::Pending { instance, ahead } => {
            format!("registered as instance {instance}, waiting for instance {ahead} to leave")
        }
        State::Refused(refusal) => format!("refused: {}", refusal.message),
        State::Offline { reason, .. } => format!("asked to leave: {}", words::offline_word(*reason)),
        State::Ended => "ended".to_owned(),
    }
}

/// Standard output belongs to the command.
fn say(register: &Register, what: &str) {
    eprintln!("roster: {} {}: {what}", register.service, register.address);
}
