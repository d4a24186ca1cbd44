//! The command line itself: what it teaches, what it refuses, and how it ends without a node.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use assert_cmd::Command;

use crate::roster;

fn stderr(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stderr).unwrap()
}

/// A port where nobody listens.
fn silent_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn help_has_examples_and_exit_codes() {
    let output = roster(&["--help"]).assert().success().get_output().stdout.clone();
    let help = String::from_utf8(output).unwrap();
    assert!(help.contains("Examples:\n  roster serve"), "{help}");
    assert!(help.contains("Exit codes:\n  0  done"), "{help}");
}

#[test]
fn no_command_is_answered_with_the_help() {
    roster(&[]).assert().code(2);
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_is_wrong() {
    for (arguments, says) in [
        (&["gte"][..], "unrecognized subcommand 'gte'"),
        (&["get"], "<NAME>"),
        (&["get", "a b"], "' ' is not one of"),
        (&["get", "orders", "--output", "xml"], "[possible values: table, json, text]"),
        (&["status", "--server", "nonsense"], "it has no scheme"),
        (&["register", "orders", "--address", "0.0.0.0:80"], "advertise a reachable one"),
        (&["register", "orders", "--address", "a:80", "--grace", "5m1s"], "300s at most"),
        (&["register", "orders", "--address", "a:80", "--meta", "novalue"], "key=value"),
        (&["register", "orders", "--address", "a:80", "--probe", "a:81"], "<COMMAND>"),
        (&["register", "orders", "--address", "a:80", "--handover", "30s"], "--kind singleton"),
        (&["register", "orders", "--address", "a:80", "--kind", "main", "--handover", "0"], "--kind singleton"),
        (&["drain", "10.0.0.7:80"], "add --service NAME"),
        (&["cutover", "orders", "often"], "or clear"),
        (&["watch"], "<NAME|PREFIX/|--all>"),
        (&["queue", "create", "orders", "--attempts-max", "0"], "attempts-max is 0; it goes from 1"),
        (&["queue", "create", "orders", "--message-max", "much"], "write it like 65536, 64KiB"),
        (&["queue", "update", "orders"], "give at least one setting"),
        (&["queue", "publish", "orders", "one", "--input", "json"], "cannot be used with"),
        (&["queue", "publish", "orders", "--header", "a=1", "--header", "a=2"], "it stands twice"),
        (&["queue", "consume", "orders", "--parallel", "2"], "-- <COMMAND>"),
        (&["queue", "purge", "orders"], "--part"),
        (&["queue", "dead", "drop", "orders"], "<ID"),
        (&["queue", "dead", "drop", "orders", "1", "--all"], "cannot be used with"),
        (&["watch", "orders", "--all"], "cannot be used with"),
        (&["services", "team"], "ends in /"),
        (&["serve", "--set", "log.histroy=1h", "--print-settings"], "unknown setting \"log.histroy\""),
        (&["serve", "--listen", "0.0.0.0:0", "--print-settings"], "--insecure"),
    ] {
        let output = roster(arguments).assert().code(2).get_output().stderr.clone();
        let said = String::from_utf8(output).unwrap();
        assert!(said.starts_with("roster: ") && said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn without_a_node_questions_end_with_5_quickly() {
    let url = silent_url();
    for question in [
        &["status"][..],
        &["get", "orders"],
        &["get", "orders", "--main"],
        &["services"],
        &["check", "orders"],
        &["drain", "1"],
        &["cutover", "orders", "2"],
        &["rebuild"],
        &["watch", "orders"],
        &["watch", "--all", "--once"],
        &["queue", "list"],
        &["queue", "publish", "orders", "one"],
        &["queue", "consume", "orders"],
    ] {
        let begin = Instant::now();
        let said = stderr(roster(question).args(["--server", &url]));
        roster(question).args(["--server", &url]).assert().code(5);
        assert!(begin.elapsed() < Duration::from_secs(8), "{question:?} took {:?}", begin.elapsed());
        assert!(said.starts_with("roster: ") && said.lines().count() == 1, "{question:?}: {said}");
        assert!(said.contains("Connection refused"), "{question:?}: {said}");
        assert!(said.starts_with(&format!("roster: cannot reach a node at {url}")), "{question:?}: {said}");
    }
}

#[test]
fn the_node_may_be_named_by_the_environment() {
    let url = silent_url();
    let said = stderr(roster(&["status"]).env("ROSTER_SERVER", &url));
    assert!(said.contains(&url), "{said}");
}

#[test]
fn a_usage_line_does_not_ask_for_what_the_environment_says() {
    for arguments in [&["watch"][..], &["get"], &["log", "verify"]] {
        let said = stderr(roster(arguments).env("ROSTER_SERVER", "http://127.0.0.1:1"));
        assert!(said.contains("Usage: ") && !said.contains("--server"), "{arguments:?}: {said}");
    }
}

#[test]
fn printed_settings_are_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roster.toml");
    let print = |arguments: &[&str]| {
        let output = roster(&["serve", "--print-settings"]).args(arguments).assert().success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = print(&["--data-dir", "elsewhere", "--set", "log.history=15min"]);
    assert!(printed.contains("data-dir = \"elsewhere\"") && printed.contains("history = \"15m\""), "{printed}");
    std::fs::write(&file, &printed).unwrap();
    assert_eq!(print(&["--config", file.to_str().unwrap()]), printed);
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = roster(&["completions", shell]).assert().success().get_output().stdout.clone();
        let script = String::from_utf8(output).unwrap();
        assert!(script.contains("cutover") && script.contains("register"), "{shell}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_named() {
    let said = stderr(&mut roster(&["register", "orders", "--address", "127.0.0.1:1", "--", "/no/such/program"]));
    assert!(said.starts_with("roster: start /no/such/program: "), "{said}");
}

#[test]
fn a_command_that_ends_before_it_listens_passes_its_code_on() {
    let address = silent_url().replace("http://", "");
    roster(&["register", "orders", "--address", &address, "--", "sh", "-c", "exit 7"]).assert().code(7);
}

#[test]
fn a_command_that_never_listens_is_stopped() {
    let address = silent_url().replace("http://", "");
    let mut register = roster(&["register", "orders", "--address", &address, "--ready-within", "100ms"]);
    let said = stderr(register.args(["--", "sleep", "1000"]));
    assert!(said.contains("did not listen"), "{said}");
}
