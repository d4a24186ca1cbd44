//! Queues from the shell: queue create, list, publish, consume, dead, and a member that leaves with messages.

use std::path::Path;
use std::process::Stdio;

use roster_client::Client;
use roster_client::queue::{Message, QueueName, Raw};
use rustix::process::Signal;
use serde_json::Value;

use crate::roster;
use crate::running::Running;
use crate::serving::serve;

/// A node with the address to ask.
struct Town {
    node: Running,
    url: String,
    folder: tempfile::TempDir,
}

impl Town {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (node, url) = serve(&folder.path().join("data"));
        Self { node, url, folder }
    }

    /// What `roster queue …` prints, on both outputs, when it ends with `code`.
    fn say(&self, arguments: &[&str], input: &[u8], code: i32) -> (String, String) {
        let mut command = roster(&["queue"]);
        command.args(arguments).env("ROSTER_SERVER", &self.url).write_stdin(input.to_vec());
        let output = command.assert().code(code).get_output().clone();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn ask(&self, arguments: &[&str]) -> String {
        self.say(arguments, b"", 0).0
    }

    fn ask_json(&self, arguments: &[&str]) -> Value {
        let text = self.ask(&[&["--output", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    fn count(&self, queue: &str, what: &str) -> u64 {
        self.ask_json(&["stats", queue])[what].as_u64().unwrap()
    }

    /// Waits until the queue has so many of these.
    fn until(&self, queue: &str, what: &str, expected: u64) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.count(queue, what) != expected {
            assert!(std::time::Instant::now() < deadline, "{what}: {}", self.ask(&["stats", queue]));
        }
    }

    fn running(&self, arguments: &[&str]) -> Running {
        Running::start(&self.url, &[&["queue"], arguments].concat())
    }
}

#[test]
fn a_queue_is_created_once_and_differences_are_named() {
    let town = Town::new();
    let create = ["create", "orders", "--attempts-max", "5", "--ack-timeout", "1m", "--message-max", "64KiB"];
    assert!(town.ask(&create).starts_with("queue orders is created\n"));
    assert_eq!(town.ask(&[&create[..], &["--output", "text"]].concat()), "orders\twas there\n");
    let (_, said) = town.say(&["create", "orders"], b"", 4);
    assert!(said.contains("attempts-max is 5 and not 16"), "{said}");

    let updated = town.ask_json(&["update", "orders", "--attempts-max", "7"]);
    assert_eq!(updated["settings"]["attempts_max"], 7);
    assert_eq!(updated["settings"]["ack_timeout_ms"], 60_000, "only what is given changes");
    let (_, said) = town.say(&["update", "nobody", "--attempts-max", "7"], b"", 3);
    assert!(said.contains("nobody"), "{said}");

    town.ask(&["publish", "orders", "one"]);
    assert_eq!(town.ask(&["delete", "orders", "--output", "text"]), "orders\t1\n");
    town.say(&["stats", "orders"], b"", 3);
    assert_eq!(town.ask(&["list"]), "no queues\n");
}

#[test]
fn queues_are_listed_with_their_counts() {
    let town = Town::new();
    for queue in ["orders", "team/a", "team/b"] {
        town.ask(&["publish", queue, "--create", "one", "two"]);
    }
    let below = town.ask(&["list", "team/", "--output", "text"]);
    let names: Vec<&str> = below.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["team/a", "team/b"]);
    let all = town.ask_json(&["list"]);
    assert_eq!((&all[0]["queue"], &all[0]["waiting"], &all[0]["bytes"]), (&"orders".into(), &2.into(), &6.into()));
    assert_eq!(town.ask_json(&["stats", "orders"])["totals"]["published"], 2);
    let table = town.ask(&["list"]);
    assert!(table.starts_with("QUEUE   WAITING  IN FLIGHT  FAILED  DEAD"), "{table}");

    let status = roster(&["status", "--output", "json", "--server", &town.url]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["queues"]["queues"], &status["queues"]["messages"]), (&3.into(), &6.into()));
}

#[test]
fn what_is_published_comes_out_in_order_and_is_gone() {
    let town = Town::new();
    town.ask(&["create", "orders"]);
    let published = town.ask(&["publish", "orders", "first", "second"]);
    assert_eq!(published, "2 messages stored in orders, ids 1\u{2013}2\n");
    let (sent, _) = town.say(&["publish", "orders", "--output", "text"], b"third\n\nfifth", 0);
    assert_eq!(sent, "orders\t3\t0\t0\t0\t3\t5\n");
    assert_eq!(town.ask(&["consume", "orders", "--limit", "3"]), "first\nsecond\nthird\n");
    assert_eq!(town.ask(&["consume", "orders", "--idle", "200ms"]), "\nfifth\n");
    assert_eq!(town.ask_json(&["stats", "orders"])["totals"]["acknowledged"], 5);
    assert_eq!(town.ask(&["consume", "orders", "--idle", "0"]), "");
}

#[test]
fn json_says_what_a_message_has_besides_its_payload() {
    let town = Town::new();
    let publish = ["publish", "orders", "--create", "--input", "json", "--header", "origin=test"];
    town.say(&publish, b"{\"number\": 1}\n", 0);
    town.say(&["publish", "orders", "--input", "whole", "--content-type", "image/png"], b"\xff\x00\n", 0);
    let consumed = town.ask(&["consume", "orders", "--limit", "2", "--output", "json"]);
    let objects: Vec<Value> = consumed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["payload"], "{\"number\": 1}");
    assert_eq!(objects[0]["content_type"], "application/json");
    assert_eq!(objects[0]["headers"]["origin"], "test");
    assert_eq!((&objects[1]["id"], &objects[1]["attempt"]), (&2.into(), &1.into()));
    assert_eq!(objects[1]["payload_base64"], "/wAK");
    assert_eq!(objects[1]["content_type"], "image/png");
}

