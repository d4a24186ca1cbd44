//! `roster.v1.Queues`.

use roster_core::limits::MESSAGES_PER_COMMAND_MAX;
use roster_core::queue::{Command, Contents, DeadLetters, MessageId, Outcome, QueueName, Settings};
use roster_core::{Position, Selector};
use roster_proto::convert::{
    encode_queue_settings, invalid, parse_queue_name, parse_queue_settings, parse_queue_type, status_of,
};
use roster_proto::server::queues_server::Queues;
use roster_proto::v1;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::publish::argument;
use super::{Desk, consume, publish, stopping};
use crate::broker::{Broker, BrokerMail, Origin, Page, Part, Submission, WriterMail};

/// The most queues of one page, and how many there are when the caller names no number.
const QUEUES_PER_PAGE: usize = 1000;
/// The most messages of one page.
const MESSAGES_PER_PAGE: usize = 1000;
/// How many there are when the caller names no number.
const MESSAGES_PER_PAGE_DEFAULT: usize = 100;

/// Dead letters that one command requeues when all of them are asked for: few enough that whoever publishes or consumes
/// meanwhile does not notice.
const REQUEUED_AT_ONCE: usize = 2048;

/// What stands around the bytes of a message in a request: lengths, keys, and a few bytes for each header.
const AROUND_MESSAGE_BYTES: usize = 16 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct QueuesApi(pub(crate) Desk);

type Answer<T> = Result<Response<T>, Status>;

impl Desk {
    /// Logs one command about queues and waits until it is applied.
    pub(crate) async fn submit_to_queues(&self, command: Command) -> Result<(Position, Outcome), Status> {
        let (reply, answer) = oneshot::channel();
        let submission = Submission::new(vec![command], Origin::Unary { reply, reservation: None, ticket: None });
        self.queues.writer.send(WriterMail::Submission(submission)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?.map_err(|refusal| status_of(&refusal))
    }

    /// Reads the queues as they are between two batches.
    pub(crate) async fn read_queues<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Broker) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |broker: &Broker| drop(reply.send(read(broker))));
        self.queues.broker.send(BrokerMail::Read(read)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    async fn queue_settings(&self, queue: &QueueName) -> Result<Option<Settings>, Status> {
        let queue = queue.clone();
        self.read_queues(move |broker| broker.queue(&queue).map(|queue| *queue.settings())).await
    }

    /// Requeues the dead letters that are there, some at a time and each some by a command of their own. What is done
    /// when the caller goes or the node stops stays done.
    async fn requeue_all(&self, queue: QueueName) -> Answer<v1::MovedResponse> {
        let (mut all, mut after, mut last) = (v1::MovedResponse::default(), MessageId::default(), None);
        loop {
            let name = queue.clone();
            let read = move |broker: &Broker| broker.dead(&name, after, REQUEUED_AT_ONCE);
            let (mut ids, newest) = self.read_queues(read).await?.ok_or_else(|| unknown(&queue))?;
            // What dies meanwhile waits for the next call, or this one would perhaps never end.
            let last = *last.get_or_insert(newest);
            ids.retain(|id| *id <= last);
            let Some(&next) = ids.last() else { return Ok(Response::new(all)) };
            let dead = DeadLetters::These(ids);
            let moved = self.moved(Command::RequeueDead { queue: queue.clone(), dead }).await?.into_inner();
            all.messages += moved.messages;
            after = next;
        }
    }

    async fn moved(&self, command: Command) -> Answer<v1::MovedResponse> {
        let (_, outcome) = self.submit_to_queues(command).await?;
        let Outcome::Moved { messages, unknown } = outcome else {
            return Err(Status::internal(format!("{outcome:?} is no outcome of this call")));
        };
        Ok(Response::new(v1::MovedResponse { messages, unknown }))
    }
}

impl QueuesApi {
    /// A message that the queue would take must fit into a request that this node reads.
    fn check_message_max(&self, settings: &Settings) -> Result<(), Status> {
        let request = usize::try_from(self.0.limits.message_bytes.as_u64()).unwrap_or(usize::MAX);
        let max = request.saturating_sub(AROUND_MESSAGE_BYTES);
        if settings.message_bytes_max as usize <= max {
            return Ok(());
        }
        let asked = settings.message_bytes_max;
        let why = format!(
            "message-bytes-max is {asked}; this node reads requests of {request} bytes (limits.message-bytes), so \
             {max} at most"
        );
        Err(status_of(&argument(why)))
    }
}

