//! Conversations with the directory, one file per rule, as text that is read and reviewed.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p roster-core --test golden` writes what it answers; whoever
//! does so reads the difference against the rules. Lines of an answer: the position and the outcome,
//! then `!` an event for watchers, `>` a notice for an owner, `~` a change for the reader of a view.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod transcript;

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use goldenscript::ArgumentConsumer;
use roster_core::directory::{Caller, Command, Directory, Effects, SuspectReason};
use roster_core::view::{Group, Told, View};
use roster_core::{
    Address, Cutover, Grace, Handover, InstanceId, Kind, Label, Metadata, Position, Registration, SecretHash, Selector,
    ServiceName, SessionId, Tags, Timestamp,
};

type Answer = Result<String, Box<dyn Error>>;
type Arguments<'a> = ArgumentConsumer<'a>;

/// One conversation: the directory, everything said so far, and a reader if one is attached.
struct Conversation {
    directory: Directory,
    log: Vec<(Timestamp, Command)>,
    now: Timestamp,
    reader: Option<View>,
    reads: bool,
}

impl goldenscript::Runner for Conversation {
    type Command = goldenscript::Command;

    fn run(&mut self, said: &goldenscript::Command, _: &goldenscript::Context) -> Answer {
        let mut args = said.consume_args();
        let answer = match said.name.as_str() {
            "at" => {
                self.now = Timestamp::new(number(&mut args)?);
                Ok(String::new())
            }
            "show" => self.show(&args.next_pos().map_or(Ok(Selector::All), Selector::parse)?),
            "page" => self.page(&mut args),
            "services" => {
                let after = args.take_key("after").map(ServiceName::parse).transpose()?;
                let limit = args.take_key("limit").unwrap_or("2").parse()?;
                let selector = args.next_pos().map_or(Ok(Selector::All), Selector::parse)?;
                let page = self.directory.services(&selector, after.as_ref(), limit);
                Ok(page.iter().map(|service| format!("{}\n", service.name)).collect())
            }
            "owned" => {
                let owned = self.directory.session_instances(session(&mut args)?);
                Ok(owned.iter().map(|owned| format!("{}\n", transcript::instance(owned))).collect())
            }
            "main" => {
                let main = self.directory.main(&ServiceName::parse(word(&mut args)?)?);
                Ok(main.map_or("none\n".into(), |main| format!("{}\n", transcript::instance(&main))))
            }
            "sessions" => Ok(self.sessions()),
            "counts" => Ok(format!("{:?}\n", self.directory.counts())),
            "handovers" => {
                let waiting = self.directory.handovers();
                Ok(waiting.iter().map(|(name, id, t)| format!("{name}: {id} waits {} ms\n", t.millis())).collect())
            }
            "restore" => self.restore(),
            "reader" => self.read(word(&mut args)?),
            name => {
                let command = self.command(name, &mut args)?;
                Ok(self.apply(command))
            }
        };
        args.reject_next()?;
        answer
    }
}

impl Conversation {
    fn new() -> Self {
        Self { directory: Directory::new(), log: Vec::new(), now: Timestamp::default(), reader: None, reads: false }
    }

    fn apply(&mut self, command: Command) -> String {
        self.log.push((self.now, command.clone()));
        let mut effects = Effects::default();
        let outcome = self.directory.apply(self.now, command, &mut effects);
        self.directory.check_invariants();
        let position = self.directory.revision();
        let mut text = format!("{position}: {}\n", transcript::outcome(&outcome));
        effects.events.iter().for_each(|event| writeln!(text, "  ! {}", transcript::event(event)).unwrap());
        effects.notices.iter().for_each(|notice| writeln!(text, "  > {}", transcript::notice(notice)).unwrap());
        if self.reads && !effects.events.is_empty() {
            let told = effects.events.into_iter().map(Told::Event).collect();
            text.push_str(&self.tell(Group { position, told }));
        }
        text
    }

