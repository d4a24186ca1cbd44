//! `roster watch`: what changes, as it changes.

use jiff::Timestamp;
use roster_client::WatchEvent;
use roster_core::Selector;
use roster_core::view::Change;
use roster_proto::convert::Advice;

use super::{node, words};
use crate::exit::{self, Ending, Exit};
use crate::render::{ChangeLine, Screen};
use crate::wrapped::StopSignals;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["selector", "all"]).required(true), after_help = "\
Examples:
  roster watch orders
  roster watch team/
  roster watch --all --output json | jq 'select(.event == \"removed\")'
  roster watch orders --once

First comes the state, then \"loaded\", then each change once and in order, also across a restart
of the node. Ends with a signal, or with --once when the state is whole.
Fields of --output text: time received, position, event, service, address, instance, reason.")]
pub(crate) struct Watch {
    /// A service, or everything below a prefix that ends in /
    #[arg(value_name = "NAME|PREFIX/", value_parser = words::selector)]
    selector: Option<Selector>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// Only the state as it is
    #[arg(long)]
    once: bool,
}

/// Changes that may wait for the screen before they collapse into the state as it is.
const CHANGES_WAITING_MAX: usize = 65_536;

pub(crate) async fn run(watch: Watch, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    let selector = watch.selector.unwrap_or(Selector::All);
    let mut reader = Reader {
        watch: client.watch(selector).capacity(CHANGES_WAITING_MAX).start(),
        contact: Contact::Never { attempts_left: nodes.len() },
        once: watch.once,
        screen,
        nodes: nodes.join(", "),
    };
    let mut signals = StopSignals::listen()?;
    tokio::select! {
        ended = reader.read() => ended,
        _ = signals.next() => Ok(Exit::Success),
    }
}

/// Whether a node was ever reached.
enum Contact {
    /// Each address gets one attempt; then it is more useful to say so than to wait.
    Never { attempts_left: usize },
    /// From here on the watch outlives the node.
    Made,
    /// Lost, and said so.
    Lost,
}

struct Reader {
    watch: roster_client::Watch,
    contact: Contact,
    once: bool,
    screen: Screen,
    /// Where it looks for one.
    nodes: String,
}

impl Reader {
    async fn read(&mut self) -> anyhow::Result<Exit> {
        while let Some(event) = self.watch.next().await {
            match event {
                WatchEvent::Change(change) => {
                    self.show(&change)?;
                    if self.once && matches!(change, Change::Loaded { .. }) {
                        return Ok(Exit::Success);
                    }
                }
                WatchEvent::Resynchronise => {
                    eprintln!("roster: more has changed than could be shown; the state as it is follows");
                    self.show_state()?;
                    if self.once {
                        return Ok(Exit::Success);
                    }
                }
                WatchEvent::Connected { endpoint } => {
                    if let Contact::Lost = self.contact {
                        eprintln!("roster: in contact again with {endpoint}");
                    }
                    self.contact = Contact::Made;
                }
                WatchEvent::Disconnected { why } => self.lose_contact(&why)?,
                WatchEvent::Refused(refusal) => match refusal.advice() {
                    Advice::RetryNow | Advice::RetryLater => {
                        eprintln!("roster: refused, to be tried again: {}", refusal.message);
                    }
                    Advice::FixRequest | Advice::GiveUp => {
                        let why = format!("the watch is refused: {}", refusal.message);
                        return Err(Ending::error(exit::of_refusal(refusal.code()), why));
                    }
                },
            }
        }
        Err(Ending::error(Exit::Failure, "the watch has ended"))
    }

    fn show(&self, change: &Change) -> anyhow::Result<()> {
        let main = match change {
            Change::MainChanged { service, main: Some(main) } => {
                let view = self.watch.view().current();
                let instance = view.instances(service).find(|instance| instance.id == *main);
                instance.map(|instance| instance.registration.address.to_string())
            }
            Change::MainChanged { main: None, .. }
            | Change::Up(_)
            | Change::Suspect(_)
            | Change::Changed(_)
            | Change::Draining(_)
            | Change::Replaced { .. }
            | Change::Removed { .. }
            | Change::Loaded { .. } => None,
        };
        self.screen.show_next(&ChangeLine::new(Timestamp::now(), change, main))?;
        Ok(())
    }

    fn show_state(&self) -> anyhow::Result<()> {
        let view = self.watch.view().current();
        for instance in view.all() {
            self.show(&Change::Up(instance.clone()))?;
        }
        self.show(&Change::Loaded { position: view.position() })
    }

    fn lose_contact(&mut self, why: &str) -> anyhow::Result<()> {
        match &mut self.contact {
            Contact::Made => {
                eprintln!("roster: out of contact, trying again: {why}");
                self.contact = Contact::Lost;
            }
            // Each attempt that fails is nobody's news.
            Contact::Lost => {}
            Contact::Never { attempts_left } => {
                *attempts_left = attempts_left.saturating_sub(1);
                if *attempts_left == 0 {
                    return Err(Ending::error(
                        Exit::Unreachable,
                        format!("cannot reach a node at {}: {why}", self.nodes),
                    ));
                }
            }
        }
        Ok(())
    }
}
