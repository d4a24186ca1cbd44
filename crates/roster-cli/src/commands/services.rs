//! `roster services [PREFIX]`: which services there are.

use roster_core::Selector;

use super::{node, words};
use crate::exit::Exit;
use crate::render::{Screen, Services};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster services
  roster services team/
  roster services --output text | cut -f1       the names alone

Fields of --output text: service, up, unconfirmed, suspect, draining, pending, floor, cutover,
main instance.")]
pub(crate) struct ListServices {
    /// Only those below it; ends in /
    #[arg(value_name = "PREFIX/", value_parser = words::prefix)]
    prefix: Option<Selector>,
}

pub(crate) async fn run(services: ListServices, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    let below = services.prefix.unwrap_or(Selector::All);
    let listed = client.services(below.as_str()).await?;
    screen.show(&Services::new(&listed))?;
    Ok(Exit::Success)
}
