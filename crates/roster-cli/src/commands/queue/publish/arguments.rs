//! What `roster queue publish` takes, and the queue that it finds or creates.

use std::io;
use std::os::unix::ffi::OsStringExt;

use std::ffi::OsString;

use roster_client::queue::{Message, QueueName, Raw, Settings};
use roster_client::{Client, Error, RefusalCode};
use roster_core::{Label, Metadata};

use super::reader::{Input, Reader, Template};
use super::sender::Sender;
use crate::commands::words;
use crate::exit::{Ending, Exit};
use crate::render::Screen;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster queue publish orders 'first' 'second'
  roster queue publish orders --input json < orders.ndjson
  roster queue publish orders --input whole --content-type image/png < picture.png
  tail -f app.log | roster queue publish logs --create
  roster queue publish orders --producer import-2026-03 --input lines < orders.txt

Ends when all of it is stored. Without --producer, running it again stores everything again; with it, what
was stored under that id is skipped, so the same input can be sent again after a crash. A node that is lost
is waited for. A message that is refused is named by its number, the others go on, and the end is 4. A
signal ends the input: what was taken before is still sent, and the end is 1.
Fields of --output text: queue, stored, skipped, refused, not known to be stored, first id, last id.")]
pub(in crate::commands::queue) struct Publish {
    #[arg(value_name = "NAME", value_parser = words::queue)]
    queue: QueueName,
    /// The messages; without any, they are read from standard input
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,
    /// How standard input is cut: a message a line, a line of JSON each, or the whole as one
    #[arg(long, value_enum, default_value = "lines", conflicts_with = "messages")]
    input: InputForm,
    /// What kind of payload it is; with --input json, application/json unless said otherwise
    #[arg(long, value_name = "TYPE", value_parser = content_type)]
    content_type: Option<Label>,
    /// A header of each message; several allowed
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = words::pair)]
    headers: Vec<(String, String)>,
    /// Create the queue with the default settings when there is none
    #[arg(long)]
    create: bool,
    /// Who publishes; what is stored under this id already is not sent again
    #[arg(long, value_name = "ID")]
    producer: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum InputForm {
    Lines,
    Json,
    Whole,
}

fn content_type(text: &str) -> Result<Label, String> {
    Label::parse("content type", text).map_err(|wrong| wrong.to_string())
}

impl Publish {
    fn template(&self) -> anyhow::Result<Template> {
        let wrong = |wrong: roster_core::InvalidWord| Ending::error(Exit::Usage, wrong.to_string());
        let pairs = self.headers.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let headers = Metadata::parse(pairs).map_err(wrong)?;
        let of_input = if self.input == InputForm::Json { "application/json" } else { "" };
        let content_type = match &self.content_type {
            Some(given) => given.clone(),
            None => Label::parse("content type", of_input).map_err(wrong)?,
        };
        Ok(Template { content_type, headers })
    }
}

pub(in crate::commands::queue) async fn run(
    publish: Publish,
    client: &Client,
    nodes: &[String],
    screen: Screen,
) -> anyhow::Result<Exit> {
    let template = publish.template()?;
    let mut builder = client.producer::<Message>(publish.queue.clone()).format::<Raw>();
    if let Some(id) = &publish.producer {
        builder = builder.id(id)?;
    }
    let settings = settings_of(client, &publish).await?;
    let message_max = usize::try_from(settings.message_bytes_max)?;
    let Publish { messages, input, .. } = publish;
    let reader = match (messages.is_empty(), input) {
        (false, _) => Reader::of_list(messages.into_iter().map(OsStringExt::into_vec), template, message_max),
        (true, InputForm::Lines) => Reader::start(io::stdin(), Input::Lines, template, message_max)?,
        (true, InputForm::Json) => Reader::start(io::stdin(), Input::JsonLines, template, message_max)?,
        (true, InputForm::Whole) => Reader::start(io::stdin(), Input::Whole, template, message_max)?,
    };
    let resumes = publish.producer.is_some();
    Sender::new(client, &publish.queue, builder.start(), nodes)?.send_all(reader, resumes, screen).await
}

/// The settings of the queue, which is created when that is asked for.
async fn settings_of(client: &Client, publish: &Publish) -> anyhow::Result<Settings> {
    let queues = client.queues();
    match queues.get(&publish.queue).await {
        Ok(status) => Ok(status.settings),
        Err(error) if publish.create && is(&error, RefusalCode::UnknownQueue) => {
            match queues.create(&publish.queue, Settings::default()).await {
                Ok(creation) => Ok(creation.settings),
                // Somebody else was faster, and has settings of his own.
                Err(error) if is(&error, RefusalCode::SettingsDiffer) => Ok(queues.get(&publish.queue).await?.settings),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn is(error: &Error, code: RefusalCode) -> bool {
    if let Error::Refused { refusal, .. } = error { refusal.code() == code } else { false }
}