#[test]
fn a_line_that_is_not_json_is_named_and_the_lines_before_are_stored() {
    let town = Town::new();
    let (sent, said) = town.say(&["publish", "orders", "--create", "--input", "json"], b"1\n2\n{oh\n4\n", 1);
    assert_eq!(sent, "2 messages stored in orders, ids 1\u{2013}2\n");
    assert!(said.starts_with("roster: message 3: it is not JSON: "), "{said}");
    assert_eq!(town.count("orders", "waiting"), 2);
}

#[test]
fn a_message_that_is_too_large_is_named_and_the_others_go_on() {
    let town = Town::new();
    town.ask(&["create", "orders", "--message-max", "100"]);
    let input = format!("one\n{}\nthree\n", "x".repeat(200));
    let (sent, said) = town.say(&["publish", "orders"], input.as_bytes(), 4);
    assert!(sent.starts_with("2 messages stored in orders, ids 1\u{2013}2\n"), "{sent}");
    assert!(said.contains("message 2 is refused: it has 200 bytes; this queue takes 100 at most"), "{said}");
    assert_eq!(town.ask(&["consume", "orders", "--limit", "2"]), "one\nthree\n");
}

#[test]
fn publishing_to_an_unknown_queue_ends_with_3() {
    let town = Town::new();
    town.say(&["publish", "nobody", "one"], b"", 3);
    town.say(&["consume", "nobody", "--idle", "10s"], b"", 3);
    town.say(&["peek", "nobody"], b"", 3);
}

#[test]
fn a_producer_that_is_run_again_skips_what_it_has_stored() {
    let town = Town::new();
    town.ask(&["create", "orders", "--message-max", "10"]);
    let publish = ["publish", "orders", "--producer", "import", "--output", "text"];
    // What is too large has no number, so it is refused again and shifts nothing.
    let (sent, _) = town.say(&publish, b"one\ntoo large for it\ntwo\n", 4);
    assert_eq!(sent, "orders\t2\t0\t1\t0\t1\t2\n");
    let (sent, _) = town.say(&publish, b"one\ntoo large for it\ntwo\nthree\n", 4);
    assert_eq!(sent, "orders\t1\t2\t1\t0\t3\t3\n");
    assert_eq!(town.ask(&["consume", "orders", "--limit", "3"]), "one\ntwo\nthree\n");
}