    fn command(&self, name: &str, args: &mut Arguments<'_>) -> Result<Command, Box<dyn Error>> {
        Ok(match name {
            "start-node" => Command::StartNode,
            "open" => Command::OpenSession {
                secret: secret(args)?,
                grace: Grace::from_millis(args.take_key("grace").unwrap_or("3000").parse()?)?,
                client: Label::parse("client", args.take_key("client").unwrap_or(""))?,
            },
            "resume" => Command::ResumeSession { session: session(args)?, secret: secret(args)? },
            "suspect" => {
                let session = session(args)?;
                let reason = match args.take_key("reason") {
                    None | Some("stream-closed") => SuspectReason::StreamClosed,
                    Some("ping-timeout") => SuspectReason::PingTimeout,
                    Some("check-failed") => SuspectReason::CheckFailed,
                    Some(other) => return Err(format!("no reason {other}").into()),
                };
                Command::SuspectSession { session, attachment: self.attachment(session, args)?, reason }
            }
            "expire" => {
                let session = session(args)?;
                Command::ExpireSession { session, attachment: self.attachment(session, args)? }
            }
            "close" => {
                let session = session(args)?;
                Command::CloseSession { session, attachment: self.attachment(session, args)? }
            }
            "register" => register(args)?,
            "deregister" => Command::Deregister { session: session(args)?, instance: instance(args)? },
            "drain" => Command::Drain {
                caller: match word(args)? {
                    "operator" => Caller::Operator,
                    session => Caller::Session(SessionId::new(session.parse()?)),
                },
                instance: instance(args)?,
            },
            "set-cutover" => Command::SetCutover {
                service: ServiceName::parse(word(args)?)?,
                cutover: match word(args)? {
                    "none" => None,
                    policy => Some(cutover(policy)?),
                },
                author: Label::parse("author", "ada")?,
            },
            "finish-handover" => {
                Command::FinishHandover { service: ServiceName::parse(word(args)?)?, pending: instance(args)? }
            }
            name => return Err(format!("no command {name}").into()),
        })
    }

    /// The attachment that `at` names, else the newest one.
    fn attachment(&self, session: SessionId, args: &mut Arguments<'_>) -> Result<Position, Box<dyn Error>> {
        Ok(match args.take_key("attachment") {
            Some(at) => Position::new(at.parse()?),
            None => self.directory.session(session).map(|known| known.attachment).unwrap_or_default(),
        })
    }

    fn show(&self, selector: &Selector) -> Answer {
        let mut text = String::new();
        for service in self.directory.services(selector, None, usize::MAX) {
            write!(text, "{}: floor {}, {}", service.name, service.floor, transcript::policy(service.cutover))?;
            service.cutover_author.map_or(Ok(()), |author| write!(text, " by {author}"))?;
            write!(text, ", {} up", service.up)?;
            let counts = [
                (service.unconfirmed, "unconfirmed"),
                (service.suspect, "suspect"),
                (service.draining, "draining"),
                (service.pending, "pending"),
            ];
            for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
                write!(text, ", {count} {what}")?;
            }
            writeln!(text, ", {}", service.main.map_or("no main".into(), |main| format!("main {main}")))?;
            for instance in self.directory.instances(&Selector::Service(service.name), None, usize::MAX) {
                write!(text, "  {} of session {}", transcript::instance(&instance), instance.session)?;
                if instance.changed.get() != instance.id.get() {
                    write!(text, ", changed at {}", instance.changed)?;
                }
                writeln!(text)?;
            }
        }
        Ok(if text.is_empty() { "nothing\n".into() } else { text })
    }

    fn page(&self, args: &mut Arguments<'_>) -> Answer {
        let limit = args.take_key("limit").unwrap_or("2").parse()?;
        let mut after = match (args.take_key("after"), args.take_key("id")) {
            (Some(name), Some(id)) => Some((ServiceName::parse(name)?, InstanceId::new(id.parse()?))),
            (_, _) => None,
        };
        let selector = Selector::parse(args.next_pos().unwrap_or(""))?;
        let mut text = String::new();
        loop {
            let page = self.directory.instances(&selector, after.take(), limit);
            let Some(last) = page.last() else { return Ok(text) };
            after = Some((last.registration.service.clone(), last.id));
            let names = page.iter().map(|found| format!("{} {}", found.registration.service, found.id));
            writeln!(text, "{}", names.collect::<Vec<_>>().join(", "))?;
        }
    }

    fn sessions(&self) -> String {
        let line = |known: roster_core::directory::SessionSummary| {
            format!(
                "session {} {:?}: {}, attached at {}, grace {} ms, {} instances\n",
                known.session,
                known.client.as_str(),
                transcript::liveness(known.liveness),
                known.attachment,
                known.grace.millis(),
                known.instances
            )
        };
        let lines: String = self.directory.sessions().map(line).collect();
        if lines.is_empty() { "none\n".into() } else { lines }
    }

    /// From here on a restored directory answers; a replay of all that was said must give it too.
    fn restore(&mut self) -> Answer {
        let items = |directory: &Directory| directory.snapshot().items().collect::<Vec<_>>();
        let snapshot = items(&self.directory);
        let restored = Directory::restore(snapshot.iter().cloned())?;
        let mut replayed = Directory::new();
        for (at, command) in self.log.iter().cloned() {
            replayed.apply(at, command, &mut Effects::default());
        }
        let same = items(&restored) == snapshot && items(&replayed) == snapshot;
        self.directory = restored;
        Ok(format!("{} items, {}\n", snapshot.len(), if same { "the same" } else { "DIFFERENT" }))
    }

    fn read(&mut self, what: &str) -> Answer {
        let position = self.directory.revision();
        match what {
            "leaves" => self.reads = false,
            "resets" => {
                self.reads = true;
                let state = self.directory.visible(&Selector::All).into_iter().map(Told::Event);
                let told = [Told::Reset].into_iter().chain(state).chain([Told::Loaded]).collect();
                return Ok(self.tell(Group { position, told }));
            }
            "resets-in-part" => {
                let state = self.directory.visible(&Selector::All).into_iter().map(Told::Event).take(1);
                let told = [Told::Reset].into_iter().chain(state).collect();
                return Ok(self.tell(Group { position, told }));
            }
            "shows" => {}
            other => return Err(format!("a reader does not know how to {other}").into()),
        }
        let Some(view) = &self.reader else { return Ok(String::new()) };
        let mut text = format!("at {}\n", view.position());
        for (name, service) in view.services() {
            writeln!(text, "{name}: main {}", service.main().map_or("none".into(), |main| main.id.to_string()))?;
            service.instances().for_each(|known| writeln!(text, "  {}", transcript::instance(known)).unwrap());
        }
        Ok(text)
    }

    fn tell(&mut self, group: Group) -> String {
        let changes = self.reader.get_or_insert_default().take_in(group);
        changes.iter().map(|change| format!("  ~ {}\n", transcript::change(change))).collect()
    }
}

