//! `roster guard release`: an operator's word that a mass loss is real.

use super::node;
use crate::exit::Exit;
use crate::render::{Released, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster guard release

When more than a share of all instances, or of one service, would be removed within ten seconds because
nothing is heard of them, a node holds that back: more likely the network is wrong. What is held stays
suspect, `roster status` says so, and it ends by itself when they return. Say `release` when they are
really gone: they are removed, and so is whoever else is lost within the next ten seconds.
Fields of --output text: sessions, instances.")]
pub(crate) struct Guard {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Action {
    /// Removes those whom the mass-loss guard holds
    #[command(after_help = "\
Examples:
  roster guard release
  roster guard release --output json")]
    Release,
}

pub(crate) async fn run(guard: Guard, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    match guard.action {
        Action::Release => {
            let released = node::client(nodes)?.release_guard().await?;
            screen.show(&Released::new(released.sessions, released.instances))?;
            Ok(Exit::Success)
        }
    }
}