#[test]
fn a_publisher_waits_for_a_lost_node_and_says_so() {
    let town = Town::new();
    town.ask(&["create", "orders"]);
    let (input, mut writer) = std::io::pipe().unwrap();
    let mut publish = std::process::Command::new(assert_cmd::cargo::cargo_bin("roster"));
    publish.args(["queue", "publish", "orders"]).env("ROSTER_SERVER", &town.url).stdin(input);
    let mut publish = Running::of(publish);
    std::io::Write::write_all(&mut writer, b"one\n").unwrap();
    town.until("orders", "waiting", 1);

    let Town { node, url, folder } = town;
    node.signal(Signal::TERM);
    assert_eq!(node.end().0, 0);
    publish.hear("out of contact");
    std::io::Write::write_all(&mut writer, b"two\n").unwrap();
    drop(writer);
    let data_dir = folder.path().join("data");
    let listen = url.strip_prefix("http://").unwrap();
    let node = Running::start("", &["serve", "--listen", listen, "--data-dir", data_dir.to_str().unwrap()]);
    publish.hear("in contact again");
    let (code, said) = publish.end();
    assert_eq!((code, said.last().unwrap().as_str()), (0, "2 messages stored in orders, ids 1\u{2013}2"), "{said:?}");
    let town = Town { node, url, folder };
    assert_eq!(town.ask(&["consume", "orders", "--limit", "2"]), "one\ntwo\n");
}

#[test]
fn a_signal_ends_the_input_and_what_was_taken_is_stored() {
    let town = Town::new();
    town.ask(&["create", "orders"]);
    let (input, mut writer) = std::io::pipe().unwrap();
    let mut publish = std::process::Command::new(assert_cmd::cargo::cargo_bin("roster"));
    publish.args(["queue", "publish", "orders"]).env("ROSTER_SERVER", &town.url).stdin(input);
    let mut publish = Running::of(publish);
    std::io::Write::write_all(&mut writer, b"one\ntwo\n").unwrap();
    town.until("orders", "waiting", 2);
    publish.signal(Signal::INT);
    publish.hear("2 messages stored in orders");
    let (code, said) = publish.end();
    assert_eq!(code, 1, "{said:?}");
    assert!(said[0].contains("stopped by a signal"), "{said:?}");
}

#[test]
fn an_exit_code_decides_and_a_poison_message_ends_as_a_dead_letter() {
    let town = Town::new();
    town.ask(&["create", "orders", "--attempts-max", "2", "--back-off-first", "1ms", "--back-off-last", "1ms"]);
    town.ask(&["publish", "orders", "good", "poison", "fine"]);
    let script = "read line; echo $ROSTER_QUEUE $ROSTER_MESSAGE_ID $ROSTER_ATTEMPT $line; \
                  [ $line != poison ] || { echo no paper >&2; exit 3; }";
    let consume = ["consume", "orders", "--idle", "500ms", "--", "sh", "-c", script];
    let (ran, said) = town.say(&consume, b"", 0);
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, ["orders 1 1 good", "orders 2 1 poison", "orders 2 2 poison", "orders 3 1 fine"]);
    assert_eq!(said, "no paper\nno paper\n");

    let dead = town.ask_json(&["dead", "list", "orders"]);
    assert_eq!(dead.as_array().unwrap().len(), 1);
    assert_eq!((&dead[0]["id"], &dead[0]["reason"]), (&2.into(), &"exit code 3: no paper".into()));
    assert_eq!(town.ask(&["dead", "peek", "orders", "2", "--output", "text"]), "poison");
    town.say(&["dead", "peek", "orders", "1"], b"", 3);

    assert_eq!(town.say(&["dead", "requeue", "orders", "2", "9", "--output", "text"], b"", 3).0, "orders\t1\t1\n");
    assert_eq!(town.ask(&["consume", "orders", "--limit", "1"]), "poison\n");
}

#[test]
fn dead_letters_are_dropped_and_queues_purged() {
    let town = Town::new();
    town.ask(&["create", "orders", "--attempts-max", "1"]);
    town.ask(&["publish", "orders", "one", "two", "three"]);
    town.ask(&["consume", "orders", "--limit", "2", "--", "false"]);
    town.until("orders", "dead", 2);
    assert_eq!(town.ask(&["dead", "drop", "orders", "--all", "--output", "text"]), "orders\t2\t0\n");
    assert_eq!(town.ask(&["purge", "orders", "--part", "failed"]), "0 messages removed from orders\n");
    assert_eq!(town.ask(&["purge", "orders", "--part", "waiting"]), "1 message removed from orders\n");
    assert_eq!(town.ask(&["dead", "list", "orders"]), "no dead letters\n");
}

