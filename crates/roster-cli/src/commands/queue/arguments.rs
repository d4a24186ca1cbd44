//! The subcommands of `roster queue`.

use super::catalogue::{Create, Delete, List, Stats, Update};
use super::consume::Consume;
use super::dead::Dead;
use super::messages::{Peek, Purge};
use super::publish::Publish;
use super::{catalogue, consume, dead, messages, publish};
use crate::commands::node;
use crate::exit::Exit;
use crate::render::Screen;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue create orders --attempts-max 5
  roster queue publish orders '{\"number\": 1}' --content-type application/json
  roster queue consume orders -- ./handle-one-order
  roster queue list

A message is delivered at least once: until a consumer acknowledges it, or its attempts are used up
and it is a dead letter.")]
pub(crate) struct Queue {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Gets a queue, or creates it
    Create(Create),
    /// Changes the settings of a queue; its messages stay
    Update(Update),
    /// Removes a queue with all its messages
    Delete(Delete),
    /// Lists queues with their counts
    List(List),
    /// Shows one queue: settings, counts, totals, rates
    Stats(Stats),
    /// Stores messages, from the arguments or from standard input
    Publish(Box<Publish>),
    /// Takes messages: prints them, or runs a command for each
    Consume(Consume),
    /// Removes messages unread
    Purge(Purge),
    /// Shows messages, and leaves them where they are
    Peek(Peek),
    /// Looks at dead letters, delivers them again, or removes them
    Dead(Dead),
}

pub(crate) async fn run(queue: Queue, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    match queue.action {
        Action::Create(create) => catalogue::create(&create, &client, screen).await,
        Action::Update(update) => catalogue::update(&update, &client, screen).await,
        Action::Delete(delete) => catalogue::delete(&delete, &client, screen).await,
        Action::List(list) => catalogue::list(&list, &client, screen).await,
        Action::Stats(stats) => catalogue::stats(&stats, &client, screen).await,
        Action::Publish(publish) => publish::run(*publish, &client, nodes, screen).await,
        Action::Consume(consume) => consume::run(consume, &client, nodes, screen).await,
        Action::Purge(purge) => messages::purge(&purge, &client, screen).await,
        Action::Peek(peek) => messages::peek(&peek, &client, screen).await,
        Action::Dead(dead) => dead::run(dead, &client, screen).await,
    }
}