#[tonic::async_trait]
impl Queues for QueuesApi {
    type PublishStreamStream = publish::PublishResponses;
    type ConsumeStream = consume::ConsumeResponses;

    async fn create_queue(&self, request: Request<v1::CreateQueueRequest>) -> Answer<v1::CreateQueueResponse> {
        let request = request.into_inner();
        let queue = queue_name(&request.queue)?;
        parse_queue_type(request.r#type).map_err(|refusal| status_of(&refusal))?;
        let settings = parse_queue_settings(request.settings.as_ref(), Settings::default());
        self.check_message_max(&settings)?;
        let answer = |created| {
            let settings = Some(encode_queue_settings(&settings));
            Ok(Response::new(v1::CreateQueueResponse { created, settings }))
        };
        // Every process that uses a queue asks for it at its start: what is there already is not logged.
        if self.0.queue_settings(&queue).await? == Some(settings) {
            return answer(false);
        }
        let (_, outcome) = self.0.submit_to_queues(Command::CreateQueue { queue, settings }).await?;
        answer(outcome == Outcome::Created)
    }

    async fn update_queue(&self, request: Request<v1::UpdateQueueRequest>) -> Answer<v1::UpdateQueueResponse> {
        let request = request.into_inner();
        let queue = queue_name(&request.queue)?;
        let current = self.0.queue_settings(&queue).await?.ok_or_else(|| unknown(&queue))?;
        let settings = parse_queue_settings(request.settings.as_ref(), current);
        self.check_message_max(&settings)?;
        self.0.submit_to_queues(Command::UpdateSettings { queue, settings }).await?;
        Ok(Response::new(v1::UpdateQueueResponse { settings: Some(encode_queue_settings(&settings)) }))
    }

    async fn delete_queue(&self, request: Request<v1::DeleteQueueRequest>) -> Answer<v1::DeleteQueueResponse> {
        let queue = queue_name(&request.into_inner().queue)?;
        let moved = self.0.moved(Command::DeleteQueue { queue }).await?.into_inner();
        Ok(Response::new(v1::DeleteQueueResponse { messages: moved.messages }))
    }

    async fn get_queue(&self, request: Request<v1::GetQueueRequest>) -> Answer<v1::GetQueueResponse> {
        let queue = queue_name(&request.into_inner().queue)?;
        let name = queue.clone();
        let summary = self.0.read_queues(move |broker| broker.summary(&name)).await?;
        let queue = Some(summary.ok_or_else(|| unknown(&queue))?);
        Ok(Response::new(v1::GetQueueResponse { queue }))
    }

    async fn list_queues(&self, request: Request<v1::ListQueuesRequest>) -> Answer<v1::ListQueuesResponse> {
        let request = request.into_inner();
        if !request.prefix.is_empty() && !request.prefix.ends_with('/') {
            return Err(status_of(&argument("a prefix of queue names ends in \"/\"")));
        }
        Selector::parse(&request.prefix).map_err(|word| status_of(&invalid(word)))?;
        let after = if request.page_token.is_empty() { None } else { Some(queue_name(&request.page_token)?) };
        let most = page_size(request.page_size, QUEUES_PER_PAGE, QUEUES_PER_PAGE);
        let read = move |broker: &Broker| broker.list(&request.prefix, after.as_ref(), most);
        let (queues, more) = self.0.read_queues(read).await?;
        let last = queues.last().filter(|_| more).map(|queue| queue.name.clone());
        Ok(Response::new(v1::ListQueuesResponse { queues, next_page_token: last.unwrap_or_default() }))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        publish::publish(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Answer<publish::PublishResponses> {
        publish::open(self.0.clone(), request.into_inner()).map(Response::new)
    }

    async fn consume(&self, request: Request<Streaming<v1::ConsumeRequest>>) -> Answer<consume::ConsumeResponses> {
        consume::open(self.0.clone(), request.into_inner()).map(Response::new)
    }

    async fn list_messages(&self, request: Request<v1::ListMessagesRequest>) -> Answer<v1::ListMessagesResponse> {
        let request = request.into_inner();
        let queue = queue_name(&request.queue)?;
        let name = queue.clone();
        let with_message = request.with_message;
        let page = if request.message_id > 0 {
            let id = MessageId::new(request.message_id);
            let read = move |broker: &Broker| {
                broker.queue(&name)?;
                Some((broker.message(&name, id, with_message).into_iter().collect(), false))
            };
            self.0.read_queues(read).await?
        } else {
            let part = match request.part() {
                v1::QueuePart::Waiting => Part::Waiting,
                v1::QueuePart::Failed => Part::Failed,
                v1::QueuePart::Dead => Part::Dead,
                v1::QueuePart::Unspecified | v1::QueuePart::All => {
                    return Err(status_of(&argument("messages are listed of one part: waiting, failed, or dead")));
                }
            };
            let size = page_size(request.page_size, MESSAGES_PER_PAGE_DEFAULT, MESSAGES_PER_PAGE);
            let after = MessageId::new(request.after_message_id.min(u64::MAX - 1));
            let page = Page { part, after, size, with_message };
            self.0.read_queues(move |broker| broker.page(&name, page)).await?
        };
        let (messages, more) = page.ok_or_else(|| unknown(&queue))?;
        Ok(Response::new(v1::ListMessagesResponse { messages, more }))
    }

    async fn purge_queue(&self, request: Request<v1::PurgeQueueRequest>) -> Answer<v1::MovedResponse> {
        let request = request.into_inner();
        let queue = queue_name(&request.queue)?;
        let contents = match request.part() {
            v1::QueuePart::Waiting => Contents::Waiting,
            v1::QueuePart::Failed => Contents::Failed,
            v1::QueuePart::Dead => Contents::Dead,
            v1::QueuePart::All => Contents::All,
            v1::QueuePart::Unspecified => {
                return Err(status_of(&argument("say what to purge: waiting, failed, dead, or all")));
            }
        };
        self.0.moved(Command::Purge { queue, contents }).await
    }

    async fn requeue_dead(&self, request: Request<v1::DeadRequest>) -> Answer<v1::MovedResponse> {
        let (queue, dead) = dead_letters(request.into_inner())?;
        match dead {
            DeadLetters::All => self.0.requeue_all(queue).await,
            DeadLetters::These(_) => self.0.moved(Command::RequeueDead { queue, dead }).await,
        }
    }

    async fn drop_dead(&self, request: Request<v1::DeadRequest>) -> Answer<v1::MovedResponse> {
        let (queue, dead) = dead_letters(request.into_inner())?;
        self.0.moved(Command::DropDead { queue, dead }).await
    }
}

fn queue_name(text: &str) -> Result<QueueName, Status> {
    parse_queue_name(text).map_err(|refusal| status_of(&refusal))
}

fn dead_letters(request: v1::DeadRequest) -> Result<(QueueName, DeadLetters), Status> {
    let queue = queue_name(&request.queue)?;
    let dead = match (request.all, request.message_ids) {
        (true, ids) if ids.is_empty() => DeadLetters::All,
        (true, _) => return Err(status_of(&argument("name dead letters, or say all; not both"))),
        (false, ids) if ids.is_empty() => return Err(status_of(&argument("name the dead letters, or say all"))),
        (false, ids) if ids.len() > MESSAGES_PER_COMMAND_MAX => {
            let message = format!("{} messages in one request; {MESSAGES_PER_COMMAND_MAX} at most", ids.len());
            return Err(status_of(&argument(message)));
        }
        (false, ids) => DeadLetters::These(ids.into_iter().map(MessageId::new).collect()),
    };
    Ok((queue, dead))
}

fn page_size(asked: u32, default: usize, max: usize) -> usize {
    if asked == 0 { default } else { usize::try_from(asked).unwrap_or(max).min(max) }
}

fn unknown(queue: &QueueName) -> Status {
    status_of(&roster_core::queue::Refusal::UnknownQueue { queue: queue.clone() }.into())
}
