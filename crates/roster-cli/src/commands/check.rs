//! `roster check NAME`: "I cannot reach it", said by hand.

use std::collections::BTreeMap;

use roster_client::CheckOutcome;
use roster_core::{Selector, ServiceName, SessionId};

use super::{node, words};
use crate::exit::{Ending, Exit};
use crate::render::{Checks, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster check orders
  roster check orders --session 17

The node pings each session at once and waits a second for its answer; one that does not answer is
suspect from then on, and removed when its grace ends. Ends with 0 when all are alive, 1 when one is
not, 3 when there is nothing to check.
Fields of --output text: session, outcome, addresses (separated by commas).")]
pub(crate) struct Check {
    /// The service
    #[arg(value_name = "NAME", value_parser = words::service)]
    service: ServiceName,
    /// Only this session [default: every session that serves it]
    #[arg(long, value_name = "N")]
    session: Option<u64>,
}

pub(crate) async fn run(check: Check, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    let mut sessions: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
    for instance in client.list(&Selector::Service(check.service.clone())).await? {
        sessions.entry(instance.session).or_default().push(instance.registration.address.to_string());
    }
    if let Some(session) = check.session {
        sessions.retain(|id, _| id.get() == session);
    }
    if sessions.is_empty() {
        let of_session = check.session.map(|session| format!(" of session {session}")).unwrap_or_default();
        let why = format!("no instance of {}{of_session} is registered", check.service);
        return Err(Ending::error(Exit::NotFound, why));
    }
    let mut checks = Checks::default();
    let mut exit = Exit::Success;
    for (session, addresses) in sessions {
        let outcome = client.check(&check.service, session).await?;
        if outcome != CheckOutcome::Alive {
            exit = Exit::Failure;
        }
        checks.add(session.get(), addresses, outcome);
    }
    screen.show(&checks)?;
    Ok(exit)
}