fn register(args: &mut Arguments<'_>) -> Result<Command, Box<dyn Error>> {
    let session = session(args)?;
    let service = ServiceName::parse(word(args)?)?;
    let (host, port) = (word(args)?, word(args)?);
    let mut key = |name| args.take_key(name);
    let registration = Registration {
        service,
        address: Address::parse(host, port.parse()?)?,
        kind: match key("kind").unwrap_or("member") {
            "member" => Kind::Member,
            "main" => Kind::Main,
            "singleton" => Kind::Singleton,
            kind => return Err(format!("no kind {kind}").into()),
        },
        node_index: key("node").unwrap_or("0").parse()?,
        version: key("version").unwrap_or("0").parse()?,
        weight: key("weight").unwrap_or("100").parse()?,
        zone: Label::parse("zone", key("zone").unwrap_or(""))?,
        tags: Tags::parse(key("tag"))?,
        metadata: Metadata::parse(key("owner").map(|owner| ("owner", owner)))?,
    };
    Ok(Command::Register {
        session,
        registration: Arc::new(registration.check()?),
        handover: Handover::from_millis(args.take_key("handover").unwrap_or("0").parse()?)?,
        cutover: args.take_key("cutover").map(cutover).transpose()?,
    })
}

fn cutover(text: &str) -> Result<Cutover, Box<dyn Error>> {
    match text {
        "side-by-side" => Ok(Cutover::SideBySide),
        instances => Ok(Cutover::after(instances.parse()?)?),
    }
}

fn word<'a>(args: &mut Arguments<'a>) -> Result<&'a str, Box<dyn Error>> {
    Ok(args.next_pos().ok_or("a word is missing")?)
}

fn number(args: &mut Arguments<'_>) -> Result<u64, Box<dyn Error>> {
    Ok(word(args)?.parse()?)
}

fn session(args: &mut Arguments<'_>) -> Result<SessionId, Box<dyn Error>> {
    number(args).map(SessionId::new)
}

fn instance(args: &mut Arguments<'_>) -> Result<InstanceId, Box<dyn Error>> {
    number(args).map(InstanceId::new)
}

fn secret(args: &mut Arguments<'_>) -> Result<SecretHash, Box<dyn Error>> {
    Ok(SecretHash([args.take_key("secret").unwrap_or("7").parse()?; 16]))
}

macro_rules! conversations {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let path = concat!("tests/golden/", stringify!($name));
                goldenscript::run(&mut Conversation::new(), path).unwrap();
            }
        )*

        #[test]
        fn every_script_is_run() {
            let mut present: Vec<_> = std::fs::read_dir("tests/golden")
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            present.sort_unstable();
            assert_eq!(present, [$(stringify!($name)),*]);
        }
    };
}

conversations! {
    address_in_use
    attachments
    cutover_after_more
    cutover_after_one
    cutover_by_operator
    cutover_side_by_side
    drain
    grace
    handover
    handover_newcomers
    idempotence
    kinds
    main
    memory
    node_restart
    paging
    refusals
    restart_rule
    restore
    sessions
    updates
    view
}
