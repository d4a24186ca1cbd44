//! The messages of a queue, by hand: peek and purge.

use roster_client::Client;
use roster_client::queue::{Content, Contents, KeptMessage, MessageId, MessagesQuery, QueueName};

use crate::commands::words;
use crate::exit::Exit;
use crate::render::{KeptMessages, Purged, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue peek orders
  roster queue peek orders --part failed --limit 100
  roster queue peek orders --after 4711 --output json | jq -r '.[].payload'

Messages that are with consumers are shown where they were before. Nothing changes by looking.
Fields of --output text: id, published, attempts, bytes, \"in flight\" or empty, next delivery, reason,
content type, payload; control characters are escaped.")]
pub(super) struct Peek {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    /// Which messages: those that never failed, or those that did
    #[arg(long, value_enum, default_value = "waiting")]
    part: PeekPart,
    /// How many at most, up to 1000
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = limit())]
    limit: u32,
    /// Only those after this message
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PeekPart {
    Waiting,
    Failed,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue purge orders --part dead
  roster queue purge orders --part all

Fields of --output text: queue, messages.")]
pub(super) struct Purge {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    /// Which messages: those that never failed, those that did, dead letters, or all
    #[arg(long, value_enum)]
    part: PurgePart,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PurgePart {
    Waiting,
    Failed,
    Dead,
    All,
}

/// What is shown at a time; more is asked for by `--after`.
pub(super) fn limit() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1000)
}

pub(super) async fn peek(peek: &Peek, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let part = match peek.part {
        PeekPart::Waiting => Contents::Waiting,
        PeekPart::Failed => Contents::Failed,
    };
    let after = peek.after.map(MessageId::new);
    let query = MessagesQuery { part, limit: peek.limit, after, only: None, content: Content::With };
    let (messages, more) = gather(client, &peek.queue, query).await?;
    screen.show(&KeptMessages::new(&messages, more))?;
    Ok(Exit::Success)
}

/// As many as the query asks for, page by page, and whether more follow.
pub(super) async fn gather(
    client: &Client,
    queue: &QueueName,
    mut query: MessagesQuery,
) -> anyhow::Result<(Vec<KeptMessage>, bool)> {
    let limit = query.limit as usize;
    let mut found: Vec<KeptMessage> = Vec::new();
    loop {
        query.limit = u32::try_from(limit - found.len())?;
        let page = client.queues().messages(queue, query).await?;
        let last = page.messages.last().map(|message| message.id);
        found.extend(page.messages);
        if !page.more || found.len() >= limit || last.is_none() {
            return Ok((found, page.more));
        }
        query.after = last;
    }
}

pub(super) async fn purge(purge: &Purge, client: &Client, screen: Screen) -> anyhow::Result<Exit> {
    let part = match purge.part {
        PurgePart::Waiting => Contents::Waiting,
        PurgePart::Failed => Contents::Failed,
        PurgePart::Dead => Contents::Dead,
        PurgePart::All => Contents::All,
    };
    let messages = client.queues().purge(&purge.queue, part).await?;
    screen.show(&Purged::new(&purge.queue, messages))?;
    Ok(Exit::Success)
}
