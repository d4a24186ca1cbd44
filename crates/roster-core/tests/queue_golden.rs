//! Conversations with the queues and their dispatchers, one file per rule, as text that is read and
//! reviewed.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p roster-core --test queue_golden` writes what they answer; whoever
//! does so reads the difference against the rules. Lines of an answer: the position and the outcome, then
//! `+` what is ready, `-` what is gone, `>` what a consumer gets. Here the log is instant: what comes of a
//! consumer's word is applied at once, and whatever can be delivered is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod queue_transcript;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::ArgumentConsumer;
use roster_core::queue::{
    Attempt, Command, ConsumerId, Contents, DeadLetters, Delay, Deliveries, Dispatcher, Effects, Failure, Message,
    MessageId, Origin, ProducerId, QueueName, Queues, Reason, Settings, Window,
};
use roster_core::{Label, Metadata, Timestamp};

type Answer = Result<String, Box<dyn Error>>;
type Arguments<'a> = ArgumentConsumer<'a>;

/// One conversation: the queues, everything said so far, and who consumes.
#[derive(Default)]
struct Conversation {
    queues: Queues,
    dispatchers: BTreeMap<QueueName, Dispatcher>,
    log: Vec<(Timestamp, Command)>,
    now: Timestamp,
}

impl goldenscript::Runner for Conversation {
    type Command = goldenscript::Command;

    fn run(&mut self, said: &goldenscript::Command, _: &goldenscript::Context) -> Answer {
        let mut args = said.consume_args();
        let answer = match said.name.as_str() {
            "at" => {
                self.now = Timestamp::new(number(&mut args)?);
                self.expire()
            }
            "show" => self.show(&queue(&mut args)?),
            "counts" => {
                let queue = self.queues.queue(&queue(&mut args)?).ok_or("no such queue")?;
                let oldest = queue.oldest().map_or("none".into(), |oldest| oldest.to_string());
                Ok(format!("{:?}\n{:?}\noldest {oldest}\n", queue.counts(), queue.totals()))
            }
            "traffic" => {
                let name = queue(&mut args)?;
                let (queue, dispatcher) = self.dispatcher(&name)?;
                let wake = dispatcher.next_wake(queue).map_or("never".into(), |wake| wake.to_string());
                Ok(format!("{:?}, next at {wake}\n", dispatcher.traffic()))
            }
            "join" => {
                let (name, consumer) = (queue(&mut args)?, consumer(&mut args)?);
                let window = Window::of_messages(args.take_key("window").unwrap_or("256").parse()?)?;
                self.dispatcher(&name)?.1.join(consumer, window);
                Ok(self.deliver())
            }
            "leave" => {
                let (name, consumer) = (queue(&mut args)?, consumer(&mut args)?);
                let attempts = self.dispatcher(&name)?.1.leave(consumer);
                Ok(if attempts.is_empty() {
                    self.deliver()
                } else {
                    self.apply(Command::Release { queue: name, attempts })
                })
            }
            "acks" => {
                let (name, consumer) = (queue(&mut args)?, consumer(&mut args)?);
                let ids = messages(&mut args)?;
                let (queue, dispatcher) = self.dispatcher(&name)?;
                let messages = dispatcher.acknowledge(queue, consumer, &ids);
                Ok(self.apply(Command::Acknowledge { queue: name, messages }))
            }
            "fails" => self.fails(&mut args),
            "extends" => {
                let (name, consumer, message) = (queue(&mut args)?, consumer(&mut args)?, message(&mut args)?);
                let until = Timestamp::new(args.take_key("until").ok_or("until when?")?.parse()?);
                let now = self.now;
                let deadline = self.dispatcher(&name)?.1.extend(now, consumer, message, until);
                Ok(deadline.map_or("not held\n".into(), |deadline| format!("until {deadline}\n")))
            }
            "restart" => {
                // Streams end with the node; what was delivered is not in the log.
                self.dispatchers.clear();
                for (name, queue) in self.queues.queues(None) {
                    self.dispatchers.insert(name.clone(), Dispatcher::new(queue));
                }
                Ok(self.apply(Command::StartNode))
            }
            "restore" => self.restore(),
            name => {
                let command = command(name, &mut args)?;
                Ok(self.apply(command))
            }
        };
        args.reject_next()?;
        answer
    }
}

impl Conversation {
    fn dispatcher(&mut self, name: &QueueName) -> Result<(&roster_core::queue::Queue, &mut Dispatcher), String> {
        let queue = self.queues.queue(name).ok_or("no such queue")?;
        Ok((queue, self.dispatchers.get_mut(name).ok_or("no dispatcher")?))
    }

