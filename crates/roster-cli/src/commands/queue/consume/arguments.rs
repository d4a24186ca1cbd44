//! What `roster queue consume` takes.

use std::ffi::OsString;
use std::time::Duration;

use roster_client::Client;
use roster_client::queue::{Message, QueueName, Raw};

use super::takings::Takings;
use super::{commanded, printed};
use crate::commands::queue::contact::Contact;
use crate::commands::words;
use crate::exit::Exit;
use crate::render::Screen;

/// Messages that are under way to standard output at a time.
const WINDOW_OF_PRINTER: u32 = 256;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue consume orders
  roster queue consume orders --limit 10 --output json | jq -r .payload
  roster queue consume orders --idle 5s > drained.txt
  roster queue consume orders --parallel 8 -- ./handle-one-order

Without COMMAND each payload is printed as a line, as it is, and acknowledged when it is written. With
COMMAND it runs once per message, with the payload on its standard input and ROSTER_QUEUE,
ROSTER_MESSAGE_ID, ROSTER_ATTEMPT and ROSTER_CONTENT_TYPE in its environment: exit code 0 acknowledges; any
other code, or a signal, fails the message, with the code and the last line of its standard error as the
reason, and it is delivered again after the back-off of the queue. While a command runs its time is
extended.
Goes on until --limit, --idle or a signal: running commands finish then; a second signal is passed on to
them. Ends with 0 then, whatever the commands ended with.
Fields of --output json: id, attempt, enqueued, content_type, headers, payload, or payload_base64 when it
is no text.")]
pub(in crate::commands::queue) struct Consume {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End when nothing came for so long
    #[arg(long, value_name = "SPAN", value_parser = words::span)]
    idle: Option<Duration>,
    /// So many commands at a time
    #[arg(long, value_name = "N", default_value_t = 1, requires = "command", value_parser = clap::value_parser!(u32).range(1..=4096))]
    parallel: u32,
    /// What to run for each message
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

pub(in crate::commands::queue) async fn run(
    consume: Consume,
    client: &Client,
    nodes: &[String],
    screen: Screen,
) -> anyhow::Result<Exit> {
    let Consume { queue, limit, idle, parallel, command } = consume;
    let of_task = if command.is_empty() { WINDOW_OF_PRINTER } else { parallel };
    // What is delivered beyond the limit would come back to the queue with an attempt less.
    let window = limit.and_then(|limit| u32::try_from(limit).ok()).map_or(of_task, |limit| limit.min(of_task));
    let consumer = client.consumer::<Message>(queue.clone()).format::<Raw>().concurrency(window)?.pull();
    let contact = Contact::new(consumer.link(), nodes);
    let takings = Takings::new(consumer, limit, idle);
    match command.split_first() {
        None => printed::run(takings, contact, screen).await,
        Some((program, arguments)) => {
            let task = commanded::Task { queue, program: program.clone(), arguments: arguments.to_vec() };
            commanded::run(takings, contact, task, parallel as usize).await
        }
    }
}
