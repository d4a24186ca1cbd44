//! Dead letters: list, peek, requeue, drop.

use std::io::{self, Write};

use roster_client::Client;
use roster_client::queue::{Content, Contents, DeadLetters, MessageId, MessagesQuery, QueueName};

use super::messages::{gather, limit};
use crate::commands::words;
use crate::exit::{Ending, Exit};
use crate::render::{DeadList, DeadMoved, Format, OneMessage, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue dead list orders
  roster queue dead requeue orders --all

A message whose attempts are used up is a dead letter: it is delivered to nobody until it is requeued
by hand, and it counts towards the limits of its queue.")]
pub(super) struct Dead {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Lists dead letters, and why they are
    #[command(after_help = "\
Examples:
  roster queue dead list orders
  roster queue dead list orders --output text | cut -f1      the ids alone

Fields of --output text: id, published, dead since, attempts, bytes, reason.")]
    List {
        #[arg(value_name = "NAME", value_parser = words::queue)]
        queue: QueueName,
        /// How many at most, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = limit())]
        limit: u32,
        /// Only those after this message
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
    },
    /// Prints one dead letter
    #[command(after_help = "\
Examples:
  roster queue dead peek orders 4711
  roster queue dead peek orders 4711 --output text > message

--output text is the payload alone, as it is.")]
    Peek {
        #[arg(value_name = "NAME", value_parser = words::queue)]
        queue: QueueName,
        #[arg(value_name = "ID")]
        id: u64,
    },
    /// Delivers dead letters again, as if they had never failed
    #[command(after_help = "\
Examples:
  roster queue dead requeue orders 4711 4712
  roster queue dead requeue orders --all

Ends with 3 when one of those named is no dead letter; the others are moved.
Fields of --output text: queue, messages, of those named no dead letters.")]
    Requeue(Which),
    /// Removes dead letters
    #[command(after_help = "\
Examples:
  roster queue dead drop orders 4711 4712
  roster queue dead drop orders --all

Ends with 3 when one of those named is no dead letter; the others are removed.
Fields of --output text: queue, messages, of those named no dead letters.")]
    Drop(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    /// These
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<u64>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl Which {
    fn letters(&self) -> DeadLetters {
        match self.all {
            true => DeadLetters::All,
            false => DeadLetters::These(self.ids.iter().copied().map(MessageId::new).collect()),
        }
    }
}

pub(super) async fn run(dead: Dead, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    match dead.action {
        Action::List { queue, limit, after } => {
            let after = after.map(MessageId::new);
            let query = MessagesQuery { part: Contents::Dead, limit, after, only: None, content: Content::Without };
            let (messages, more) = gather(client, &queue, query).await?;
            screen.show(&DeadList::new(&messages, more))?;
            Ok(Exit::Success)
        }
        Action::Peek { queue, id } => peek(client, &queue, MessageId::new(id), screen).await,
        Action::Requeue(which) => {
            let moved = client.queues().requeue(&which.queue, which.letters()).await?;
            show(&DeadMoved::requeued(&which.queue, moved), screen)
        }
        Action::Drop(which) => {
            let moved = client.queues().drop_dead(&which.queue, which.letters()).await?;
            show(&DeadMoved::dropped(&which.queue, moved), screen)
        }
    }
}

fn show(moved: &DeadMoved, screen: Screen) -> anyhow::Result<Exit> {
    screen.show(moved)?;
    Ok(if moved.are_all_known() { Exit::Success } else { Exit::NotFound })
}

async fn peek(client: &Client, queue: &QueueName, id: MessageId, screen: Screen) -> anyhow::Result<Exit> {
    let query = MessagesQuery { part: Contents::Dead, limit: 1, after: None, only: Some(id), content: Content::With };
    let page = client.queues().messages(queue, query).await?;
    let missing = || Ending::error(Exit::NotFound, format!("message {id} is no dead letter of {queue}"));
    let found = page.messages.first().ok_or_else(missing)?;
    match (screen.format(), &found.message) {
        (Format::Text, Some(message)) => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(message.payload())?;
            stdout.flush()?;
        }
        (Format::Table | Format::Json | Format::Text, _) => screen.show(&OneMessage::new(found))?,
    }
    Ok(Exit::Success)
}