    fn apply(&mut self, command: Command) -> String {
        self.log.push((self.now, command.clone()));
        let mut effects = Effects::default();
        let outcome = self.queues.apply(self.now, command.clone(), &mut effects);
        self.queues.check_invariants();
        match command.queue() {
            Some(name) if self.queues.queue(name).is_some() => {
                let queue = self.queues.queue(name).unwrap();
                let dispatcher = self.dispatchers.entry(name.clone()).or_insert_with(|| Dispatcher::new(queue));
                dispatcher.take_in(queue, &effects);
            }
            Some(name) => drop(self.dispatchers.remove(name)),
            None => {}
        }
        let head = format!("{}: {}\n", self.queues.revision(), queue_transcript::outcome(&outcome));
        head + &queue_transcript::effects(&effects) + &self.deliver()
    }

    fn deliver(&mut self) -> String {
        let mut text = String::new();
        for (name, dispatcher) in &mut self.dispatchers {
            let queue = self.queues.queue(name).unwrap();
            let mut deliveries = Deliveries::new();
            dispatcher.deliver(self.now, queue, &mut deliveries);
            dispatcher.check_invariants(queue);
            text.push_str(&queue_transcript::deliveries(&deliveries));
        }
        text
    }

    /// Fails what was not acknowledged in time, with a back-off whose chance is 0, and delivers what is due.
    fn expire(&mut self) -> Answer {
        let mut text = String::new();
        let names: Vec<_> = self.dispatchers.keys().cloned().collect();
        for name in names {
            let now = self.now;
            let (queue, dispatcher) = self.dispatcher(&name)?;
            let settings = *queue.settings();
            let late = |attempt: Attempt| Failure {
                attempt,
                delay: settings.back_off(attempt.attempt, 0),
                reason: Reason::new("not acknowledged in time"),
            };
            let failures: Vec<_> = dispatcher.expire(now).into_iter().map(late).collect();
            if !failures.is_empty() {
                text.push_str(&self.apply(Command::Fail { queue: name, failures }));
            }
        }
        Ok(text + &self.deliver())
    }

    fn fails(&mut self, args: &mut Arguments<'_>) -> Answer {
        let (name, consumer) = (queue(args)?, consumer(args)?);
        let ids = messages(args)?;
        let delay = args.take_key("delay").map(str::parse).transpose()?.map(Delay::from_millis).transpose()?;
        let reason = Reason::new(args.take_key("reason").unwrap_or("no reason"));
        let mut failures = Vec::new();
        for id in ids {
            let (queue, dispatcher) = self.dispatcher(&name)?;
            let Some(attempt) = dispatcher.fail(consumer, id) else { continue };
            let delay = delay.unwrap_or_else(|| queue.settings().back_off(attempt.attempt, 0));
            failures.push(Failure { attempt, delay, reason: reason.clone() });
        }
        Ok(if failures.is_empty() { "not held\n".into() } else { self.apply(Command::Fail { queue: name, failures }) })
    }

    fn show(&self, name: &QueueName) -> Answer {
        let Some(queue) = self.queues.queue(name) else { return Ok("no such queue\n".into()) };
        let all = queue.waiting().chain(queue.failed(MessageId::default())).chain(queue.dead(MessageId::default()));
        let text: String = all.map(|stored| queue_transcript::stored(&stored)).collect();
        Ok(if text.is_empty() { "empty\n".into() } else { text })
    }

    /// From here on restored queues answer; a replay of all that was said must give them too.
    fn restore(&mut self) -> Answer {
        let snapshot: Vec<_> = self.queues.snapshot().items().collect();
        let restored = Queues::restore(snapshot.iter().cloned())?;
        let mut replayed = Queues::new();
        for (at, command) in self.log.iter().cloned() {
            replayed.apply(at, command, &mut Effects::default());
        }
        let is_same = |other: &Queues| other.snapshot().items().eq(snapshot.iter().cloned());
        let same = is_same(&restored) && is_same(&replayed);
        self.queues = restored;
        let mut text = String::new();
        writeln!(text, "{} items, {}", snapshot.len(), if same { "the same" } else { "DIFFERENT" })?;
        Ok(text)
    }
}

fn command(name: &str, args: &mut Arguments<'_>) -> Result<Command, Box<dyn Error>> {
    let queue = queue(args)?;
    Ok(match name {
        "create" => Command::CreateQueue { queue, settings: settings(args)? },
        "update" => Command::UpdateSettings { queue, settings: settings(args)? },
        "delete" => Command::DeleteQueue { queue },
        "publish" => publication(queue, args)?,
        "ack" => Command::Acknowledge { queue, messages: messages(args)? },
        "fail" => {
            let failure = Failure {
                attempt: attempt(args)?,
                delay: Delay::from_millis(args.take_key("delay").unwrap_or("0").parse()?)?,
                reason: Reason::new(args.take_key("reason").unwrap_or("no reason")),
            };
            Command::Fail { queue, failures: vec![failure] }
        }
        "release" => Command::Release { queue, attempts: vec![attempt(args)?] },
        "purge" => {
            let contents = match args.next_pos() {
                Some("waiting") => Contents::Waiting,
                Some("failed") => Contents::Failed,
                Some("dead") => Contents::Dead,
                Some("all") => Contents::All,
                other => return Err(format!("no contents {other:?}").into()),
            };
            Command::Purge { queue, contents }
        }
        "requeue" => Command::RequeueDead { queue, dead: dead(args)? },
        "drop" => Command::DropDead { queue, dead: dead(args)? },
        name => return Err(format!("no command {name}").into()),
    })
}

