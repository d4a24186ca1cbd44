//! A node of one's own: serve, and what can be done with its log afterwards.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::roster;
use crate::running::Running;

/// A node on a free port, with its address.
pub(crate) fn serve(data_dir: &Path) -> (Running, String) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir.to_str().unwrap()];
    let mut node = Running::start("", &arguments);
    let line = node.hear("serves at http://");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches(':').to_owned();
    (node, url)
}

/// A log with one registration that has said goodbye.
fn write_log(data_dir: &Path) {
    let (node, url) = serve(data_dir);
    let mut register = Running::start(&url, &["register", "orders", "--address", "10.0.0.7:8080"]);
    register.hear("registered as instance");
    register.signal(Signal::TERM);
    assert_eq!(register.end().0, 0);
    node.signal(Signal::TERM);
    let (code, said) = node.end();
    assert_eq!(code, 0, "{said:#?}");
}

fn log(arguments: &[&str], data_dir: &Path, code: i32) -> (String, String) {
    let mut command = roster(&["log"]);
    let output = command.args(arguments).arg("--data-dir").arg(data_dir).assert().code(code).get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn segment(data_dir: &Path) -> std::path::PathBuf {
    let paths = fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().path());
    paths.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "segment")).unwrap()
}

#[test]
fn a_node_says_where_it_serves_and_stops_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, url) = serve(folder.path());
    let status = roster(&["status", "--output", "json", "--server", &url]).assert().success().get_output().clone();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["healthy"], true, "{status}");
    node.signal(Signal::INT);
    node.hear("stopped");
    assert_eq!(node.end().0, 0);
}

#[test]
fn two_nodes_cannot_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, _) = serve(folder.path());
    let mut second = roster(&["serve", "--listen", "127.0.0.1:0", "--data-dir", folder.path().to_str().unwrap()]);
    let output = second.assert().code(1).get_output().stderr.clone();
    let said = String::from_utf8(output).unwrap();
    assert!(said.contains("in use by another process"), "{said}");
}

#[test]
fn a_sound_log_is_verified_and_read() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    let (verified, _) = log(&["verify", "--output", "json"], folder.path(), 0);
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["sound"], true);
    let (read, _) = log(&["inspect", "--output", "json"], folder.path(), 0);
    let commands: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let positions: Vec<u64> = commands.iter().map(|command| command["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=u64::try_from(commands.len()).unwrap()).collect::<Vec<_>>());
    assert!(commands.iter().any(|command| command["command"] == "register" && command["service"] == "orders"));
    let (from_two, _) = log(&["inspect", "--from", "2", "--limit", "1", "--output", "text"], folder.path(), 0);
    assert!(from_two.starts_with("2\t") && from_two.lines().count() == 1, "{from_two}");
}

#[test]
fn a_damaged_log_ends_with_6_until_it_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    let segment = segment(folder.path());
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&segment, &bytes).unwrap();

    let (_, said) = log(&["verify"], folder.path(), 6);
    assert!(said.contains("roster log repair --data-dir"), "{said}");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder.path().to_str().unwrap()];
    roster(&serve).assert().code(6);

    let (plan, said) = log(&["repair"], folder.path(), 6);
    assert!(plan.starts_with("to do:\n  cut "), "{plan}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "a dry run changes nothing");

    log(&["repair", "--yes"], folder.path(), 0);
    log(&["verify"], folder.path(), 0);
    let (node, _) = self::serve(folder.path());
    node.signal(Signal::TERM);
    assert_eq!(node.end().0, 0);
}

#[test]
fn a_directory_without_a_log_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    for action in ["verify", "inspect", "repair"] {
        log(&[action], folder.path(), 3);
        log(&[action], &folder.path().join("mistyped"), 3);
    }
}
