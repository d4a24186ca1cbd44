//! `roster cutover NAME …`: an operator's word on when a higher version takes over.

use roster_core::{Cutover, Label, ServiceName};

use super::{node, words};
use crate::exit::{Ending, Exit};
use crate::render::{CutoverSet, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster cutover orders 3               three instances of a higher version take over
  roster cutover orders side-by-side    versions live side by side
  roster cutover orders clear           back to what the registrations bring

An operator's cutover wins over that of the registrations, until it is cleared.
Fields of --output text: service, cutover, position.")]
pub(crate) struct SetCutover {
    /// The service; it need not have an instance yet
    #[arg(value_name = "NAME", value_parser = words::service)]
    service: ServiceName,
    /// A number of instances, side-by-side, or clear
    #[arg(value_name = "N|side-by-side|clear", value_parser = policy)]
    policy: Policy,
    /// Who says so, for the record
    #[arg(long, value_name = "WHO", env = "USER", hide_env_values = true, default_value = "")]
    author: String,
}

#[derive(Debug, Clone, Copy)]
enum Policy {
    Set(Cutover),
    Clear,
}

fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "clear" => Ok(Policy::Clear),
        _ => words::cutover(text).map(Policy::Set).map_err(|why| format!("{why}; or clear")),
    }
}

pub(crate) async fn run(set: SetCutover, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    Label::parse("author", &set.author).map_err(|wrong| Ending::error(Exit::Usage, wrong.to_string()))?;
    let cutover = match set.policy {
        Policy::Set(cutover) => Some(cutover),
        Policy::Clear => None,
    };
    let position = client.set_cutover(&set.service, cutover, &set.author).await?;
    screen.show(&CutoverSet::new(set.service.as_str(), cutover, position.get()))?;
    Ok(Exit::Success)
}
