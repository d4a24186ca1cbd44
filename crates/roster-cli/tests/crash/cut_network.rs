//! A network that is cut without a word: a provider in a network namespace, and a link that goes down.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;
use crate::node::{self, Provider};

/// Two namespaces with a link between them; removed when it is dropped.
struct Net {
    name: String,
}

impl Net {
    /// `None` when this user may not make them.
    fn make() -> Option<Self> {
        let net = Self { name: format!("roster-{}", std::process::id()) };
        let (node, provider) = (net.of_node(), net.of_provider());
        let steps = [
            format!("netns add {node}"),
            format!("netns add {provider}"),
            format!("-n {node} link add far type veth peer name near netns {provider}"),
            format!("-n {node} addr add 10.231.7.1/24 dev far"),
            format!("-n {provider} addr add 10.231.7.2/24 dev near"),
            format!("-n {node} link set lo up"),
            format!("-n {node} link set far up"),
            format!("-n {provider} link set near up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(net)
    }

    fn of_node(&self) -> String {
        format!("{}-n", self.name)
    }

    fn of_provider(&self) -> String {
        format!("{}-p", self.name)
    }

    /// Nothing passes any more, and nobody is told.
    fn cut(&self) {
        assert!(ip(&format!("-n {} link set near down", self.of_provider())));
    }

    fn heal(&self) {
        assert!(ip(&format!("-n {} link set near up", self.of_provider())));
    }

    fn roster(&self, namespace: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(node::program()).stdin(Stdio::null());
        command.env_remove("ROSTER_SERVER");
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.of_node()));
        ip(&format!("netns del {}", self.of_provider()));
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// `roster watch`, whose lines are events.
struct Watcher {
    child: Child,
    events: Receiver<Value>,
}

impl Watcher {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(serde_json::from_str(&line).unwrap()))
        });
        Self { child, events }
    }

    /// The next events up to the one of this name.
    fn until(&self, event: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(value) if value["event"] == event => return value,
                Ok(other) => {
                    assert_ne!(other["event"], "removed", "while {event} was awaited: {other}");
                    others.push(other);
                }
                Err(_) => panic!("no {event} came, but {others:#?}"),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_cut_network_is_noticed_by_pings_and_a_healed_one_brings_the_instance_back() {
    let Some(net) = Net::make() else {
        println!("passed over: this user may not make network namespaces");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (of_node, of_provider) = (net.of_node(), net.of_provider());
    const URL: &str = "http://10.231.7.1:7411";
    let mut serve = net.roster(&of_node);
    serve.args(["serve", "--listen", "10.231.7.1:7411", "--insecure", "--log-level", "warn", "--data-dir"]);
    serve.arg(folder.path());
    serve.args(["--set", "sessions.ping-interval=500ms", "--set", "sessions.ping-timeout=500ms"]);
    let _node = Provider::start(&mut serve);
    let mut watch = net.roster(&of_node);
    watch.args(["watch", "orders", "--output", "json", "--server", URL]);
    let started = Instant::now();
    let watcher = loop {
        // It ends by itself when the node does not listen yet.
        let mut once = net.roster(&of_node);
        once.args(["status", "--server", URL]).stdout(Stdio::null()).stderr(Stdio::null());
        if once.status().unwrap().success() {
            break Watcher::start(watch);
        }
        assert!(started.elapsed() < PATIENCE, "the node serves");
    };
    watcher.until("loaded");
    let mut register = net.roster(&of_provider);
    register.args(["register", "orders", "--address", "10.231.7.2:8080", "--grace", "60s", "--server", URL]);
    let _provider = Provider::start(&mut register);
    watcher.until("up");

    let cut = Instant::now();
    net.cut();
    let suspect = watcher.until("suspect");
    let noticed = cut.elapsed();
    assert_eq!(suspect["reason"], "ping timeout", "{suspect}");
    assert!(noticed < Duration::from_secs(4), "{noticed:?} for an interval and a timeout of 500 ms each");
    let healed = Instant::now();
    net.heal();
    watcher.until("up");
    println!("a cut network: suspect after {noticed:?}, up {:?} after it was healed", healed.elapsed());
}
