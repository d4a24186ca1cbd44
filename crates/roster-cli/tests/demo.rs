//! The demo as its users meet it: it shows what it promises, and leaves nothing behind, however it ends.
//!
//! Whether a process lives is asked of its port: every process of the demo listens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Long enough for a busy machine; a test that works never waits for so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A demo whose temporary files are in a folder of the test.
struct Demo {
    child: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start(temporary: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("roster"))
            .args(["demo", "--output", "json"])
            .args(arguments)
            .env("TMPDIR", temporary)
            // Settings of the tester, which the demo must not take for its own node.
            .env("ROSTER_LISTEN", "127.0.0.1:1")
            .env("ROSTER_LIMITS_SESSIONS", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// What it says next; `None` when it says nothing more.
    fn step(&self) -> Option<Value> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap()),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more is shown, and it does not end"),
        }
    }

    /// All steps up to this one.
    fn until(&self, name: &str) -> Vec<Value> {
        let mut steps = Vec::new();
        while let Some(step) = self.step() {
            let is_last = step["step"] == name;
            steps.push(step);
            if is_last {
                return steps;
            }
        }
        panic!("there is no step {name:?} in {steps:#?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// What it said to its end, and with which code it ended, if with one.
    fn end(mut self) -> (Vec<Value>, Option<i32>) {
        let steps = std::iter::from_fn(|| self.step()).collect();
        (steps, self.child.wait().unwrap().code())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that the steps say to listen.
fn listeners(steps: &[Value]) -> Vec<String> {
    let mut addresses = Vec::new();
    for step in steps {
        let values = &step["values"];
        addresses.extend(values["url"].as_str().map(|url| url.trim_start_matches("http://").to_owned()));
        let listed = ["addresses", "member_addresses"].into_iter().filter_map(|name| values[name].as_array()).flatten();
        addresses.extend(listed.map(|address| address.as_str().unwrap().to_owned()));
    }
    assert!(addresses.len() >= 4, "a node and three members in {steps:#?}");
    addresses
}

fn await_silence(addresses: &[String]) {
    let deadline = Instant::now() + DEADLINE;
    for address in addresses {
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < deadline, "{address} still listens");
            std::thread::yield_now();
        }
    }
}

fn directory(steps: &[Value]) -> PathBuf {
    steps[0]["values"]["directory"].as_str().unwrap().into()
}

#[test]
fn every_step_is_shown_and_nothing_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let (steps, code) = Demo::start(temporary.path(), &["--members", "3"]).end();
    assert_eq!(code, Some(0), "{steps:#?}");
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, ["begin", "join", "register", "kill", "restart", "goodbye", "handover", "cluster", "clear"]);
    assert!(steps.iter().all(|step| step["ok"] == true), "{steps:#?}");

    let value = |step: &str, name: &str| {
        let step = steps.iter().find(|shown| shown["step"] == step).unwrap();
        step["values"][name].as_f64().unwrap_or_else(|| panic!("no number {name} in {step:#}"))
    };
    for (step, name) in [
        ("begin", "ready_ms"),
        ("begin", "watching_ms"),
        ("join", "all_up_ms"),
        ("register", "answered_ms"),
        ("register", "up_ms"),
        ("kill", "suspect_ms"),
        ("kill", "successor_up_ms"),
        ("restart", "ready_ms"),
        ("restart", "confirmed_ms"),
        ("restart", "answering_ms"),
        ("goodbye", "draining_ms"),
        ("goodbye", "removed_ms"),
        ("handover", "told_ms"),
        ("handover", "promoted_ms"),
        ("cluster", "delay_ms"),
        ("cluster", "longest_gap_ms"),
        ("cluster", "away_ms"),
        ("clear", "stopped_ms"),
    ] {
        let millis = value(step, name);
        assert!(millis > 0.0 && millis < 10_000.0, "{step} {name}: {millis}");
    }
    assert_eq!(value("join", "answered"), 3.0);
    let removed = value("kill", "removed_ms");
    assert!((2_950.0..5_000.0).contains(&removed), "removed {removed} ms after it was suspect");
    assert!(value("restart", "acknowledged") >= 2_000.0);
    assert_eq!((value("restart", "lost"), value("restart", "flaps")), (0.0, 0.0));
    assert!(value("handover", "token_b") > value("handover", "token_a"));
    assert_eq!(value("cluster", "members_max"), 3.0);
    assert!(value("cluster", "sent") >= 5_000.0, "a message each millisecond: {}", value("cluster", "sent"));
    assert_eq!(value("cluster", "received"), value("cluster", "sent"));
    assert_eq!((value("cluster", "missing"), value("cluster", "failed")), (0.0, 0.0));
    assert_eq!((value("cluster", "kept"), value("cluster", "left")), (100.0, 0.0));
    assert_eq!(value("clear", "processes"), 4.0);

    let listeners = listeners(&steps);
    assert_eq!(listeners.len(), 1 + 3 + 3);
    await_silence(&listeners);
    assert!(!directory(&steps).exists());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_demo_clears_up() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Demo::start(temporary.path(), &[]);
    let mut steps = demo.until("join");
    demo.signal(Signal::INT);
    let (rest, code) = demo.end();
    assert_eq!(code, Some(1), "{rest:#?}");
    steps.extend(rest);
    assert_eq!(steps.last().unwrap()["step"], "clear");
    await_silence(&listeners(&steps));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_interrupted_while_messages_flow_clears_up() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Demo::start(temporary.path(), &[]);
    let steps = demo.until("handover");
    let log = directory(&steps).join("processes.log");
    let deadline = Instant::now() + DEADLINE;
    let members = loop {
        let members = joining(&std::fs::read_to_string(&log).unwrap());
        // One is started when the one before it is there, so two of them are to be stopped.
        if members.len() >= 3 {
            break members;
        }
        assert!(Instant::now() < deadline, "three nodes with queues did not join");
        std::thread::yield_now();
    };
    demo.signal(Signal::INT);
    let (rest, code) = demo.end();
    assert_eq!(code, Some(1), "{rest:#?}");
    let last = rest.last().unwrap();
    assert_eq!((&last["step"], &last["ok"]), (&Value::from("clear"), &Value::from(true)), "{last:#}");
    assert!(last["values"]["processes"].as_f64().unwrap() >= 5.0, "{last:#}");
    await_silence(&listeners(&steps));
    await_silence(&members);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// Where the nodes that say so in their log serve.
