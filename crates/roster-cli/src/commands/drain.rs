//! `roster drain INSTANCE`: takes an instance out of new work, and shows who has taken that in.

use std::time::Duration;

use roster_core::{Address, InstanceId, Selector, ServiceName};

use super::{node, words};
use crate::exit::{Ending, Exit};
use crate::render::{DrainLine, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster drain 4711
  roster drain 10.0.0.7:8080 --service orders
  roster drain 4711 --deadline 60s && systemctl stop orders

The instance stays registered and is told to leave; it may stop when all watchers have seen that it
drains. Ends with 0 when they have, 1 when the deadline has passed before, 3 when there is no such
instance.
Fields of --output text: instance, watchers that have seen it, watchers, \"going on\" or \"finished\".")]
pub(crate) struct Drain {
    /// The number of the instance, or its address with --service
    #[arg(value_name = "INSTANCE|HOST:PORT", value_parser = target)]
    target: Target,
    /// The service of the address
    #[arg(long, value_name = "NAME", value_parser = words::service)]
    service: Option<ServiceName>,
    /// How long to wait for the watchers
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = words::span)]
    deadline: Duration,
}

#[derive(Debug, Clone)]
enum Target {
    Instance(InstanceId),
    Address(Address),
}

fn target(text: &str) -> Result<Target, String> {
    match text.parse() {
        Ok(id) => Ok(Target::Instance(InstanceId::new(id))),
        Err(_) => words::address(text).map(Target::Address),
    }
}

pub(crate) async fn run(drain: Drain, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    let instance = match (&drain.target, &drain.service) {
        (Target::Instance(id), _) => *id,
        (Target::Address(_), None) => {
            return Err(Ending::error(Exit::Usage, "an address alone names no instance; add --service NAME"));
        }
        (Target::Address(address), Some(service)) => {
            let listed = client.list(&Selector::Service(service.clone())).await?;
            let found = listed.iter().find(|instance| instance.registration.address == *address);
            let missing = || Ending::error(Exit::NotFound, format!("no instance of {service} is at {address}"));
            found.ok_or_else(missing)?.id
        }
    };
    let mut progress = client.drain(instance, drain.deadline).await?;
    let mut seen_by_all = false;
    while let Some(step) = progress.next().await? {
        let line = DrainLine::new(instance.get(), step.seen, step.watchers, step.finished);
        seen_by_all = line.is_seen_by_all();
        screen.show_next(&line)?;
    }
    Ok(if seen_by_all { Exit::Success } else { Exit::Failure })
}
