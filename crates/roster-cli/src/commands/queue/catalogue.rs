//! Queues as wholes: create, update, delete, list, stats.

use roster_client::Client;
use roster_client::queue::{QueueName, SettingsChange};
use roster_core::Selector;

use super::options::Options;
use crate::commands::words;
use crate::exit::{Ending, Exit};
use crate::render::{OneQueue, QueueDeleted, QueueList, QueueSet, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue create orders
  roster queue create orders --attempts-max 5 --ack-timeout 1m --message-max 64KiB

A queue that is there with the same settings is left as it is. With other settings this ends with 4
and names the differences; `roster queue update` changes them.
Fields of --output text: queue, \"created\" or \"was there\".")]
pub(super) struct Create {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue update orders --ack-timeout 5m
  roster queue update orders --waiting-max 5000000 --waiting-bytes-max 4GiB

Only what is given changes. Messages that are with consumers keep the time that they were given.
Fields of --output text: queue, \"updated\".")]
pub(super) struct Update {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue delete orders

Its messages and dead letters go with it, and its producers and consumers are told.
Fields of --output text: queue, messages.")]
pub(super) struct Delete {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue list
  roster queue list team/
  roster queue list --output json | jq '.[] | select(.dead > 0) | .queue'

Fields of --output text: queue, waiting, in flight, failed, dead, bytes, consumers, producers, when the
oldest was published, published a second, acknowledged a second.")]
pub(super) struct List {
    /// Only those below it; ends in /
    #[arg(value_name = "PREFIX/", value_parser = words::prefix)]
    prefix: Option<Selector>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue stats orders
  roster queue stats orders --output json | jq .totals

Lines of --output text: a name and a value.")]
pub(super) struct Stats {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
}

pub(super) async fn create(create: &Create, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let settings = create.options.settings()?;
    let creation = client.queues().create(&create.queue, settings).await?;
    let shown = if creation.created { QueueSet::created } else { QueueSet::was_there };
    screen.show(&shown(&create.queue, &creation.settings))?;
    Ok(Exit::Success)
}

pub(super) async fn update(update: &Update, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let change = update.options.change();
    if change == SettingsChange::default() {
        return Err(Ending::error(Exit::Usage, "nothing is to change; give at least one setting"));
    }
    let settings = client.queues().update(&update.queue, change).await?;
    screen.show(&QueueSet::updated(&update.queue, &settings))?;
    Ok(Exit::Success)
}

pub(super) async fn delete(delete: &Delete, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let messages = client.queues().delete(&delete.queue).await?;
    screen.show(&QueueDeleted::new(&delete.queue, messages))?;
    Ok(Exit::Success)
}

pub(super) async fn list(list: &List, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let prefix = list.prefix.as_ref().unwrap_or(&Selector::All);
    let queues = client.queues().list(prefix.as_str()).await?;
    screen.show(&QueueList::new(&queues))?;
    Ok(Exit::Success)
}

pub(super) async fn stats(stats: &Stats, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let queue = client.queues().get(&stats.queue).await?;
    screen.show(&OneQueue::new(&queue))?;
    Ok(Exit::Success)
}