fn joining(log: &str) -> Vec<String> {
    let joining = log.lines().filter(|line| line.contains("joining"));
    let address = joining.filter_map(|line| line.split_once("address=")?.1.split_whitespace().next());
    address.map(str::to_owned).collect()
}

#[test]
fn a_killed_demo_leaves_no_process() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Demo::start(temporary.path(), &[]);
    let steps = demo.until("join");
    demo.signal(Signal::KILL);
    assert_eq!(demo.end().1, None);
    await_silence(&listeners(&steps));
}

#[test]
fn what_is_kept_goes_on_until_it_is_interrupted_and_its_data_stays() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Demo::start(temporary.path(), &["--keep", "--members", "2"]);
    let steps = demo.until("cluster");
    let node = &listeners(&steps)[0];
    TcpStream::connect(node).unwrap();
    demo.signal(Signal::INT);
    let (rest, code) = demo.end();
    assert_eq!(code, Some(0), "{rest:#?}");
    await_silence(&listeners(&steps));
    assert!(directory(&steps).join("data").is_dir());
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let full = tempfile::tempdir().unwrap();
    std::fs::write(full.path().join("mine"), "").unwrap();
    let (steps, code) = Demo::start(full.path(), &["--data-dir", full.path().to_str().unwrap()]).end();
    assert_eq!((steps.len(), code), (0, Some(2)));
    assert_eq!(std::fs::read_dir(full.path()).unwrap().count(), 1);
}
