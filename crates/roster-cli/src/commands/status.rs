//! `roster status`: how a node is doing.

use super::node;
use crate::exit::Exit;
use crate::render::{Screen, Status};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster status
  roster status --server http://10.0.0.1:7400
  roster status --output json | jq .healthy

Ends with 0 whenever a node answers; `healthy` and `concerns` say what to look at.
Lines of --output text: a name and a value.")]
pub(crate) struct GetStatus {}

pub(crate) async fn run(_status: GetStatus, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    screen.show(&Status::new(client.status().await?))?;
    Ok(Exit::Success)
}