#[test]
fn peeking_leaves_messages_where_they_are() {
    let town = Town::new();
    town.ask(&["publish", "orders", "--create", "one", "two\tof it", "three"]);
    let peeked = town.ask(&["peek", "orders", "--limit", "2"]);
    assert!(peeked.ends_with("more follow; --after 2 shows them\n"), "{peeked}");
    let peeked = town.ask(&["peek", "orders", "--after", "1", "--output", "text"]);
    let payloads: Vec<&str> = peeked.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(payloads, ["two\\tof it", "three"]);
    assert_eq!(town.ask(&["peek", "orders", "--part", "failed"]), "no messages\n");
    assert_eq!(town.count("orders", "waiting"), 3);
}

#[test]
fn so_many_commands_run_at_a_time_and_a_signal_lets_them_finish() {
    let town = Town::new();
    town.ask(&["publish", "orders", "--create", "1", "2", "3"]);
    let go = town.folder.path().join("go");
    let script = format!("read line; echo began $line; until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut consume = town.running(&["consume", "orders", "--parallel", "2", "--", "sh", "-c", &script]);
    consume.hear("began 1");
    consume.hear("began 2");
    assert_eq!((town.count("orders", "in_flight"), town.count("orders", "waiting")), (2, 1));
    consume.signal(Signal::INT);
    consume.hear("2 commands finish; a second signal is passed on to them");
    std::fs::write(&go, "").unwrap();
    let (code, said) = consume.end();
    assert_eq!((code, said.len()), (0, 0), "{said:?}");
    assert_eq!(town.ask_json(&["stats", "orders"])["totals"]["acknowledged"], 2);
    assert_eq!(town.count("orders", "waiting"), 1, "the third was not begun");
}

#[test]
fn a_second_signal_is_passed_on_and_fails_the_message() {
    let town = Town::new();
    town.ask(&["publish", "orders", "--create", "1"]);
    let mut consume = town.running(&["consume", "orders", "--", "sh", "-c", "echo began; sleep 60"]);
    consume.hear("began");
    consume.signal(Signal::INT);
    consume.hear("1 command finishes");
    // Two within a quarter of a second are one.
    let passed_on = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while town.count("orders", "in_flight") == 1 {
        assert!(std::time::Instant::now() < passed_on, "the command is told");
        consume.signal(Signal::TERM);
    }
    assert_eq!(consume.end().0, 0);
    let failed = town.ask_json(&["peek", "orders", "--part", "failed"]);
    assert_eq!(failed[0]["reason"], "signal 15", "{failed}");
}

#[test]
fn a_command_that_cannot_be_started_ends_it() {
    let town = Town::new();
    town.ask(&["publish", "orders", "--create", "1", "2"]);
    let (_, said) = town.say(&["consume", "orders", "--", "/no/such/program"], b"", 1);
    assert!(said.starts_with("roster: start /no/such/program: "), "{said}");
    assert_eq!(town.count("orders", "waiting") + town.count("orders", "failed"), 2);
}

#[test]
fn a_closed_pipe_ends_quietly_and_nothing_unwritten_is_acknowledged() {
    let town = Town::new();
    let lines: String = (1..=5000).map(|number| format!("{number:0100}\n")).collect();
    town.say(&["publish", "orders", "--create"], lines.as_bytes(), 0);
    let mut consume = std::process::Command::new(assert_cmd::cargo::cargo_bin("roster"))
        .args(["queue", "consume", "orders"])
        .env("ROSTER_SERVER", &town.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 101];
    std::io::Read::read_exact(&mut consume.stdout.take().unwrap(), &mut first).unwrap();
    let ended = consume.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
    let rest = town.ask(&["consume", "orders", "--idle", "1s"]);
    let acknowledged = town.ask_json(&["stats", "orders"])["totals"]["acknowledged"].as_u64().unwrap();
    assert_eq!(acknowledged, 5000);
    // A pipe holds 64 KiB: what was written before it was closed, and no more, was acknowledged unread.
    assert!(rest.lines().count() >= 5000 - 2048, "{}", rest.lines().count());
}

#[test]
fn a_consumer_goes_on_when_its_node_is_back() {
    let town = Town::new();
    town.ask(&["publish", "orders", "--create", "one"]);
    let mut consume = town.running(&["consume", "orders", "--limit", "2"]);
    consume.hear("one");
    town.until("orders", "in_flight", 0);
    let Town { node, url, folder } = town;
    node.signal(Signal::KILL);
    drop(node);
    consume.hear("out of contact, trying again");
    let data_dir = folder.path().join("data");
    let listen = url.strip_prefix("http://").unwrap();
    let node = Running::start("", &["serve", "--listen", listen, "--data-dir", data_dir.to_str().unwrap()]);
    consume.hear("in contact again");
    let town = Town { node, url, folder };
    town.ask(&["publish", "orders", "two"]);
    consume.hear("two");
    assert_eq!(consume.end().0, 0);
}

/// A member on a free port, with its address.
fn member(data_dir: &Path, registry: &str) -> (Running, String) {
    let data_dir = data_dir.to_str().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir];
    let join = ["--join", registry, "--service", "orders-queue"];
    let mut node = Running::start("", &[&arguments[..], &join].concat());
    let line = node.hear("serves at http://");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches(':').to_owned();
    node.hear("joined");
    (node, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaving_member_lets_consumers_finish_and_reports_what_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let (_registry, registry) = serve(&folder.path().join("registry"));
    let (mut node, url) = member(&folder.path().join("member"), &registry);
    let client = Client::builder().endpoint(&url).build().unwrap();
    for queue in ["consumed", "kept"] {
        roster(&["queue", "publish", queue, "--create", "one", "two", "--server", &url]).assert().success();
    }
    let queue = QueueName::parse("consumed").unwrap();
    let mut consumer = client.consumer::<Message>(queue.clone()).format::<Raw>().pull();
    let (one, two) = (consumer.next().await.unwrap(), consumer.next().await.unwrap());

    node.signal(Signal::TERM);
    node.hear("callers go elsewhere");
    one.ack();
    // It serves on while the other is being worked on.
    while client.queues().get(&queue).await.unwrap().in_flight > 1 {
        tokio::task::yield_now().await;
    }
    two.ack();
    node.hear("queue kept keeps 2 messages for its return");
    let (code, said) = node.end();
    assert_eq!(code, 0, "{said:#?}");
    assert!(!said.iter().any(|line| line.contains("queue consumed")), "{said:#?}");
}

#[test]
fn a_publisher_that_waits_for_room_says_that_the_queue_is_full() {
    let town = Town::new();
    town.ask(&["create", "small", "--waiting-max", "2"]);
    let mut publish = town.running(&["publish", "small", "a", "b", "c"]);
    let line = publish.hear("queue small is full");
    assert!(line.contains("messages of 2, 0 of its messages are dead letters; waiting for room"), "{line}");
    assert_eq!(town.ask(&["consume", "small", "--limit", "3"]), "a\nb\nc\n");
    assert_eq!(publish.end().0, 0);
}

#[test]
fn a_backup_has_the_queues_and_one_that_lost_them_is_not_restored() {
    let town = Town::new();
    town.say(&["publish", "orders", "--create"], b"a\nb\nc\n", 0);
    let (copy, folder) = (town.folder.path().join("copy"), town.folder.path().join("restored"));
    let backup = ["backup", "--once", "--from", &town.url, "--to", copy.to_str().unwrap()];
    roster(&backup).assert().success();
    let restore = ["restore", "--from", copy.to_str().unwrap(), "--to", folder.to_str().unwrap()];
    roster(&restore).assert().success();
    let (_node, url) = serve(&folder);
    let mut consume = roster(&["queue", "consume", "orders", "--limit", "3", "--server", &url]);
    consume.assert().success().stdout("a\nb\nc\n");

    std::fs::remove_dir_all(copy.join("queues")).unwrap();
    let other = town.folder.path().join("other");
    let restore = ["restore", "--from", copy.to_str().unwrap(), "--to", other.to_str().unwrap()];
    let output = roster(&restore).assert().code(3).get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the log queues is not restored"), "{said}");
    // Without its queues it is no node to start from.
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", other.to_str().unwrap()];
    roster(&serve).timeout(std::time::Duration::from_secs(20)).assert().code(6);
}
