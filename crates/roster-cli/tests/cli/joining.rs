//! A node that is a member of a service: serve --join.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::roster;
use crate::running::Running;
use crate::serving::serve;

/// A member on a free port, with its address.
fn member(data_dir: &Path, registry: &str, more: &[&str]) -> (Running, String) {
    let data_dir = data_dir.to_str().unwrap();
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir];
    arguments.extend(["--join", registry, "--service", "orders-queue"]);
    arguments.extend(more);
    let mut node = Running::start("", &arguments);
    let line = node.hear("serves at http://");
    let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap();
    let address = url.trim_end_matches(':').to_owned();
    (node, address)
}

fn members(registry: &str) -> Vec<Value> {
    let output = roster(&["get", "orders-queue", "--output", "json", "--server", registry]).output().unwrap();
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout).unwrap(),
        // Nobody by that name.
        code => {
            assert_eq!(code, Some(3));
            Vec::new()
        }
    }
}

#[test]
fn a_member_registers_when_it_serves_and_says_goodbye_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (_registry, url) = serve(&folder.path().join("registry"));
    let (mut node, address) = member(&folder.path().join("member"), &url, &["--zone", "eu-1"]);
    node.hear("joined");
    let there = members(&url);
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["address"], address.as_str(), "{there:#?}");
    assert_eq!(there[0]["zone"], "eu-1", "{there:#?}");

    let mut watch = Running::start(&url, &["watch", "orders-queue", "--output", "text"]);
    watch.hear("up");
    node.signal(Signal::TERM);
    node.hear("callers go elsewhere");
    watch.hear("draining");
    watch.hear("logout");
    let (code, said) = node.end();
    assert_eq!(code, 0, "{said:#?}");
    assert!(members(&url).is_empty());
}

#[test]
fn a_member_serves_before_its_registry_does_and_joins_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, url) = serve(&folder.path().join("registry"));
    registry.signal(Signal::TERM);
    assert_eq!(registry.end().0, 0);

    let (mut node, address) = member(&folder.path().join("member"), &url, &["--advertise", "localhost:9"]);
    node.hear("no contact with the registry");
    roster(&["status", "--server", &format!("http://{address}")]).assert().success();

    let listen = url.strip_prefix("http://").unwrap();
    let data_dir = folder.path().join("registry");
    let arguments = ["serve", "--listen", listen, "--data-dir", data_dir.to_str().unwrap()];
    let _registry = Running::start("", &arguments);
    node.hear("joined");
    assert_eq!(members(&url)[0]["address"], "localhost:9");
}

#[test]
fn a_service_without_a_registry_and_a_registry_without_a_service_are_refused() {
    roster(&["serve", "--service", "orders-queue"]).assert().code(2);
    roster(&["serve", "--join", "http://127.0.0.1:1"]).assert().code(2);
    roster(&["serve", "--join", "127.0.0.1:1", "--service", "orders-queue"]).assert().code(2);
}
