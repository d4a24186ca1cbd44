//! What the scenes act on: the processes, the watcher, and what the demo itself has registered.

use std::time::Duration;

use anyhow::{Context, bail};
use roster_client::{Client, Handle, Registrar};
use rustix::process::Signal;

use super::folder::Folder;
use super::member::Member;
use super::node::Node;
use super::watcher::Watcher;
use crate::commands;
use crate::render::{Paint, Tone};

/// The service of the members.
pub(super) const ORDERS: &str = "demo/orders";
/// How many they are.
pub(super) const MEMBERS: usize = 3;
/// The service of the nodes with queues.
pub(super) const MESSAGES: &str = "demo/messages";
/// How long anything that should happen at once may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How many lines of the processes are shown when something went wrong.
const LAST_WORDS_LINES: usize = 12;

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) folder: Folder,
    pub(super) members: Vec<Member>,
    /// What the demo holds until it is cleared.
    pub(super) held: Vec<(Registrar, Handle)>,
    /// The nodes with queues, in the order in which they came.
    pub(super) queue_members: Vec<Node>,
    /// How many of them there are at most.
    pub(super) queue_members_max: usize,
    node: Option<Node>,
    watcher: Option<Watcher>,
}

impl Stage {
    /// Empty.
    pub(super) fn new(folder: Folder, queue_members_max: usize) -> Self {
        Self {
            folder,
            members: Vec::new(),
            held: Vec::new(),
            queue_members: Vec::new(),
            queue_members_max,
            node: None,
            watcher: None,
        }
    }

    pub(super) fn set_node(&mut self, node: Node) {
        self.node = Some(node);
    }

    pub(super) fn set_watcher(&mut self, watcher: Watcher) {
        self.watcher = Some(watcher);
    }

    /// # Errors
    /// Before it is started.
    pub(super) fn node(&self) -> anyhow::Result<&Node> {
        self.node.as_ref().context("no node is started")
    }

    /// The node, to be ended.
    ///
    /// # Errors
    /// Before it is started.
    pub(super) fn take_node(&mut self) -> anyhow::Result<Node> {
        self.node.take().context("no node is started")
    }

    /// # Errors
    /// Before it is started.
    pub(super) fn watcher(&self) -> anyhow::Result<&Watcher> {
        self.watcher.as_ref().context("no watcher is started")
    }

    /// A client with a connection of its own, as another process would have it.
    ///
    /// # Errors
    /// Before the node is started.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        commands::node::client(&[self.node()?.url()])
    }

    /// One more member, which listens but may not be registered yet.
    ///
    /// # Errors
    /// When it does not come to listening.
    pub(super) async fn start_member(&mut self) -> anyhow::Result<&Member> {
        let member = Member::start(ORDERS, &self.node()?.url(), &self.folder).await?;
        self.members.push(member);
        self.members.last().context("it was added")
    }

    /// Takes out the member that has this place among them.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn take_member(&mut self, place: usize) -> anyhow::Result<Member> {
        if place >= self.members.len() {
            bail!("only {} members are there", self.members.len());
        }
        Ok(self.members.remove(place))
    }

    /// One more node with queues, which serves but may not be registered yet.
    ///
    /// # Errors
    /// When it does not come to serving.
    pub(super) async fn start_queue_member(&mut self, number: usize) -> anyhow::Result<&Node> {
        let node = Node::start_member(&self.folder, number, None, &self.node()?.url(), MESSAGES).await?;
        self.queue_members.push(node);
        self.queue_members.last().context("it was added")
    }

    /// What can be tried while everything goes on.
    pub(super) fn invitation(&self, paint: Paint) -> String {
        let url = self.node.as_ref().map(Node::url).unwrap_or_default();
        let victim = self.members.first().and_then(Member::process_id).map(|id| id.to_string()).unwrap_or_default();
        let address = self.members.last().map(|member| member.address().to_string()).unwrap_or_default();
        let keeper = self.queue_members.last().map(Node::url).unwrap_or_default();
        let tries = [
            (format!("roster --server {url} watch --all"), "follows what changes"),
            (format!("roster --server {url} services"), "lists the services"),
            (format!("roster --server {url} get {ORDERS}"), "shows the members"),
            (format!("curl http://{address}"), "calls one of them"),
            (format!("roster --server {keeper} queue list"), "shows the queue of the last node with queues"),
            (format!("kill -9 {victim}"), "kills one of them"),
            (format!("roster --server {url} status"), "shows how the node is doing"),
        ];
        let width = tries.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
        let mut text = "The node and the members go on until Ctrl-C. To try in another terminal:\n\n".to_owned();
        for (command, does) in tries {
            text.push_str(&format!("  {command:width$}  {}\n", paint.text(Tone::Faint, does)));
        }
        text + "\n"
    }

    /// What the processes said last, to standard error.
    pub(super) fn tell_last_words(&self) {
        for line in self.folder.last_words(LAST_WORDS_LINES) {
            eprintln!("roster: a process of the demo said: {line}");
        }
    }

    /// Ends everything in order: who is registered says goodbye while there is a node to say it to.
    /// How many processes were stopped, and whether the directory is gone.
    ///
    /// # Errors
    /// When something did not end in order; it has been killed then.
    pub(super) async fn clear(self) -> anyhow::Result<(u64, bool)> {
        let Self { folder, members, held, queue_members, queue_members_max: _, node, watcher } = self;
        drop(watcher);
        let mut all_well = Ok(());
        for (registrar, handle) in held {
            if node.is_some() {
                all_well = all_well.and(registrar.close().await.map_err(anyhow::Error::from));
            }
            drop(handle);
        }
        let mut stopped = 0;
        for member in &members {
            // All at once; one that has ended needs no telling.
            let _ = member.signal(Signal::TERM);
        }
        for member in &queue_members {
            let _ = member.ask_to_stop();
        }
        for member in members {
            // Without a node it would wait for a farewell in vain.
            let ended = if node.is_some() { member.stop().await } else { member.kill().await };
            all_well = all_well.and(ended);
            stopped += 1;
        }
        for member in queue_members {
            let ended = if node.is_some() { member.stop().await } else { member.kill().await.map(drop) };
            all_well = all_well.and(ended);
            stopped += 1;
        }
        if let Some(node) = node {
            all_well = all_well.and(node.stop().await);
            stopped += 1;
        }
        let is_gone = folder.clear();
        all_well?;
        Ok((stopped, is_gone?))
    }
}