fn publication(queue: QueueName, args: &mut Arguments<'_>) -> Result<Command, Box<dyn Error>> {
    let content_type = Label::parse("content type", args.take_key("type").unwrap_or(""))?;
    let headers = Metadata::parse(args.take_key("trace").map(|trace| ("trace", trace)))?;
    let origin = match args.take_key("producer") {
        Some(producer) => {
            let first = args.take_key("first").ok_or("which sequence first?")?.parse()?;
            Some(Origin { producer: ProducerId::parse(producer)?, first })
        }
        None => None,
    };
    let payloads = rest(args).into_iter();
    let message = |payload: &str| {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        Message::described(payload, content_type.clone(), headers.clone())
    };
    Ok(Command::Publish { queue, origin, messages: payloads.map(message).collect() })
}

fn settings(args: &mut Arguments<'_>) -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings::default();
    let mut set = |key: &str, setting: &mut u32| {
        *setting = args.take_key(key).map_or(Ok(*setting), str::parse)?;
        Ok::<_, std::num::ParseIntError>(())
    };
    set("in-flight", &mut settings.in_flight_max)?;
    set("timeout", &mut settings.ack_timeout_millis)?;
    set("attempts", &mut settings.attempts_max)?;
    set("first", &mut settings.back_off_first_millis)?;
    set("last", &mut settings.back_off_last_millis)?;
    set("message", &mut settings.message_bytes_max)?;
    settings.waiting_max = args.take_key("waiting").map_or(Ok(settings.waiting_max), str::parse)?;
    settings.waiting_bytes_max = args.take_key("bytes").map_or(Ok(settings.waiting_bytes_max), str::parse)?;
    Ok(settings)
}

fn number(args: &mut Arguments<'_>) -> Result<u64, Box<dyn Error>> {
    Ok(args.next_pos().ok_or("a word is missing")?.parse()?)
}

fn rest<'a>(args: &mut Arguments<'a>) -> Vec<&'a str> {
    std::iter::from_fn(|| args.next_pos()).collect()
}

fn queue(args: &mut Arguments<'_>) -> Result<QueueName, Box<dyn Error>> {
    Ok(QueueName::parse(args.next_pos().ok_or("which queue?")?)?)
}

fn consumer(args: &mut Arguments<'_>) -> Result<ConsumerId, Box<dyn Error>> {
    number(args).map(ConsumerId)
}

fn message(args: &mut Arguments<'_>) -> Result<MessageId, Box<dyn Error>> {
    number(args).map(MessageId::new)
}

fn messages(args: &mut Arguments<'_>) -> Result<Vec<MessageId>, Box<dyn Error>> {
    rest(args).into_iter().map(|id| Ok(MessageId::new(id.parse()?))).collect()
}

fn attempt(args: &mut Arguments<'_>) -> Result<Attempt, Box<dyn Error>> {
    Ok(Attempt { message: message(args)?, attempt: args.take_key("attempt").unwrap_or("1").parse()? })
}

fn dead(args: &mut Arguments<'_>) -> Result<DeadLetters, Box<dyn Error>> {
    let words = rest(args);
    if words == ["all"] {
        return Ok(DeadLetters::All);
    }
    let ids: Result<_, Box<dyn Error>> = words.iter().map(|id| Ok(MessageId::new(id.parse()?))).collect();
    Ok(DeadLetters::These(ids?))
}

macro_rules! conversations {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let path = concat!("tests/queue_golden/", stringify!($name));
                goldenscript::run(&mut Conversation::default(), path).unwrap();
            }
        )*

        #[test]
        fn every_script_is_run() {
            let mut present: Vec<_> = std::fs::read_dir("tests/queue_golden")
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            present.sort_unstable();
            assert_eq!(present, [$(stringify!($name)),*]);
        }
    };
}

conversations! {
    acknowledging
    consumer_leaves
    create
    dead_letters
    deadlines
    delete
    failing
    fairness
    full
    in_flight
    late_words
    limits
    order
    poison
    producers
    publish
    purge
    requeue
    restart
    restore
    wasted_words
}
